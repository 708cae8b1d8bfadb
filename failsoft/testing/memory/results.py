"""Reads results, each visible once, as :class:`failsoft.kafka.ResultReader` does: the first record of an id is the result."""

from collections.abc import AsyncIterator
from typing import Literal

from failsoft.kafka import ResultRecord
from failsoft.simulation.world import Entry, VisibleOnce
from failsoft.testing.memory.broker import MemoryBroker
from failsoft.wire import Record


class MemoryResultReader:
    """A reader of one topic of results.

    Args:
        broker: where it is.
        topic: ``<pipeline>.results``.
        start: where to begin to emit.
        until_end: end where the log ended when the reader was started.
    """

    def __init__(
        self,
        broker: MemoryBroker,
        topic: str,
        *,
        start: Literal["beginning", "end"] = "end",
        until_end: bool = False,
    ) -> None:
        self._topic = broker.topic(topic)
        self._start = start
        self._until_end = until_end
        self._visible = VisibleOnce()
        self._positions = [0] * len(self._topic.logs)
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.repeats = 0
        """Records from the starting position on that were not the first of their id."""

    async def start(self) -> None:
        """Take the positions."""
        self._ends = [log.end for log in self._topic.logs]
        self._starts = [0] * len(self._ends) if self._start == "beginning" else self._ends

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
        is_first = entry.key is None or self._visible.read(entry.key)
        if entry.offset < self._starts[number]:
            return False
        self.repeats += not is_first
        return is_first


def _result(number: int, entry: Entry[Record]) -> ResultRecord:
    record = entry.value or Record(None, None, ())
    headers = tuple((name, value or b"") for name, value in record.headers)
    return ResultRecord(number, entry.offset, entry.appended_at, record.key, record.value, headers)
