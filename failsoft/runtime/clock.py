"""The only reader of time. Everything below is handed an instant, everything beside it is handed this clock."""

import asyncio
import os
import time
from collections.abc import Mapping

from failsoft.policy.errors import ConfigurationError

SKEW_VARIABLE = "FAILSOFT_TRIAL_CLOCK_SKEW_SECONDS"
"""By how much a worker under trial misreads the wall clock, as on a host that follows no time server. Nobody else sets it."""


class Clock:
    """The event loop's monotonic clock, and the wall clock for what goes on the wire.

    Under a loop with virtual time both are virtual: the wall clock is read once and then advances with the loop, so that
    it never steps back either.

    Args:
        environment: what may say that the wall clock is wrong.
    """

    def __init__(self, *, environment: Mapping[str, str] = os.environ) -> None:
        self._wall_minus_monotonic = time.time() + _skew(environment) - self.monotonic()

    def monotonic(self) -> float:
        """Seconds on the loop's clock: what every deadline inside is measured on."""
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        """Epoch seconds."""
        return self.monotonic() + self._wall_minus_monotonic


def _skew(environment: Mapping[str, str]) -> float:
    written = environment.get(SKEW_VARIABLE) or "0"
    try:
        return float(written)
    except ValueError:
        raise ConfigurationError(f"{SKEW_VARIABLE}: {written!r} is not a number of seconds") from None
