"""The only reader of time. Everything below is handed an instant, everything beside it is handed this clock."""

import asyncio
import time


class Clock:
    """The event loop's monotonic clock, and the wall clock for what goes on the wire.

    Under a loop with virtual time both are virtual: the wall clock is read once and then advances with the loop, so that
    it never steps back either.
    """

    def __init__(self) -> None:
        self._wall_minus_monotonic = time.time() - self.monotonic()

    def monotonic(self) -> float:
        """Seconds on the loop's clock: what every deadline inside is measured on."""
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        """Epoch seconds."""
        return self.monotonic() + self._wall_minus_monotonic
