"""Results as a reader of them is shown them while a trial runs: what progress, faults and the end of a trial go by."""

import asyncio
import time
from collections.abc import Collection
from typing import Self

from failsoft.kafka.results import ResultReader


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
        self._reading: asyncio.Task[None] | None = None
        self.moved_at = time.monotonic()
        """When the last one came; before that, when the trial began."""

    @property
    def count(self) -> int:
        """How many requests have a result."""
        return len(self._ended)

    @property
    def total(self) -> int:
        """How many will have one."""
        return len(self._expected)

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
                self._ended.add(record.key)
                self.moved_at = time.monotonic()
