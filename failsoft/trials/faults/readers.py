"""Who reads: results as readers are shown them, written down in order, each life of a reader in a file of its own."""

import asyncio
import time
from pathlib import Path
from typing import Self

from failsoft.kafka import Connection
from failsoft.kafka.results import ResultReader, Start
from failsoft.policy.errors import FailsoftError
from failsoft.trials.history import ReaderHistory


class Reader:
    """One life of a reader, as a context manager.

    Args:
        connection: where the cluster is.
        topic: of the results.
        folder: of the history.
        number: unlike any other life's.
        start: where it begins.
        until_end: it reads to where the log ends now.
    """

    def __init__(
        self,
        connection: Connection,
        topic: str,
        *,
        folder: Path,
        number: int,
        start: Start = "beginning",
        until_end: bool = False,
    ) -> None:
        self._reader = ResultReader(connection, topic, start=start, until_end=until_end)
        self._folder, self._number = folder, number
        self._is_from_beginning, self._until_end = start == "beginning", until_end
        self._reading: asyncio.Task[None] | None = None
        self.shown: set[str] = set()
        """Ids of the results that it was shown."""
        self.moved_at = time.monotonic()
        """When the last one came."""

    async def __aenter__(self) -> Self:
        await self._reader.start()
        self._history = ReaderHistory(self._folder, self._number, is_from_beginning=self._is_from_beginning)
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        await self._reader.stop()
        self._history.close()

    async def finished(self) -> None:
        """Wait until it has read to the end that the log had; raises what ended it before."""
        if self._reading is not None:
            await self._reading

    def require_reading(self) -> None:
        """Do nothing while it reads; raise what ended it."""
        if self._reading is not None and self._reading.done() and not self._until_end:
            self._reading.result()
            raise FailsoftError(f"reader {self._number} has ended")

    async def _read(self) -> None:
        async for record in self._reader.records():
            self._history.shown(record)
            self.shown.add("" if record.key is None else record.key.decode(errors="replace"))
            self.moved_at = time.monotonic()
        self._history.ended()
