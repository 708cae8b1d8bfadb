"""Who gets which partitions: equal numbers of all topics of a stage go to one member, and little moves.

A request's class is its topic, and its content key chooses the number. With number n of every class on one worker, equal
requests of different classes meet there and are coalesced, and the worker's share of every class is the same. Counts of
numbers per member differ by one at most. A member keeps the numbers that it says it had, as far as the balance
allows: 6 to 21 % of all partitions move on a join or a leave, against 26 to 32 % with range (research/kafka.md §2).

aiokafka's own sticky assignor does not keep numbers together and has its memory in the class (reliability.md A25); this one
has it in the instance, one per consumer, and tells the leader in the member's user data.
"""

import struct
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

from failsoft.policy.allotment import allot

VERSION = 0


class ByNumber:
    """aiokafka's assignor interface over ``allot``. One instance per consumer: it remembers what this member had."""

    name = "failsoft-by-number"

    def __init__(self) -> None:
        self._held: frozenset[int] = frozenset()

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """Tell the leader, beside the topics, which numbers this member had."""
        return ConsumerProtocolMemberMetadata(VERSION, sorted(topics), _encoded(self._held))

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Remember what was given."""
        self._held = frozenset(partition.partition for partition in assignment.partitions())

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Assign as the leader. Topics that the same members subscribe to go together.

        While a class is being added to the fleet, old members do not know its topic; then that topic is dealt out among the
        members that do, and its numbers meet the others again when all have been restarted.
        """
        held = {member: _decoded(metadata.user_data) for member, metadata in members.items()}
        subscribers: dict[str, set[str]] = defaultdict(set)
        for member, metadata in members.items():
            for topic in metadata.subscription:
                subscribers[topic].add(member)
        together: dict[frozenset[str], list[str]] = defaultdict(list)
        for topic in sorted(subscribers):
            together[frozenset(subscribers[topic])].append(topic)
        given: dict[str, list[tuple[str, list[int]]]] = {member: [] for member in members}
        for group, topics in together.items():
            counts = {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in topics}
            for member, numbers in allot(range(max(counts.values())), {name: held[name] for name in group}).items():
                given[member] += [(topic, [n for n in numbers if n < count]) for topic, count in counts.items()]
        return {member: ConsumerProtocolMemberAssignment(VERSION, topics, b"") for member, topics in given.items()}


def _encoded(numbers: Collection[int]) -> bytes:
    return struct.pack(f">{len(numbers)}i", *sorted(numbers))


def _decoded(user_data: bytes | None) -> frozenset[int]:
    """Read what a member says it had. It only saves moves, so what cannot be read counts as nothing."""
    count, rest = divmod(len(user_data or b""), 4)
    return frozenset(struct.unpack(f">{count}i", user_data)) if user_data and not rest else frozenset()
