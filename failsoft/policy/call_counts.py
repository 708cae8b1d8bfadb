"""How calls went in the last 30 s: the one shape in which a breaker counts, and in which workers add up what they count.

Ten buckets of 3 s with subtract-on-evict (Resilience4j's time window): adding a call and asking for the sum are O(1), memory
is ten buckets whatever the rate. Half a minute is long enough for ten calls of a quiet worker and short enough that the past
does not outvote an outage for long. It is a constant, not a setting: the counts of different workers are added up, so all
must mean the same by it.
"""

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
    """The calls of the last 30 s, by bucket."""

    __slots__ = ("_buckets", "_newest", "_sum")

    def __init__(self) -> None:
        self._buckets = deque([NO_CALLS] * BUCKETS, maxlen=BUCKETS)
        self._newest = 0
        self._sum = NO_CALLS

    def add(self, call: Counts, *, now: float) -> None:
        """Count what ended now."""
        self._advance(now)
        self._buckets[0] += call
        self._sum += call

    def counts(self, *, now: float) -> Counts:
        """All calls of the window."""
        self._advance(now)
        return self._sum

    def buckets(self, *, now: float) -> tuple[Counts, ...]:
        """The same by bucket, newest first; buckets at the end that hold nothing are left out."""
        self._advance(now)
        if not self._sum.calls:
            return ()
        filled = max(place for place, bucket in enumerate(self._buckets, 1) if bucket.calls)
        return tuple(self._buckets)[:filled]

    def clear(self) -> None:
        """Forget all of it."""
        self._buckets.extendleft([NO_CALLS] * BUCKETS)
        self._sum = NO_CALLS

    def _advance(self, now: float) -> None:
        newest = int(now // BUCKET_SECONDS)
        for _ in range(min(newest - self._newest, BUCKETS)):
            self._sum -= self._buckets[-1]
            self._buckets.appendleft(NO_CALLS)
        self._newest = max(newest, self._newest)


def still_counting(buckets: tuple[Counts, ...], *, age_seconds: float) -> Counts:
    """What is left of buckets that somebody else filled, when they were written so long ago."""
    return add_up(buckets[: max(0, BUCKETS - int(age_seconds // BUCKET_SECONDS))])
