"""How much a sender has under way, which is sent and not acknowledged, so that a long file is never in memory at once."""

import asyncio

IN_FLIGHT_RECORDS = 1_000
"""Sent and not acknowledged. An acknowledgement takes 25-33 ms at p99 on one busy broker, so more would only be memory."""
IN_FLIGHT_BYTES = 32 * 1024 * 1024
"""The same in bytes, for files whose lines are documents."""


class Window:
    """What is under way, for one who sends in order: so many records and bytes at most, and always at least one record."""

    def __init__(self) -> None:
        self._records = 0
        self._bytes = 0
        self._freed = asyncio.Event()

    async def enter(self, size_bytes: int) -> None:
        """Wait for room and take it."""
        while self._records and (self._records >= IN_FLIGHT_RECORDS or self._bytes + size_bytes > IN_FLIGHT_BYTES):
            self._freed.clear()
            await self._freed.wait()
        self._records += 1
        self._bytes += size_bytes

    def leave(self, size_bytes: int) -> None:
        """Give the room back."""
        self._records -= 1
        self._bytes -= size_bytes
        self._freed.set()
