"""Whether an endpoint's latency is what it was: *normal*, *widening*, *shift* or *spike*.

A tail that grows at a steady median is a loss of capacity, not only of comfort: p99 x 3 on a lognormal raises the mean by
29-63 % and the queue by 1.7-2.7 times. Retries and timeouts make it worse, so it must be told from a model that has become
slower as a whole and from a hiccup (research/algorithms.md §7.2, with the measurements behind every figure here).

**Detector.** A Bernoulli CUSUM of the question "is this call above the baseline's q95?"::

    S = clamp(S + (ln(p1 / p0) if above else ln((1 - p1) / (1 - p0))), 0, 7)                        alarm at 7

One comparison and one addition a call, whatever the distribution. S is held at 7, so that an alarm of an hour ends as soon
after its cause as one of a minute.

**Classifier**, at the alarm: *spike* if half of the last 20 calls are above q95; else *shift* if more than 64 % of the calls
since S left zero are above the baseline's median; else *widening*. Looked at again after each window of 100 calls of which
p1 are above q95: then it is a shift or a widening, by the calls of that window. A spike is so given one more window.

**Magnitude**, over the last 200 calls::

    width ratio = ln(q95 / q50) / ln(q95_0 / q50_0)          1 = as ever; a shift leaves it alone; p99 x 3 makes it 1.94
    mean ratio  = mean / mean_0                              what a call costs now

**End.** Two windows in a row in which S came back to zero and whose width ratio is below 1.2.

**Baseline.** It learns from what has left the last 200 calls while there was no alarm, so that the calls which raise one are
not in it. A shift that has lasted 10 minutes is how things are: the calls seen during it become the baseline. A widening is
never adopted; it is not a state to get used to.
"""

import math
from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from failsoft.policy.baseline import CALLS_MIN, HALF_LIFE_SECONDS, Baseline
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.histogram import LEAST_SECONDS, LogHistogram

RECENT_CALLS = 200
"""What the magnitudes are taken from: a q95 within a tenth."""
WINDOW_CALLS = 100
BURST_CALLS = 20
BURST_SHARE = 0.5
"""As many of the last 20 calls above q95 are one burst; at an alarm for p99 x 3 it is 28 % on average."""
SHIFT_SHARE = 0.64
"""More calls than this above the old median: the median has moved. It is 79 % if all take x 1.5, and 50 % in a widening, where
chance makes it more at an alarm: 62 % took 8 of 100 widenings for a shift, 64 % takes 4."""
CALM_WIDTH_RATIO = 1.2
CALM_WINDOWS = 2


class Spread(StrEnum):
    """How latency compares with its baseline."""

    NORMAL = "normal"
    WIDENING = "widening"
    """The tail grows, the median stays: fewer retries, no hedges."""
    SHIFT = "shift"
    """Everything takes longer: windows follow what is observed, nothing else changes."""
    SPIKE = "spike"
    """A burst of slow calls, so far nothing more."""


@dataclass(frozen=True, slots=True)
class WideningConfig:
    """What counts as a change.

    Attributes:
        exceed_normal: p0, the share above the old q95 that is still normal: 5 % and the error of a q95 from 1,000 calls.
        exceed_changed: p1, the share that is to be noticed soon.
        alarm_at: of S; 7 is less than one false alarm in 10,000 calls.
        adopt_seconds: how long a shift lasts before it is the baseline.
        baseline_calls_min: below this many calls nothing is compared.
        half_life_seconds: of the baseline.
    """

    exceed_normal: float = 0.065
    exceed_changed: float = 0.13
    alarm_at: float = 7.0
    adopt_seconds: float = 600.0
    baseline_calls_min: int = CALLS_MIN
    half_life_seconds: float = HALF_LIFE_SECONDS

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if not 0 < self.exceed_normal < self.exceed_changed < 1:
            raise ConfigurationError("widening: 0 < exceed_normal < exceed_changed < 1 does not hold")
        if self.alarm_at <= 0 or self.adopt_seconds <= 0:
            raise ConfigurationError("widening: alarm_at and adopt_seconds must be above zero")
        if self.baseline_calls_min < 1 or self.half_life_seconds <= 0:
            raise ConfigurationError("widening: baseline_calls_min and half_life_seconds must be above zero")


DEFAULTS = WideningConfig()


class Cusum:
    """The detector: how much more often than usual a thing has happened of late.

    Attributes:
        score: S.
        run: calls since the score left zero: those that speak for a change.
        was_zero: whether the score came back to zero since the flag was cleared.
    """

    __slots__ = ("_down", "_limit", "_up", "run", "score", "was_zero")

    def __init__(self, config: WideningConfig) -> None:
        normal, changed = config.exceed_normal, config.exceed_changed
        self._up = math.log(changed / normal)
        self._down = math.log((1 - changed) / (1 - normal))
        self._limit = config.alarm_at
        self.score = 0.0
        self.run = 0
        self.was_zero = False

    @property
    def is_alarm(self) -> bool:
        """Whether it has happened too often to be chance."""
        return self.score >= self._limit

    def add(self, *, happened: bool) -> None:
        """Count one call."""
        if not happened and not self.score:  # as nearly always
            self.run, self.was_zero = 0, True
            return
        self.score = min(max(self.score + (self._up if happened else self._down), 0.0), self._limit)
        self.run = self.run + 1 if self.score else 0
        self.was_zero = self.was_zero or not self.score

    def reset(self) -> None:
        """Begin again."""
        self.score, self.run, self.was_zero = 0.0, 0, True


