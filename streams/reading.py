"""Tells a pause from a standstill: whether there is something to read, and nothing of it is read.

Faust has been seen to hang without an error (research/reliability.md F7), and its own watchdog compares two clocks (F9).
"""

from collections.abc import Mapping


class Reading:
    """How far some partitions are read.

    Args:
        now: monotonic seconds, from which on it is watched.
    """

    def __init__(self, *, now: float) -> None:
        self.lag = 0
        """Records that are still to be read."""
        self._moved_at = now
        self._positions: dict[int, int] = {}

    def seen(self, positions: Mapping[int, int], ends: Mapping[int, int], *, now: float) -> float:
        """For how long nothing was read though there was something, by what is read next and where the logs end."""
        self.lag = sum(max(0, ends[number] - position) for number, position in positions.items())
        if not self.lag or positions != self._positions:
            self._moved_at = now
        self._positions = dict(positions)
        return now - self._moved_at
