"""How calls went in the last 30 s: the one shape in which a breaker counts, and in which workers add up what they count.

Ten buckets of 3 s, and the sum of those that are full (after Resilience4j's time window): adding a call and asking for the
sum are O(1), memory is ten buckets whatever the rate. Half a minute is long enough for ten calls of a quiet worker and short
enough that the past does not outvote an outage for long. It is a constant, not a setting: the counts of different workers are
added up, so all must mean the same by it.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

BUCKETS = 10
BUCKET_SECONDS = 3.0
WINDOW_SECONDS = BUCKETS * BUCKET_SECONDS


@dataclass(frozen=True, slots=True)
class Counts:
    """Calls that ended. One may be failed and slow at once; what is neither was good."""

    calls: int = 0
    failed: int = 0
    slow: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.calls + other.calls, self.failed + other.failed, self.slow + other.slow)

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(self.calls - other.calls, self.failed - other.failed, self.slow - other.slow)

    @property
    def failure_rate(self) -> float:
        """Part that failed, 0-1."""
        return self.failed / self.calls if self.calls else 0.0

    @property
    def slow_call_rate(self) -> float:
        """Part that was slow, 0-1."""
        return self.slow / self.calls if self.calls else 0.0

    @property
    def has_trouble(self) -> bool:
        """Whether any call was not good."""
        return self.failed > 0 or self.slow > 0


NO_CALLS = Counts()


def add_up(counts: Iterable[Counts]) -> Counts:
    """All of them together."""
    calls = failed = slow = 0
    for each in counts:
        calls += each.calls
        failed += each.failed
        slow += each.slow
    return Counts(calls, failed, slow)


class CallWindow:
    """The calls of the last 30 s, by bucket. Only the newest bucket moves, so it is kept as bare numbers."""

    __slots__ = ("_buckets", "_calls", "_ends_at", "_failed", "_past", "_past_sum", "_slow", "_sum")

    def __init__(self) -> None:
        self._ends_at = -math.inf
        self._sum: Counts | None = None  # until it is asked for, as the next
        self._buckets: tuple[Counts, ...] | None = None
        self.clear()

    def add(self, call: Counts, *, now: float) -> None:
        """Count what ended now."""
        self._advance(now)
        self._calls += call.calls
        self._failed += call.failed
        self._slow += call.slow
        self._sum = self._buckets = None

    def has_trouble(self, *, now: float) -> bool:
        """Whether any call of the window was not good."""
        self._advance(now)
        return self._failed > 0 or self._slow > 0 or self._past_sum.has_trouble

    def counts(self, *, now: float) -> Counts:
        """All calls of the window."""
        self._advance(now)
        if self._sum is None:
            self._sum = self._newest() + self._past_sum
        return self._sum

    def buckets(self, *, now: float) -> tuple[Counts, ...]:
        """The same by bucket, newest first; buckets at the end that hold nothing are left out."""
        self._advance(now)
        if self._buckets is None:
            buckets = (self._newest(), *self._past)
            filled = max((place for place, bucket in enumerate(buckets, 1) if bucket.calls), default=0)
            self._buckets = buckets[:filled]
        return self._buckets

    def clear(self) -> None:
        """Forget all of it."""
        self._past = deque([NO_CALLS] * (BUCKETS - 1), maxlen=BUCKETS - 1)
        self._past_sum = NO_CALLS
        self._calls = self._failed = self._slow = 0
        self._sum = self._buckets = None

    def _newest(self) -> Counts:
        return Counts(self._calls, self._failed, self._slow)

    def _advance(self, now: float) -> None:
        """Begin as many buckets as have passed; the oldest ones drop out."""
        if now < self._ends_at:
            return
        begun_at = now // BUCKET_SECONDS * BUCKET_SECONDS
        passed = min((begun_at - self._ends_at) / BUCKET_SECONDS + 1, BUCKETS)
        self._past.extendleft([self._newest(), *[NO_CALLS] * (round(passed) - 1)])
        self._past_sum = add_up(self._past)
        self._calls = self._failed = self._slow = 0
        self._sum = self._buckets = None
        self._ends_at = begun_at + BUCKET_SECONDS


def still_counting(buckets: tuple[Counts, ...], *, age_seconds: float) -> Counts:
    """What is left of buckets that somebody else filled, when they were written so long ago."""
    return add_up(buckets[: max(0, BUCKETS - int(age_seconds // BUCKET_SECONDS))])
