"""What a process fetches, the twin of ``kafka/fetcher.py``: pulled by room, class by class; each fetch tells the backlog."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from failsoft.policy.request import ClassName, Partition, RecordId
from failsoft.simulation.cluster import Cluster, Sent
from failsoft.simulation.member import Link
from failsoft.simulation.shell import Shell
from failsoft.simulation.world import Entry

PARTITION_RECORDS = 500
"""Most records of one partition in one fetch: 256 KiB of half a KiB each."""
IDLE_SECONDS = 1.0


class Taker(Protocol):
    """Who takes the records."""

    def records(self, batch: Sequence[tuple[RecordId, Entry[Sent]]]) -> None:
        """Take these."""

    def backlog(self, request_class: ClassName, records: int, oldest_age_seconds: float) -> None:
        """Learn what is still in the log."""


class Intake:
    """The fetchers of one process.

    Args:
        shell: whose life it shares, and whose room it fills.
        cluster: where the logs are.
        link: the way there.
        taker: who takes the records.
    """

    def __init__(self, shell: Shell, cluster: Cluster, link: Link, taker: Taker) -> None:
        self._shell = shell
        self._cluster = cluster
        self._link = link
        self._taker = taker
        self._positions: dict[ClassName, dict[Partition, int]] = {name: {} for name in cluster.classes}
        self._is_fetching: set[ClassName] = set()

    def start(self) -> None:
        """Begin to look at the log now and then, also when nothing is pulled."""
        self._look()

    def gain(self, positions: Mapping[Partition, int]) -> None:
        """Fetch these from here on."""
        for partition, position in positions.items():
            self._positions[partition.request_class][partition] = position
            self._cluster.on_append[partition] = self.wake
        for name in self._positions:
            self.wake(name)

    def lose(self, partitions: Collection[Partition]) -> None:
        """Fetch these no longer."""
        for partition in partitions:
            self._positions[partition.request_class].pop(partition, None)

    def wake(self, request_class: ClassName) -> None:
        """There may be something, or room for it."""
        if request_class not in self._is_fetching:
            self._is_fetching.add(request_class)
            self._shell.later(self._shell.now + self._link.seconds, self._fetch, request_class)

    def _look(self) -> None:
        for name in self._positions:
            self.wake(name)
        self._shell.later(self._shell.now + IDLE_SECONDS, self._look)

    def _fetch(self, name: ClassName) -> None:
        self._is_fetching.discard(name)
        if not self._link.is_up or not self._positions[name]:
            return
        batch = self._pull(name, self._shell.machine.room()[name])
        self._taker.records(batch)
        left = self._left(name)
        oldest = min((entry.appended_at for _, entry in batch), default=self._cluster.clock)
        self._taker.backlog(name, left, self._cluster.clock - oldest if left else 0.0)
        if left and batch:
            self.wake(name)

    def _pull(self, name: ClassName, room: int) -> list[tuple[RecordId, Entry[Sent]]]:
        batch: list[tuple[RecordId, Entry[Sent]]] = []
        positions = self._positions[name]
        for partition in sorted(positions, key=lambda known: (known.number + self._turn) % self._cluster.partitions):
            entries = self._cluster.logs[partition].read(
                positions[partition], min(room - len(batch), PARTITION_RECORDS)
            )
            batch += [(RecordId(*partition, entry.offset), entry) for entry in entries]
            if entries:
                positions[partition] = entries[-1].offset + 1
        return batch

    @property
    def _turn(self) -> int:
        """Where to begin, so that no partition is always last."""
        return int(self._shell.now * 1000)

    def _left(self, name: ClassName) -> int:
        return sum(
            self._cluster.logs[partition].end - position for partition, position in self._positions[name].items()
        )
