"""A process's part in the group, the twin of ``kafka/membership.py``: heartbeats, rejoining, keeping, fenced commits.

It knows its process only by a clock and timers, so the same rules serve the simulated processes and, on an event loop, the
in-memory broker of :mod:`failsoft.testing`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from failsoft.policy.progress import Marks, Progress
from failsoft.policy.request import ClassName, Partition
from failsoft.simulation.world import Answer, Group, Log, Membership

HEARTBEAT_SECONDS = 1.0
RETRY_SECONDS = 0.5


class Process(Protocol):
    """Whose life a member shares: after its end its timers do nothing."""

    @property
    def now(self) -> float:
        """Monotonic seconds."""

    def later(self, instant: float, call: Callable[..., None], *args: Any) -> None:
        """Set a timer of this process."""


class Coordinator(Protocol):
    """Where the group is."""

    on_generation: list[Callable[[], None]]
    """Who is told that a generation has begun."""

    @property
    def group(self) -> Group:
        """Its members and commits."""

    @property
    def classes(self) -> tuple[ClassName, ...]:
        """The stage's classes."""

    @property
    def logs(self) -> Mapping[Partition, Log[Any]]:
        """One of each class and number."""

    @property
    def partitions(self) -> int:
        """Of each class."""

    def next_assignment(self) -> int:
        """A name for a gain of partitions, unlike any other's."""

    def commit(self, member: str, generation: int, marks: Mapping[Partition, Progress]) -> Answer:
        """Commit."""

    def settle(self) -> None:
        """Let the group go on as far as it can now."""


class Link(Protocol):
    """The network between this process and the broker."""

    @property
    def is_up(self) -> bool:
        """Whether anything gets through."""

    @property
    def seconds(self) -> float:
        """How long a request and its answer take."""


class Owner(Protocol):
    """Who is told what is owned."""

    def assigned(self, positions: Mapping[Partition, Progress], assignment: int, share: float) -> None:
        """Own these from here on."""

    def revoked(self, partitions: frozenset[Partition], share: float) -> None:
        """Drop these."""

    def rebalance_began(self) -> None:
        """Say what may be committed, before partitions move."""


@dataclass(frozen=True, slots=True)
class Fence:
    """In which generation, and as whom, this process owns what it owns."""

    member: str
    generation: int