class Widening:
    """Compares each call of one endpoint with those of before.

    Attributes:
        spread: how latency compares now.
        width_ratio: of the last 200 calls, taken every 100 and at an alarm; 1 = as ever.
        mean_ratio: as well.
    """

    __slots__ = (
        "_baseline", "_calls_in_window", "_calm_windows", "_config", "_cusum", "_recent", "_shifted_at", "_since",
        "mean_ratio", "spread", "width_ratio",
    )  # fmt: skip

    def __init__(self, config: WideningConfig | None = None) -> None:
        self._config = config or DEFAULTS
        self._baseline = Baseline(self._config.baseline_calls_min, self._config.half_life_seconds)
        self._cusum = Cusum(self._config)
        self._recent: deque[float] = deque(maxlen=RECENT_CALLS)
        self._calls_in_window = 0
        self._calm_windows = 0
        self._since = LogHistogram()  # the calls since the spread is what it is
        self._shifted_at = math.inf
        self.spread = Spread.NORMAL
        self.width_ratio = self.mean_ratio = 1.0

    @property
    def score(self) -> float:
        """S, from 0 to ``alarm_at``."""
        return self._cusum.score

    @property
    def baseline_q95(self) -> float:
        """One call in twenty used to take longer, seconds; 0 while that is not known."""
        return self._baseline.q95

    def answered(self, seconds: float, *, now: float, work: float = 1.0) -> None:
        """Take in a call that was answered.

        Args:
            seconds: how long it took.
            now: the instant.
            work: how much was expected of it, where 1 is a usual call. Latency is compared per unit of it; longer requests
                would look like a slower model otherwise.
        """
        self._take_in(seconds / work, now=now)

    def cut(self, window_seconds: float, *, now: float, work: float = 1.0) -> None:
        """Take in a call that was cut at its window. One that was cut below the old q95 says nothing either way."""
        if window_seconds / work > self._baseline.q95:
            self._take_in(window_seconds / work, now=now)

    def _take_in(self, seconds: float, *, now: float) -> None:
        seconds = max(seconds, LEAST_SECONDS)
        if self.spread is not Spread.NORMAL:
            self._since.add(seconds)
        elif len(self._recent) == RECENT_CALLS:
            self._baseline.learn(self._recent[0], now=now)
        self._recent.append(seconds)
        if not self._baseline.is_known:
            return
        self._cusum.add(happened=seconds > self._baseline.q95)
        self._calls_in_window += 1
        if self.spread is Spread.NORMAL and self._cusum.is_alarm:
            self._begin_window()
            is_burst = self._share_above(self._baseline.q95, BURST_CALLS) >= BURST_SHARE
            self._become(Spread.SPIKE if is_burst else self._kind(self._cusum.run), now=now)
        elif self._calls_in_window == WINDOW_CALLS:
            self._end_window(now)

    def _end_window(self, now: float) -> None:
        """Look again at an alarm that is on: it may be over, something else, or how things are."""
        was_zero = self._cusum.was_zero
        self._begin_window()
        if self.spread is Spread.NORMAL:
            return
        is_calm = was_zero and self.width_ratio < CALM_WIDTH_RATIO
        self._calm_windows = self._calm_windows + 1 if is_calm else 0
        if self._calm_windows == CALM_WINDOWS:
            self._become(Spread.NORMAL, now=now)
        elif self._share_above(self._baseline.q95, WINDOW_CALLS) >= self._config.exceed_changed:
            self._become(self._kind(WINDOW_CALLS), now=now)
        if now - self._shifted_at >= self._config.adopt_seconds and self._baseline.adopt(self._since):
            self._become(Spread.NORMAL, now=now)

    def _begin_window(self) -> None:
        self._calls_in_window = 0
        self._cusum.was_zero = False
        ordered = sorted(self._recent)
        q50, q95 = (ordered[int(rank * len(ordered))] for rank in (0.5, 0.95))
        self.width_ratio = math.log(q95 / q50) / self._baseline.width
        self.mean_ratio = sum(ordered) / len(ordered) / self._baseline.mean

    def _become(self, spread: Spread, *, now: float) -> None:
        if spread is self.spread:
            return
        self.spread = spread
        self._since = LogHistogram()
        self._shifted_at = now if spread is Spread.SHIFT else math.inf
        self._calm_windows = 0
        if spread is Spread.NORMAL:
            self._cusum.reset()

    def _kind(self, calls: int) -> Spread:
        return Spread.SHIFT if self._share_above(self._baseline.q50, calls) > SHIFT_SHARE else Spread.WIDENING

    def _share_above(self, mark: float, calls: int) -> float:
        """The share of the last calls that took longer than the mark."""
        last = list(self._recent)[-calls:]
        return sum(seconds > mark for seconds in last) / len(last)
