"""Durations as people write them: ``200ms``, ``2s``, ``15m``, ``24h``, ``7d``.

A bare number is seconds, because every duration inside is a float of seconds; text must carry its unit, because
``"500"`` could mean either. One number and one unit: ``1h30m`` is written ``90m``. Anything with ``total_seconds()`` is
taken as it is; that is a ``timedelta``, which the decisions may not import.
"""

import math
import re
from typing import Protocol, runtime_checkable

from failsoft.policy.errors import ConfigurationError

UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
"""No week, month or year: nothing here lasts that long, and months differ."""

_WRITTEN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)", re.ASCII)


@runtime_checkable
class HasTotalSeconds(Protocol):
    """What makes a ``timedelta`` a duration."""

    def total_seconds(self) -> float:
        """The whole length, seconds."""
        ...


Duration = str | float | HasTotalSeconds
"""What an author may write wherever a duration is asked for."""


def parse_duration(value: Duration, *, field: str = "duration") -> float:
    """Read a duration, in seconds.

    Args:
        value: text with a unit, a number of seconds, or a ``timedelta``.
        field: what the author calls it, for the error; empty where the caller names it.

    Raises:
        ConfigurationError: it is not a duration, is negative, or never ends.
    """
    prefix = f"{field}: " if field else ""
    seconds = _seconds(value)
    if seconds is None or not math.isfinite(seconds):
        raise ConfigurationError(
            f'{prefix}{value!r} is not a duration; write a number and a unit, such as "200ms" or "24h"'
        )
    if seconds < 0:
        raise ConfigurationError(f"{prefix}{value!r} is negative; a duration is zero or more")
    return seconds


def write_duration(seconds: float) -> str:
    """Write a duration as people do, in the largest unit of which it is a whole number; to the nanosecond at most."""
    whole = (unit for unit, size in reversed(UNIT_SECONDS.items()) if seconds >= size and seconds % size == 0)
    unit = next(whole, "ms" if 0 < seconds < 1 else "s")
    return f"{seconds / UNIT_SECONDS[unit]:.9f}".rstrip("0").rstrip(".") + unit


def _seconds(value: object) -> float | None:
    """The length in seconds, None if this is no duration at all."""
    match value:
        case bool():  # an int to Python, and what YAML makes of "on" and "yes"
            return None
        case int() | float():
            return float(value)
        case str() if written := _WRITTEN.fullmatch(value.strip()):
            return float(written[1]) * UNIT_SECONDS[written[2]]
        case HasTotalSeconds():
            return value.total_seconds()
        case _:
            return None
