"""A consumer group, as its coordinator sees it: members, generations, eager rebalances, fenced commits.

**Rebalance.** When a member joins, leaves or is not heard of for the session timeout, the group asks all to join again; each
hears of it at its next heartbeat. When all have joined, or the rebalance timeout has passed and those who have not are dropped, a
new generation begins and every member has its partition numbers. Joining and syncing are one step here.

**Fence.** A commit names the member and the generation that its work belongs to. It is refused if either is over: the next owner
may have read the old offset already. While the group waits for members to join, the old generation may still commit.

Source: Kafka's classic group protocol; what is measured of it is in research/kafka.md.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum

from failsoft.policy.allotment import allot
from failsoft.policy.progress import Progress
from failsoft.policy.request import Partition


class Answer(Enum):
    """What the coordinator says to a heartbeat or a commit."""

    OK = "ok"
    REBALANCE = "rebalance in progress"
    ILLEGAL_GENERATION = "illegal generation"
    UNKNOWN_MEMBER = "unknown member"


@dataclass(frozen=True, slots=True)
class Membership:
    """What a member is told when a generation begins."""

    member: str
    generation: int
    numbers: frozenset[int]


class _Member:
    __slots__ = ("has_joined", "held", "seen_at")

    def __init__(self, held: Collection[int], now: float) -> None:
        self.held = frozenset(held)
        self.seen_at = now
        self.has_joined = True


class Group:
    """The group of one stage.

    Args:
        partitions: how many numbers are dealt out.
        session_seconds: a member not heard of for so long is dropped.
        rebalance_seconds: how long a rebalance waits for members to join again.
    """

    def __init__(self, partitions: int, *, session_seconds: float = 6.0, rebalance_seconds: float = 20.0) -> None:
        self.generation = 0
        self.marks: dict[Partition, Progress] = {}
        """What was committed, with its metadata."""
        self._partitions = partitions
        self._session_seconds = session_seconds
        self._rebalance_seconds = rebalance_seconds
        self._members: dict[str, _Member] = {}
        self._assigned: Mapping[str, frozenset[int]] = {}
        self._joining_ends_at: float | None = None
        self._named = 0

    @property
    def committed(self) -> Mapping[Partition, int]:
        """The committed offsets."""
        return {partition: mark.offset for partition, mark in self.marks.items()}

    @property
    def is_rebalancing(self) -> bool:
        """Whether it waits for members to join."""
        return self._joining_ends_at is not None

    def join(self, member: str | None, held: Collection[int], *, now: float) -> str:
        """Ask to take part in the next generation; return the name that the member has from now on."""
        name = member if member in self._members else None
        if name is None:
            self._named += 1
            name = f"member-{self._named}"
        self._members[name] = _Member(held, now)
        self._begin_joining(now, joined=name)
        return name

    def leave(self, member: str, *, now: float) -> None:
        """Go, without making the others wait for the session timeout."""
        if self._members.pop(member, None) is not None:
            self._begin_joining(now)

    def heartbeat(self, member: str, generation: int, *, now: float) -> Answer:
        """Say that a member is there."""
        answer = self._check(member, generation)
        if answer is not Answer.UNKNOWN_MEMBER:
            self._members[member].seen_at = now
        return Answer.REBALANCE if answer is Answer.OK and self.is_rebalancing else answer

    def commit(self, member: str, generation: int, marks: Mapping[Partition, Progress]) -> Answer:
        """Commit, all or none."""
        answer = self._check(member, generation)
        if answer is Answer.OK:
            self.marks |= marks
        return answer

    def membership(self, member: str) -> Membership | None:
        """What a member that has joined is told; None while the group still waits for others."""
        if self.is_rebalancing or member not in self._assigned:
            return None
        return Membership(member, self.generation, self._assigned[member])

    def waits_for(self, member: str | None) -> bool:
        """Whether a rebalance is on and this member has not joined it yet; one that it does not know must join as well."""
        known = self._members.get(member or "")
        return known is None or (self.is_rebalancing and not known.has_joined)

    def next_due(self) -> float | None:
        """When time alone may change something."""
        due = [member.seen_at + self._session_seconds for member in self._watched()]
        due.append(math.inf if self._joining_ends_at is None else self._joining_ends_at)
        return None if math.isinf(min(due)) else min(due)

    def advance(self, *, now: float) -> bool:
        """Drop who was not heard of, and begin a generation when all are there. True if one has begun."""
        for name, member in list(self._members.items()):
            if not (self.is_rebalancing and member.has_joined) and now >= member.seen_at + self._session_seconds:
                del self._members[name]
                self._begin_joining(now)
        if self._joining_ends_at is None:
            return False
        if now >= self._joining_ends_at:
            self._members = {name: member for name, member in self._members.items() if member.has_joined}
        return all(member.has_joined for member in self._members.values()) and self._begin_generation(now)

    def _watched(self) -> list[_Member]:
        """Whose silence counts: not those who wait for the others to join."""
        return [member for member in self._members.values() if not (self.is_rebalancing and member.has_joined)]

    def _begin_joining(self, now: float, *, joined: str | None = None) -> None:
        if self._joining_ends_at is not None:
            return
        self._joining_ends_at = now + self._rebalance_seconds
        for name, member in self._members.items():
            member.has_joined = name == joined

    def _begin_generation(self, now: float) -> bool:
        self.generation += 1
        self._joining_ends_at = None
        for member in self._members.values():
            member.seen_at = now
        held = {name: member.held for name, member in self._members.items()}
        shares = allot(range(self._partitions), held) if held else {}
        self._assigned = {name: frozenset(numbers) for name, numbers in shares.items()}
        return bool(held)

    def _check(self, member: str, generation: int) -> Answer:
        if member not in self._members:
            return Answer.UNKNOWN_MEMBER
        return Answer.OK if generation == self.generation else Answer.ILLEGAL_GENERATION
