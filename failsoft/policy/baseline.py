"""What latency used to be: the past that fades, and the marks that new calls are compared with.

Old calls count half after 30 minutes, so that the baseline follows the day and forgets a deployment, but it never fades
below 1,000 calls, without which there are no marks: a q95 from fewer is too uncertain, and a quiet endpoint keeps its own
past instead of having none (research/algorithms.md §7.1).

Who may be learnt from is not decided here: see :mod:`failsoft.policy.widening`.
"""

import math

from failsoft.policy.histogram import ACCURACY, LogHistogram

HALF_LIFE_SECONDS = 1_800.0
CALLS_MIN = 1_000
FADE_SECONDS = 10.0
"""How often it fades, and its marks move: a walk over a few hundred counts."""


class Baseline:
    """The past of one endpoint.

    Args:
        calls_min: below this many there are no marks.
        half_life_seconds: after which a call counts half.

    Attributes:
        mean: of a call; 0 before there are marks, as are the others.
        q50: half of the calls are not above it.
        q95: one in twenty is above it, at most.
        width: ln(q95 / q50).
    """

    __slots__ = ("_calls", "_calls_min", "_fade_at", "_half_life_seconds", "mean", "q50", "q95", "width")

    def __init__(self, calls_min: int = CALLS_MIN, half_life_seconds: float = HALF_LIFE_SECONDS) -> None:
        self._calls_min = calls_min
        self._half_life_seconds = half_life_seconds
        self._fade_at = math.inf
        self._calls = LogHistogram()
        self.mean = self.q50 = self.q95 = self.width = 0.0

    @property
    def is_known(self) -> bool:
        """Whether there are calls enough to compare with."""
        return self.q95 > 0

    def learn(self, seconds: float, *, now: float) -> None:
        """Count one call."""
        if math.isinf(self._fade_at):
            self._fade_at = now + FADE_SECONDS
        self._calls.add(seconds)
        if now >= self._fade_at:
            self._fade(now - self._fade_at + FADE_SECONDS)
            self._fade_at = now + FADE_SECONDS
            self._mark()
        elif not self.is_known and self._calls.count >= self._calls_min:
            self._mark()

    def adopt(self, calls: LogHistogram) -> bool:
        """Forget the past and take these calls for it, if they are enough."""
        if calls.count < self._calls_min:
            return False
        self._calls = calls
        self._mark()
        return True

    def _fade(self, seconds: float) -> None:
        least = self._calls_min / self._calls.count
        if least < 1:
            self._calls.scale(max(0.5 ** (seconds / self._half_life_seconds), least))

    def _mark(self) -> None:
        """Take the marks: upper edges of buckets, so that no more than its share lies above one, however narrow all is."""
        if self._calls.count < self._calls_min * (1 - ACCURACY):  # fading leaves rounding errors
            return
        q50, q95 = self._calls.quantiles((0.5, 0.95))
        self.mean = self._calls.mean()
        self.q50, self.q95 = q50 / (1 - ACCURACY), q95 / (1 - ACCURACY)
        self.width = max(math.log(q95 / q50), 2 * ACCURACY)
