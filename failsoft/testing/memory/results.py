"""Reads results, each visible once, as :class:`failsoft.kafka.ResultReader` does: the first record of an id is the result.

What is remembered, and how long, is that reader's own rule; here is only the log that it is applied to.
"""

from collections.abc import AsyncIterator

from failsoft.kafka import ResultRecord
from failsoft.kafka.results import HORIZON_SECONDS, REMEMBERED_IDS, FirstSeen, Start
from failsoft.simulation.world import Entry, Log
from failsoft.testing.memory.broker import MemoryBroker
from failsoft.wire import Record


class MemoryResultReader:
    """A reader of one topic of results.

    Args:
        broker: where it is.
        topic: ``<pipeline>.results``.
        start: where to begin to emit.
        until_end: end where the log ended when the reader was started.
        horizon_seconds: how long an id is remembered.
        remembered_ids: how many, of all partitions.
    """

    def __init__(
        self,
        broker: MemoryBroker,
        topic: str,
        *,
        start: Start = "end",
        until_end: bool = False,
        horizon_seconds: float = HORIZON_SECONDS,
        remembered_ids: int = REMEMBERED_IDS,
    ) -> None:
        self._clock = broker.clock
        self._topic = broker.topic(topic)
        self._start = start
        self._until_end = until_end
        self._horizon_seconds = horizon_seconds
        limit = max(1, remembered_ids // len(self._topic.logs))
        self._seen = [FirstSeen(horizon_seconds=horizon_seconds, limit=limit) for _ in self._topic.logs]
        self._positions: list[int] = []
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.repeats = 0
        """Records from the starting position on that were not the first of their id."""

    async def start(self) -> None:
        """Take the positions."""
        self._ends = [log.end for log in self._topic.logs]
        self._starts = self._places_at(self._start)
        began_at = self._clock.wall() if isinstance(self._start, str) else self._start
        history = self._places_at("beginning" if self._start == "beginning" else began_at - self._horizon_seconds)
        self._positions = [min(pair) for pair in zip(history, self._starts, strict=True)]

    async def stop(self) -> None:
        """There is nothing to close."""

    async def records(self) -> AsyncIterator[ResultRecord]:
        """Yield results, each id once, in order of offsets within each partition."""
        while True:
            appended = self._topic.appended
            for number, entry in self._read():
                if self._counts(number, entry):
                    yield _result(number, entry)
            if self._until_end and all(at >= end for at, end in zip(self._positions, self._ends, strict=True)):
                return
            await appended.wait()

    def _places_at(self, start: Start) -> list[int]:
        """Turn a start into offsets. An instant after the last record is the end."""
        if start == "beginning":
            return [0] * len(self._ends)
        return self._ends if isinstance(start, str) else [_place_at(log, start) for log in self._topic.logs]

    def _read(self) -> list[tuple[int, Entry[Record]]]:
        batch = []
        for number, log in enumerate(self._topic.logs):
            end = self._ends[number] if self._until_end else log.end
            entries = log.read(self._positions[number], end - self._positions[number])
            batch += [(number, entry) for entry in entries]
            if entries:
                self._positions[number] = entries[-1].offset + 1
        return batch

    def _counts(self, number: int, entry: Entry[Record]) -> bool:
        """Whether to emit: the first of its id, in the part of the log that was asked for."""
        key = None if entry.value is None else entry.value.key
        is_first = key is None or self._seen[number].is_first(key, entry.appended_at)
        if entry.offset < self._starts[number]:
            return False
        self.repeats += not is_first
        return is_first


def _place_at(log: Log[Record], instant: float) -> int:
    """The first record that was appended then or later."""
    return next((entry.offset for entry in log.read(0, log.end) if entry.appended_at >= instant), log.end)


def _result(number: int, entry: Entry[Record]) -> ResultRecord:
    record = entry.value or Record(None, None, ())
    headers = tuple((name, value or b"") for name, value in record.headers)
    return ResultRecord(number, entry.offset, entry.appended_at, record.key, record.value, headers)
