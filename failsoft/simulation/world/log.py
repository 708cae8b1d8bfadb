"""One partition: records in the order of their offsets, each with the broker's time of its append (LogAppendTime)."""

from bisect import bisect_left
from collections.abc import Hashable
from operator import attrgetter
from typing import Generic, NamedTuple, TypeVar

V = TypeVar("V")
_offset = attrgetter("offset")


class Entry(NamedTuple, Generic[V]):
    """One record in the log; a value of None is a tombstone."""

    offset: int
    appended_at: float
    key: Hashable
    value: V | None


class Log(Generic[V]):
    """An append-only sequence. Offsets never change; compaction leaves gaps."""

    def __init__(self) -> None:
        self._entries: list[Entry[V]] = []
        self.end = 0
        """The offset of the next record: the high watermark."""

    def append(self, value: V | None, *, key: Hashable = None, now: float) -> Entry[V]:
        """Add a record; ``now`` is the broker's clock, epoch seconds."""
        entry = Entry(self.end, now, key, value)
        self._entries.append(entry)
        self.end += 1
        return entry

    def read(self, offset: int, limit: int) -> list[Entry[V]]:
        """Return at most so many records from an offset on."""
        begin = bisect_left(self._entries, offset, key=_offset)
        return self._entries[begin : begin + limit]

    def compact(self) -> None:
        """Keep the last record of each key, and drop tombstones and what they delete."""
        last = {entry.key: entry for entry in self._entries}
        self._entries = [entry for entry in self._entries if last[entry.key] is entry and entry.value is not None]
