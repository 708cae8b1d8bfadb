"""Which partitions of a stage are ours, and the word to the group on how far we are.

One consumer per stage takes part in the group ``failsoft.<pipeline>.<stage>``, fetches nothing (all its partitions are paused)
and commits. The rules, each from a fault that was reproduced (research/kafka.md §2):

* **Polled every second**, though it has no records: aiokafka parks an error of a heartbeat until somebody polls, and a member
  that nobody polls is evicted without a word (F1, F4). When the poll raises, the member is told to join again; when it
  has not been well for longer than any rebalance takes, the consumer is replaced.
* **Keep, do not drain**: partitions that come back to the same member in the very next generation cannot have had another
  owner, so they keep their assignment number and their work goes on. All others are lost, or gained under a new number.
* **Fenced commits**: an offset is committed only for the assignment that its work belongs to, and as the member of the
  generation in which we own it. A refusal is normal and changes nothing: the next owner repeats the work (F2, F3).
* **Begun**: before the owner hears of a gain, a commit says that we have begun with it (:mod:`failsoft.policy.progress`).
* **The log that was begun with**: a topic that was deleted and made anew is another log (:mod:`failsoft.kafka.incarnations`). Its
  partitions are lost and gained again, and each commit names the log that the work was on.
* Before a rebalance one commit is sent and waited for at most a second, so that what moves, moves with its latest offset.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from failsoft.kafka import private
from failsoft.kafka.assignor import ByNumber
from failsoft.kafka.clients import close_consumer, connected_consumer
from failsoft.kafka.connection import Connection
from failsoft.kafka.incarnations import Incarnations
from failsoft.kafka.positions import starting_positions
from failsoft.policy.errors import EnvironmentFailure
from failsoft.policy.progress import Marks, Progress
from failsoft.policy.request import ClassName, Partition
from failsoft.wire.progress import encode_progress

log = logging.getLogger(__name__)

SESSION_SECONDS = 6.0
"""What a crash costs before others take over. A broker's restart may then evict members; kept work makes up for it."""
HEARTBEAT_SECONDS = 1.0
"""How soon a rebalance is noticed: somebody's leave costs the others at most this."""
REBALANCE_SECONDS = 20.0
"""How long the group waits for a member to join again. Nothing drains in it, so it is only a bound."""
REQUEST_SECONDS = 40.0
"""A JoinGroup is answered only when all have joined, so this must exceed the rebalance timeout (reliability.md A5)."""
POLL_SECONDS = 1.0
ILL_SECONDS = 45.0
"""Longer than a JoinGroup may take: a member that has not been well for so long does not heal by itself."""
COMMIT_SECONDS = 5.0
LOOK_SECONDS = 1.0
"""An answer that takes longer is one of the next look; nothing else of the poll may wait for it."""
MARK_SECONDS = 5.0
MARK_RETRY_SECONDS = 0.2
LAST_COMMIT_SECONDS = 1.0
"""The commit before a rebalance holds the whole group up, so it gets a second."""

_assignments = itertools.count(1)
"""Names of gains, unique in the process: two inboxes never share one."""


class Owner(Protocol):
    """Who is told what we own. The calls are those of InboxListener."""

    def assigned(self, positions: Mapping[Partition, Progress], assignment: int, share: float) -> None:
        """Own these from here on."""

    def revoked(self, partitions: frozenset[Partition], share: float) -> None:
        """Drop these."""

    def marks_to_commit(self) -> Marks:
        """Return what may be committed now."""


