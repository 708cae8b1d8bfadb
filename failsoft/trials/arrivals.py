"""Results as a reader of them is shown them while a trial runs: what progress, faults and the end of a trial go by."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

from failsoft.kafka.results import ResultReader, ResultRecord
from failsoft.policy.errors import MalformedRecord
from failsoft.wire.result import decode_result

RECENT_SECONDS = 5.0
"""What "now" means in a live view: long enough for shares of 20 results a second, short enough to see a fault begin."""


@dataclass(frozen=True, slots=True)
class Recent:
    """What came in the last seconds.

    Attributes:
        per_second: results.
        levels: of those that are answers, by level.
        in_time: answers that left the worker before their deadline.
        count: results.
    """

    per_second: float
    levels: Counter[int]
    in_time: int
    count: int


class Arrivals:
    """Takes note of the results of a trial, as a context manager.

    Args:
        reader: not started yet; its topic is read from where it ends now.
        expected: result ids of the trial; others are somebody else's.
    """

    def __init__(self, reader: ResultReader, expected: Collection[str]) -> None:
        self._reader = reader
        self._expected = {id_.encode() for id_ in expected}
        self._ended: set[bytes] = set()
        self._recent: deque[tuple[float, int | None, bool]] = deque()
        self._reading: asyncio.Task[None] | None = None
        self.moved_at = time.monotonic()
        """When the last one came; before that, when the trial began."""

    @property
    def count(self) -> int:
        """How many requests have a result."""
        return len(self._ended)

    def recent(self) -> Recent:
        """What came in the last seconds."""
        since = time.monotonic() - RECENT_SECONDS
        while self._recent and self._recent[0][0] < since:
            self._recent.popleft()
        levels = Counter(level for _, level, _ in self._recent if level is not None)
        in_time = sum(is_in_time for _, _, is_in_time in self._recent)
        return Recent(len(self._recent) / RECENT_SECONDS, levels, in_time, len(self._recent))

    def require_reading(self) -> None:
        """Do nothing while it reads; raise what ended it."""
        if self._reading is not None and self._reading.done():
            self._reading.result()

    async def __aenter__(self) -> Self:
        await self._reader.start()
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        await self._reader.stop()

    async def _read(self) -> None:
        async for record in self._reader.records():
            if record.key in self._expected:
                self._note(record)

    def _note(self, record: ResultRecord) -> None:
        try:
            result = decode_result(record.headers, record.value)
        except MalformedRecord:
            return  # a phantom; the ledger says so in the end
        self._ended.add(record.key or b"")
        self.moved_at = time.monotonic()
        self._recent.append((self.moved_at, result.level, result.is_ok and result.slack_seconds >= 0))
