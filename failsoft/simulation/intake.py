"""What a process fetches, the twin of ``kafka/fetcher.py``: pulled by room, class by class; each fetch tells the backlog.

A fetch that would bring nothing and tell nothing new is left out: most workers are idle most of the time, and a simulated poll
costs as much as a simulated record.

Like the member it serves simulated processes and the in-memory broker of :mod:`failsoft.testing` alike.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from failsoft.policy.request import ClassName, Partition, RecordId
from failsoft.simulation.member import Link, Process
from failsoft.simulation.world import Entry, Log

PARTITION_RECORDS = 500
"""Most records of one partition in one fetch: 256 KiB of half a KiB each."""
IDLE_SECONDS = 1.0


V = TypeVar("V")


class _Place(Generic[V]):
    """How far one partition has been fetched."""

    __slots__ = ("log", "partition", "position")

    def __init__(self, partition: Partition, log: Log[V], position: int) -> None:
        self.partition = partition
        self.log = log
        self.position = position


class Source(Protocol[V]):
    """Where the logs of one stage are."""

    on_append: dict[Partition, Callable[[ClassName], None]]
    """Who waits for records of a partition; who owned it before is not told any more."""

    @property
    def logs(self) -> Mapping[Partition, Log[V]]:
        """One of each class and number."""

    @property
    def classes(self) -> tuple[ClassName, ...]:
        """The stage's classes."""

    @property
    def partitions(self) -> int:
        """Of each class."""

    @property
    def clock(self) -> float:
        """The broker's clock, epoch seconds."""


class Taker(Protocol[V]):
    """Who takes the records."""

    def room(self, request_class: ClassName) -> int:
        """How many more of this class to take."""

    def records(self, batch: Sequence[tuple[RecordId, Entry[V]]]) -> None:
        """Take these."""

    def backlog(self, request_class: ClassName, records: int, oldest_age_seconds: float) -> None:
        """Learn what is still in the log."""


class Intake(Generic[V]):
    """The fetchers of one process.

    Args:
        process: whose life it shares.
        source: where the logs are.
        link: the way there.
        taker: who takes the records, and says how many.
    """

    def __init__(self, process: Process, source: Source[V], link: Link, taker: Taker[V]) -> None:
        self._process = process
        self._source = source
        self._link = link
        self._taker = taker
        self._places: dict[ClassName, dict[Partition, _Place[V]]] = {name: {} for name in source.classes}
        self._is_fetching: set[ClassName] = set()
        self._head_at: dict[ClassName, float] = {}
        self._told = dict.fromkeys(source.classes, 0)
        """What the taker believes is left in the log."""

    def start(self) -> None:
        """Begin to look at the log now and then, also when nothing is pulled."""
        self._look()

    def gain(self, positions: Mapping[Partition, int]) -> None:
        """Fetch these from here on."""
        for partition, position in positions.items():
            place = _Place(partition, self._source.logs[partition], position)
            self._places[partition.request_class][partition] = place
            self._source.on_append[partition] = self.wake
        for name in self._places:
            self.wake(name)

    def lose(self, partitions: Collection[Partition]) -> None:
        """Fetch these no longer."""
        for partition in partitions:
            self._places[partition.request_class].pop(partition, None)

    def wake(self, request_class: ClassName) -> None:
        """There may be something, or room for it."""
        if request_class not in self._is_fetching and (self._told[request_class] or self._behind(request_class)):
            self._is_fetching.add(request_class)
            self._process.later(self._process.now + self._link.seconds, self._fetch, request_class)

    def _look(self) -> None:
        for name in self._places:
            self.wake(name)
        self._process.later(self._process.now + IDLE_SECONDS, self._look)

    def _fetch(self, name: ClassName) -> None:
        self._is_fetching.discard(name)
        if not self._link.is_up or not self._places[name]:
            return
        batch = self._pull(name, self._taker.room(name))
        self._taker.records(batch)
        self._tell_backlog(name, batch)
        if batch:
            self.wake(name)

    def _tell_backlog(self, name: ClassName, batch: Sequence[tuple[RecordId, Entry[V]]]) -> None:
        left = sum(place.log.end - place.position for place in self._behind(name))
        if left or self._told[name]:
            self._told[name] = left
            self._head_at[name] = self._head(name, batch, left)
            self._taker.backlog(name, left, self._source.clock - self._head_at[name])

    def _head(self, name: ClassName, batch: Sequence[tuple[RecordId, Entry[V]]], left: int) -> float:
        """When the head of what is left was appended at the earliest: no sooner than the oldest of the last hand-over."""
        if not left:
            return self._source.clock
        return min((entry.appended_at for _, entry in batch), default=self._head_at.get(name, self._source.clock))

    def _pull(self, name: ClassName, room: int) -> list[tuple[RecordId, Entry[V]]]:
        batch: list[tuple[RecordId, Entry[V]]] = []
        turn, partitions = self._turn, self._source.partitions
        for place in sorted(self._behind(name), key=lambda known: (known.partition.number + turn) % partitions):
            entries = place.log.read(place.position, min(room - len(batch), PARTITION_RECORDS))
            if not entries:
                break
            batch += [(RecordId(*place.partition, entry.offset), entry) for entry in entries]
            place.position = entries[-1].offset + 1
        return batch

    @property
    def _turn(self) -> int:
        """Where to begin, so that no partition is always last."""
        return int(self._process.now * 1000)

    def _behind(self, name: ClassName) -> list[_Place[V]]:
        """Where something has been appended that was not fetched."""
        return [place for place in self._places[name].values() if place.log.end > place.position]
