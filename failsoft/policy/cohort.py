"""The calls by which one limit is judged: the first n that *start* under it.

The first n that *end* would be the short ones: aimed at 12 s one gets 16 s that way (research/algorithms.md §4.3). A call is
*over* when it takes longer than the target, and counts as soon as it does, not when it ends.
"""

import math

SECONDS_MIN = 0.001
"""Shorter calls count as this long: their logarithm would drown all others."""


class Cohort:
    """The calls by which one limit is judged.

    Args:
        size: how many.
        limit: under which they start.

    Attributes:
        ended: how many have.
        over: how many took too long, or take too long already.
        is_busy: whether the endpoint was well used while they started.
    """

    __slots__ = ("_late", "_log_seconds", "_running", "ended", "is_busy", "limit", "over", "size")

    def __init__(self, size: int, limit: float) -> None:
        self.size = size
        self.limit = limit
        self.is_busy = False
        self._running: dict[int, float] = {}  # not over so far: when each started, in that order
        self._late: dict[int, float] = {}  # running still, and over
        self._log_seconds = 0.0
        self.ended = 0
        self.over = 0

    @property
    def has_room(self) -> bool:
        """Whether a call that starts now belongs to it."""
        return self.ended + len(self._running) + len(self._late) < self.size

    @property
    def is_settled(self) -> bool:
        """Whether all that started have ended."""
        return not self._running and not self._late

    @property
    def log_mean(self) -> float:
        """Mean of the logarithms of the seconds that they took."""
        return self._log_seconds / self.ended if self.ended else 0.0

    @property
    def oldest_started_at(self) -> float | None:
        """When the first of those not over so far started."""
        return next(iter(self._running.values()), None)

    def start(self, call_id: int, *, now: float) -> None:
        """A call starts that belongs to it."""
        self._running[call_id] = now

    def look(self, target_seconds: float, *, now: float) -> None:
        """Count those that have been running for too long already."""
        while self._running:
            call_id, started_at = next(iter(self._running.items()))
            if now - started_at <= target_seconds:
                return
            self._late[call_id] = self._running.pop(call_id)
            self.over += 1

    def end(self, call_id: int, *, now: float) -> None:
        """One of them, if it is one, is over. Those too long have been counted."""
        started_at = self._running.pop(call_id, None)
        started_at = self._late.pop(call_id, None) if started_at is None else started_at
        if started_at is not None:
            self.ended += 1
            self._log_seconds += math.log(max(now - started_at, SECONDS_MIN))

    def forget(self, call_id: int) -> None:
        """One of them says nothing, unless it was too long: another takes its place."""
        self._running.pop(call_id, None)
