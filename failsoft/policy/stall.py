"""An endpoint that has stopped answering: what one worker does about it alone, within one window.

**Stall.** A call was cut at its window, and since it started no other call was answered. Then the worker *probes*: one call at a
time instead of all its permits, the first at once, each further one after a pause of 0.5 to 1.5 windows. Every answer doubles
what is allowed, until it is all again. A hang so costs a worker one window of its permits and then one call per pause, not
all permits for ever; the answers are saved by the next tier either way, so the rule protects the endpoint, not the request
(research/policy-lab.md §6: 38 calls into a hang of 20 s instead of 365, at equal value; first answer 0.9 s after its end).

While few calls are allowed, a class that could not outlast a probe does not wait for one.

The pause is spread without dice: successive probes take the fractional parts of multiples of the golden ratio, which fill
0.5 to 1.5 evenly. Workers cannot know of each other here; the shared breaker limits probes for the fleet.
"""

import math

PAUSE_WINDOWS = 0.5
"""Least pause between probes, in windows; one window more at most. Without it 16 workers of one permit feed a hang twice."""
FEW = 0.25
"""Part of the permits up to which a probing endpoint counts as stalled for those who wait."""

_GOLDEN = (math.sqrt(5) - 1) / 2


class Stall:
    """Whether one endpoint answers this worker, and how many calls it may have."""

    __slots__ = ("_allowed", "_answered_at", "_probes", "_probing_since", "retry_at")

    def __init__(self) -> None:
        self._allowed = math.inf
        self._answered_at = -math.inf
        self._probing_since: float | None = None
        self._probes = 0
        self.retry_at = -math.inf
        """Before this instant no call is started."""

    def allows_from(self, in_flight: int) -> float:
        """When another call may start, as far as this is concerned; infinity: not before one in flight is answered."""
        return self.retry_at if in_flight < self._allowed else math.inf

    def is_stalled(self, permits: int) -> bool:
        """Whether so few calls are allowed that nobody who is in a hurry should wait for one."""
        return self._probing_since is not None and self._allowed <= max(1.0, FEW * permits)

    def answered(self, permits: int, *, now: float) -> None:
        """A call was answered."""
        self._answered_at = now
        if self._probing_since is None:
            return
        self._allowed *= 2
        self.retry_at = -math.inf
        if self._allowed >= permits:
            self._allowed, self._probing_since = math.inf, None

    def cut(self, started_at: float, *, window_seconds: float, now: float) -> None:
        """A call was cut at its window."""
        if self._answered_at >= started_at:
            return
        self._allowed = 1
        if self._probing_since is None:
            self._probing_since, self.retry_at = now, now
        elif started_at >= self._probing_since:
            self._probes += 1
            spread = self._probes * _GOLDEN % 1
            self.retry_at = now + (PAUSE_WINDOWS + spread) * window_seconds