class Membership:
    """One member of the group of a stage."""

    def __init__(
        self,
        connection: Connection,
        *,
        group: str,
        topics: Mapping[ClassName, str],
        owner: Owner,
        session_timeout_seconds: float = SESSION_SECONDS,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        ill_seconds: float = ILL_SECONDS,
        on_deleted: Callable[[Partition, int], None] = lambda *_: None,
    ) -> None:
        self._connection = connection
        self._topics = dict(topics)
        self._classes = {topic: name for name, topic in topics.items()}
        self._owner = owner
        self._ill_seconds = ill_seconds
        self._on_deleted = on_deleted
        self._options = {
            "group_id": group,
            "session_timeout_ms": round(session_timeout_seconds * 1000),
            "heartbeat_interval_ms": round(heartbeat_seconds * 1000),
            "rebalance_timeout_ms": round(REBALANCE_SECONDS * 1000),
            "request_timeout_ms": round(REQUEST_SECONDS * 1000),
            "max_poll_interval_ms": 300_000,  # the poller keeps it; it is left as a watchdog of the loop
            "metadata_max_age_ms": 60_000,  # how soon added partitions are noticed
        }
        self._consumer: AIOKafkaConsumer = None
        self._fence: private.Fence | None = None
        self._owned: dict[Partition, int] = {}
        self._committed: dict[Partition, Progress] = {}
        self._found: dict[Partition, Progress] = {}
        """What is gained and not begun with yet, as its last owner left it."""
        self._incarnations = Incarnations(topics.values())
        self._logs: dict[Partition, str] = {}
        """Which log each was begun with."""
        self._partitions = 1
        self._share = 0.0
        self._positioning: asyncio.Task[None] | None = None
        self._is_given_up = False
        self.turns = 0
        """How often it was well: what a watchdog looks at."""
        self.has_joined = asyncio.Event()
        """Set when the group has answered for the first time, also with no partition."""

    async def start(self, *, partitions: int) -> None:
        """Connect and begin to join a stage of so many partition numbers. The owner hears what is gained."""
        self._partitions = partitions
        await self._connect()

    async def _connect(self) -> None:
        self._consumer = await connected_consumer(
            self._connection, partition_assignment_strategy=(ByNumber(),), **self._options
        )
        self._consumer.subscribe(topics=list(self._topics.values()), listener=_Callbacks(self, self._consumer))

    async def stop(self, *, leave: bool = True) -> None:
        """Go. With ``leave`` the group is told, and need not wait for the session timeout."""
        await self._stop_positioning()
        if self._consumer is not None:
            if not leave:
                private.forget_membership(self._consumer)
            await close_consumer(self._consumer)

    async def poll_forever(self) -> None:
        """Poll the paused member, bring it back when it falls out, replace it when that does not help."""
        clock = asyncio.get_running_loop().time
        well_at = clock()
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if await self._is_well() and not self._is_given_up:
                well_at = clock()
                self.turns += 1
            elif self._is_given_up or clock() - well_at > self._ill_seconds:
                self._is_given_up = False
                await self._replace()
                well_at = clock()
            await self._look_at_logs()

    def give_up(self) -> None:
        """Replace the consumer at the next poll, whatever it says of itself."""
        self._is_given_up = True

    async def commit(self, marks: Marks, *, timeout_seconds: float = COMMIT_SECONDS) -> frozenset[Partition]:
        """Commit; return the partitions whose mark the group now has. What belongs to a stale assignment is dropped."""
        current = {
            partition: progress
            for partition, (assignment, progress) in marks.items()
            if self._owned.get(partition) == assignment
        }
        due = {place: progress for place, progress in current.items() if self._is_news(place, progress)}
        accepted = await self._send(due, timeout_seconds) if due else frozenset()
        for partition in accepted:
            if self._owned.get(partition) == marks[partition].assignment and self._is_news(partition, due[partition]):
                self._committed[partition] = due[partition]
        return accepted | (current.keys() - due.keys())

    def _is_news(self, partition: Partition, progress: Progress) -> bool:
        known = self._committed.get(partition)
        return known is None or (progress.offset >= known.offset and progress != known)

    async def rebalance_began(self) -> None:
        """Commit what is done while the broker still knows us as the owner."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.commit(self._owner.marks_to_commit(), timeout_seconds=LAST_COMMIT_SECONDS))
            tasks.create_task(self._unmark())

    async def _unmark(self) -> None:
        """What was gained and not begun with is as we have found it: the next owner need not think that we died of it."""
        if self._positioning is not None:
            self._positioning.cancel()
        found, self._found = self._found, {}
        if found:
            await self._send(found, LAST_COMMIT_SECONDS)

    def joined(self, assigned: Collection[TopicPartition], fence: private.Fence) -> None:
        """Tell the owner at once what was lost, and find out where to begin with what was gained."""
        now = frozenset(Partition(self._classes[tp.topic], tp.partition) for tp in assigned)
        is_kept = self._fence is not None and fence.follows(self._fence)
        kept = now & self._owned.keys() if is_kept else frozenset()
        lost, gained = frozenset(self._owned.keys() - kept), now - kept
        share_before, self._share = self._share, self._share_of(now)
        self._fence = fence
        self._owned = {partition: self._owned[partition] for partition in kept}
        self._committed = {partition: mark for partition, mark in self._committed.items() if partition in kept}
        if self._positioning is not None:
            self._positioning.cancel()
        if lost or (not gained and self._share != share_before):
            self._owner.revoked(lost, self._share)
        self.has_joined.set()
        if gained:
            self._positioning = asyncio.create_task(self._begin(gained))

    async def _look_at_logs(self) -> None:
        """Begin anew where a topic is another log than the one that was begun with. If no broker answers, the next poll asks."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._incarnations.look(self._consumer)
        except (KafkaError, TimeoutError):
            return
        self.begin_anew(frozenset(partition for partition in self._owned if self._is_another(partition)))

    def _is_another(self, partition: Partition) -> bool:
        begun, known = self._logs[partition], self._log_of(partition)
        return begun != known and "" not in (begun, known)

    def _log_of(self, partition: Partition) -> str:
        return self._incarnations.log_of(self._topics[partition.request_class])

    def begin_anew(self, partitions: frozenset[Partition]) -> None:
        """Lose partitions whose log an operator has made anew, and own them again from its beginning.

        Their records have the offsets of others that were done, and what we have committed meanwhile is of the old log: the mark
        that precedes the new beginning puts that right.
        """
        lost = partitions & self._owned.keys()
        if not lost:
            return
        log.error("made anew, beginning again: %s", ", ".join(f"{name}-{number}" for name, number in sorted(lost)))
        for partition in lost:
            del self._owned[partition]
            self._committed.pop(partition, None)
        self._owner.revoked(lost, self._share)
        self._positioning = asyncio.create_task(self._begin_after(self._positioning, lost))

    async def _begin_after(self, earlier: "asyncio.Task[None] | None", anew: frozenset[Partition]) -> None:
        """Let what is being gained begin first; whoever cancels this cancels both."""
        try:
            if earlier is not None:
                await asyncio.wait([earlier])
        except asyncio.CancelledError:
            if earlier is not None:
                earlier.cancel()
            raise
        await self._begin(anew, is_anew=True)

    async def _begin(self, gained: frozenset[Partition], *, is_anew: bool = False) -> None:
        """Read where to begin, then own. The next rebalance cancels this and gains anew what has not begun."""
        deleted: dict[Partition, int] = {}
        begun = await self._mark_where_to_begin(gained, deleted, is_anew=is_anew)
        assignment, self._found = next(_assignments), {}
        self._owned |= dict.fromkeys(gained, assignment)
        self._owner.assigned(begun, assignment, self._share)
        for partition, count in deleted.items():
            if count:
                self._on_deleted(partition, count)

    async def _mark_where_to_begin(
        self, gained: frozenset[Partition], deleted: dict[Partition, int], *, is_anew: bool
    ) -> dict[Partition, Progress]:
        """Find and commit it, and again where a topic was made anew meanwhile: what was read may be of either log."""
        places = {self._place(partition): partition for partition in gained}
        while True:
            logs = await self._look_until_told(gained)
            unread: dict[TopicPartition, int] = {}
            found = await starting_positions(
                self._consumer, places, unread, log_of=self._incarnations.log_of, is_anew=is_anew
            )
            self._logs |= logs
            self._found = {places[tp]: progress for tp, progress in found.items()}
            begun = {partition: progress.taken_over() for partition, progress in self._found.items()}
            await self._mark(begun)
            if await self._look_until_told(gained) == logs:
                deleted |= {places[tp]: count for tp, count in unread.items()}
                return begun

    async def _look_until_told(self, partitions: Collection[Partition]) -> dict[Partition, str]:
        """Return which logs these are now."""
        while True:
            try:
                async with asyncio.timeout(COMMIT_SECONDS):
                    await self._incarnations.look(self._consumer)
            except (KafkaError, TimeoutError) as error:
                log.info("no broker has told the ids of topics: %r", error)
                await asyncio.sleep(MARK_RETRY_SECONDS)
            else:
                return {partition: self._log_of(partition) for partition in partitions}

    async def _mark(self, begun: Mapping[Partition, Progress]) -> None:
        """Commit that we have begun, before anything that is taken can end the process.

        It counts owners that die; so where the group takes no commits at all, the work goes on without.
        """
        gives_up_at = asyncio.get_running_loop().time() + MARK_SECONDS
        left = dict(begun)
        while left and asyncio.get_running_loop().time() < gives_up_at:
            for partition in await self._send(left, COMMIT_SECONDS):
                self._committed[partition] = left.pop(partition)
            if left:
                await asyncio.sleep(MARK_RETRY_SECONDS)

    async def _send(self, due: Mapping[Partition, Progress], timeout_seconds: float) -> frozenset[Partition]:
        """Send one fenced commit. Whatever the answer is, it is a value: the work goes on either way."""
        if self._fence is None:
            return frozenset()
        places = {self._place(partition): partition for partition in due}
        try:
            async with asyncio.timeout(timeout_seconds):
                answers = await private.fenced_commit(
                    self._consumer,
                    self._fence,
                    {tp: (due[place].offset, encode_progress(due[place])) for tp, place in places.items()},
                )
        except (KafkaError, TimeoutError) as error:
            log.info("commit not acknowledged: %r", error)
            return frozenset()
        if refusals := {error.__name__ for error in answers.values() if error is not None}:
            log.info("commit refused: %s", ", ".join(sorted(refusals)))
        return frozenset(places[tp] for tp, error in answers.items() if error is None)

    async def _is_well(self) -> bool:
        """Poll once. It raises what aiokafka has parked, and it waits while a rebalance is on."""
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._consumer.getmany(timeout_ms=0)
        except TimeoutError:
            return False
        except Exception as error:  # coordination ended on it, whatever it is; joining again restarts it
            log.warning("membership was interrupted, joining again: %r", error)
            private.request_rejoin(self._consumer)
            return False
        return True

    async def _replace(self) -> None:
        """Start over as a new member. All is lost first: nobody knows who owns it meanwhile."""
        log.error("membership is given up: replacing the consumer")
        await self._stop_positioning()
        lost, self._owned, self._committed, self._fence, self._share = frozenset(self._owned), {}, {}, None, 0.0
        if lost:
            self._owner.revoked(lost, 0.0)
        await close_consumer(self._consumer)
        while True:
            try:
                return await self._connect()
            except EnvironmentFailure as error:
                log.warning("membership still without a broker: %s", error)
                await asyncio.sleep(POLL_SECONDS)

    async def _stop_positioning(self) -> None:
        if self._positioning is not None:
            self._positioning.cancel()
            await asyncio.wait([self._positioning])

    def _share_of(self, partitions: Collection[Partition]) -> float:
        """Return the part of all numbers of the stage that these have. The client may not know of added ones yet, or at all."""
        counts = [len(self._consumer.partitions_for_topic(topic) or ()) for topic in self._topics.values()]
        return len({partition.number for partition in partitions}) / max(*counts, self._partitions)

    def _place(self, partition: Partition) -> TopicPartition:
        return TopicPartition(self._topics[partition.request_class], partition.number)


class _Callbacks:
    """What aiokafka calls around a rebalance. Bound to its consumer, so that a replaced one is not taken for the new."""

    def __init__(self, membership: Membership, consumer: AIOKafkaConsumer) -> None:
        self._membership = membership
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Commit. All partitions are named here at every rebalance, so it says nothing on what will be lost."""
        await self._membership.rebalance_began()

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Pause before the client can fetch, and give it positions that it need not ask for, since it never reads."""
        self._consumer.pause(*assigned)
        for partition in assigned:
            self._consumer.seek(partition, 0)
        self._membership.joined(assigned, private.fence_of(self._consumer))


ConsumerRebalanceListener.register(_Callbacks)  # aiokafka asks for the type; its base class is untyped