class Member:
    """One member of the group.

    Args:
        process: whose life it shares.
        coordinator: where the group is.
        link: the way there.
        owner: who is told.
    """

    def __init__(self, process: Process, coordinator: Coordinator, link: Link, owner: Owner) -> None:
        self.owned: dict[int, int] = {}
        """Partition number -> assignment."""
        self._process = process
        self._coordinator = coordinator
        self._link = link
        self._owner = owner
        self._name: str | None = None
        self._fence: Fence | None = None
        self._committed: dict[Partition, Progress] = {}
        """What the group has taken from us, of what we own."""
        self._is_joining = False
        self._share = 0.0

    def start(self) -> None:
        """Join, and keep saying that we are here."""
        self._coordinator.on_generation.append(self._heard_of_generation)
        self._join()
        self._process.later(self._process.now + HEARTBEAT_SECONDS, self._heartbeat)

    def leave(self) -> None:
        """Go, and tell the group."""
        if self._name is not None and self._link.is_up:
            self._coordinator.group.leave(self._name, now=self._process.now)
            self._coordinator.settle()

    def commit(self, marks: Marks) -> frozenset[Partition]:
        """Commit what belongs to assignments that hold; return where the group is as far, or farther."""
        current = {
            partition: progress
            for partition, (assignment, progress) in marks.items()
            if self.owned.get(partition.number) == assignment
        }
        due = {place: progress for place, progress in current.items() if self._is_news(place, progress)}
        if due and self._is_taken(due):
            self._committed |= due
            return frozenset(current)
        return frozenset(current.keys() - due.keys())

    def _is_news(self, partition: Partition, progress: Progress) -> bool:
        known = self._committed.get(partition)
        return known is None or (progress.offset >= known.offset and progress != known)

    def _is_taken(self, due: Mapping[Partition, Progress]) -> bool:
        if self._fence is None or not self._link.is_up:
            return False
        return self._coordinator.commit(self._fence.member, self._fence.generation, due) is Answer.OK

    def _heartbeat(self) -> None:
        self._process.later(self._process.now + HEARTBEAT_SECONDS, self._heartbeat)
        if not self._link.is_up:
            return
        if self._is_joining:
            self._look_for_generation()
        elif self._name is not None and self._fence is not None:
            answer = self._coordinator.group.heartbeat(self._name, self._fence.generation, now=self._process.now)
            if answer is Answer.REBALANCE:
                self._join()
            elif answer is not Answer.OK:
                self._name = None
                self._join()

    def _join(self) -> None:
        self._owner.rebalance_began()
        self._is_joining = True
        if self._link.is_up:
            self._name = self._coordinator.group.join(self._name, self.owned, now=self._process.now)
            self._coordinator.settle()

    def _heard_of_generation(self) -> None:
        self._process.later(self._process.now + self._link.seconds, self._look_for_generation)

    def _look_for_generation(self) -> None:
        """If the group has a new generation, begin it; if it waits for us, or has dropped us, join again."""
        if not self._is_joining or not self._link.is_up:
            return
        if self._coordinator.group.waits_for(self._name):
            self._join()
            return
        known = self._coordinator.group.membership(self._name or "")
        if known is not None:
            self._is_joining = False
            self._begin(known)

    def _begin(self, known: Membership) -> None:
        """Keep what comes back to the same member in the very next generation; all else is lost, or gained anew."""
        before, self._fence = self._fence, Fence(known.member, known.generation)
        keeps = before == Fence(known.member, known.generation - 1)
        kept = known.numbers & self.owned.keys() if keeps else frozenset[int]()
        lost, gained = self.owned.keys() - kept, known.numbers - kept
        self.owned = {number: self.owned[number] for number in sorted(kept)}
        self._committed = {place: offset for place, offset in self._committed.items() if place.number in kept}
        share = len(known.numbers) / self._coordinator.partitions
        if lost or (not gained and share != self._share):
            self._owner.revoked(self._partitions(lost), share)
        self._share = share
        if gained:
            self._process.later(self._process.now + self._link.seconds, self._own, gained, self._fence)

    def _own(self, gained: frozenset[int], fence: Fence) -> None:
        """Read where to begin, then own; the next rebalance gains anew what has not begun."""
        if self._fence != fence or self._is_joining:
            return
        if not self._link.is_up:
            self._process.later(self._process.now + RETRY_SECONDS, self._own, gained, fence)
            return
        positions = {
            partition: self._progress(partition).taken_over() for partition in sorted(self._partitions(gained))
        }
        if self._is_taken(positions):
            self._committed |= positions
            self._process.later(self._process.now + self._link.seconds, self._begin_work, positions, fence)
        else:
            self._process.later(self._process.now + RETRY_SECONDS, self._own, gained, fence)

    def _begin_work(self, positions: Mapping[Partition, Progress], fence: Fence) -> None:
        """The group knows that we have begun: take records."""
        if self._fence == fence and not self._is_joining:
            assignment = self._coordinator.next_assignment()
            self.owned |= {partition.number: assignment for partition in positions}
            self._owner.assigned(positions, assignment, self._share)

    def _progress(self, partition: Partition) -> Progress:
        """How far it is. A commit past the end speaks of a log that is gone."""
        mark = self._coordinator.group.marks.get(partition, Progress(0))
        return mark if mark.offset <= self._coordinator.logs[partition].end else Progress(0)

    def _partitions(self, numbers: Iterable[int]) -> frozenset[Partition]:
        return frozenset(Partition(name, number) for name in self._coordinator.classes for number in numbers)
