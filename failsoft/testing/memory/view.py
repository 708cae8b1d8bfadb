"""A compacted topic as one process reads it, as :class:`failsoft.kafka.View` does, on the broker in memory.

Nothing is compacted here, so a listener hears every record of a key, in order; on Kafka it may hear the last one only. After a
time with the link down it goes on where it was.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence

from failsoft.kafka import ViewRecord
from failsoft.kafka.view import BATCH, READY_SECONDS
from failsoft.simulation.world import Entry
from failsoft.testing.memory.broker import MemoryBroker, MemoryLink
from failsoft.wire import Record

RETRY_SECONDS = 0.25


class MemoryView:
    """A reader of one topic.

    Args:
        broker: where it is; ages are measured by its clock.
        topic: what to read.
        take: takes records, a batch at a time; what it raises ends the view, see ``failed``.
        numbers: the partitions to read; None: all.
        last_offsets: begin at most so many offsets before the end of a partition; None: at its beginning.
        link: the way to the broker.
    """

    def __init__(
        self,
        broker: MemoryBroker,
        topic: str,
        *,
        take: Callable[[Sequence[ViewRecord]], None],
        numbers: Iterable[int] | None = None,
        last_offsets: int | None = None,
        link: MemoryLink | None = None,
    ) -> None:
        self.link = link or MemoryLink()
        self._clock = broker.clock
        self._topic = broker.topic(topic)
        self._take = take
        self._is_of_all = numbers is None
        self._last_offsets = last_offsets
        self._positions: dict[int, int] = {}
        self._targets: dict[int, int] = {}
        self._caught_up = asyncio.Event()
        self._gained = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self._take_up(range(len(self._topic.logs)) if numbers is None else numbers)

    async def start(self) -> None:
        """Begin to read."""
        self._following = asyncio.create_task(self._follow_forever())

    async def caught_up(self, timeout_seconds: float = READY_SECONDS) -> bool:
        """Wait until all is read that was there; False if that takes too long, and reading goes on."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._caught_up.wait()
        except TimeoutError:
            return False
        return True

    @property
    def is_caught_up(self) -> bool:
        """Whether all is read that was there when each partition was taken up."""
        return self._caught_up.is_set()

    def gain(self, numbers: Collection[int]) -> None:
        """Read these partitions too, each from its beginning. Of a view of some partitions only."""
        self._refuse_if_of_all()
        self._take_up(set(numbers) - self._positions.keys())
        self._caught_up.clear()
        self._gained.set()

    def lose(self, numbers: Collection[int]) -> None:
        """Read these no more; no record of them is handed over from here on."""
        self._refuse_if_of_all()
        for number in numbers:
            self._positions.pop(number, None)
            self._targets.pop(number, None)

    async def failed(self) -> None:
        """Wait until reading ends on an error that is a bug, and raise it; return when the view is stopped."""
        if self._following is None:
            raise ValueError("not started")
        await asyncio.wait({self._following})
        if not self._following.cancelled():
            self._following.result()

    async def stop(self) -> None:
        """Read no more."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait({self._following})

    def _refuse_if_of_all(self) -> None:
        if self._is_of_all:
            raise ValueError("the view reads all partitions; name some at first to change them")

    def _take_up(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            end = self._topic.logs[number].end
            self._positions[number] = 0 if self._last_offsets is None else max(0, end - self._last_offsets)
            self._targets[number] = end

    async def _follow_forever(self) -> None:
        while True:
            appended = self._topic.appended
            self._gained.clear()
            await asyncio.sleep(self.link.seconds)
            if not self.link.is_up:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            while batch := self._read():
                self._take(batch)
                await asyncio.sleep(0)
            if all(self._positions[number] >= end for number, end in self._targets.items()):
                self._caught_up.set()
            waits = [asyncio.ensure_future(event.wait()) for event in (appended, self._gained)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    def _read(self) -> list[ViewRecord]:
        batch: list[ViewRecord] = []
        for number, position in self._positions.items():
            entries = self._topic.logs[number].read(position, BATCH - len(batch))
            batch += [self._record(number, entry) for entry in entries]
            if entries:
                self._positions[number] = entries[-1].offset + 1
        return batch

    def _record(self, number: int, entry: Entry[Record]) -> ViewRecord:
        record = entry.value or Record(None, None, ())
        headers = tuple((name, value or b"") for name, value in record.headers)
        age_seconds = max(0.0, self._clock.wall() - entry.appended_at)
        return ViewRecord(number, entry.offset, record.key, record.value, headers, entry.appended_at, age_seconds)
