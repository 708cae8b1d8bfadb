"""The right to one call of an endpoint, and what the end of the call says about the endpoint.

    slow    took longer than max(3 x baseline q95, class window, 50 ms), or was cut at its window
    failed  failed, or could not be made, or was cut at a window >= baseline q95

Three times the *baseline* q95: the ordinary tail of a model stays far below, a brown-out does not, and a threshold that moved
with recent latency would excuse it. Below 50 ms it may be this worker's own event loop that was late: while a backlog was taken
over, the breaker of a function that answers at once (``expect`` 1 ms) opened, and for 90 s nothing was served.

A call cut sooner than most calls take says nothing but that its request was in a hurry. Not the endpoint's fault: what is wrong
with the request (4xx), what we cancelled, and that it is busy (429; that shrinks its limit). Source: research/algorithms.md §5.1.
"""

from enum import Enum
from typing import NamedTuple

from failsoft.policy.call_counts import Counts

SLOW_FACTOR = 3.0
SLOW_LEAST_SECONDS = 0.05
"""Of a call's time, what may be the worker's own: as much as it keeps back for publishing."""

_GOOD = Counts(1)


class CallResult(Enum):
    """How a call went, as far as its endpoint is to blame."""

    GOOD = "good"
    FAILED = "failed"
    """5xx, reset, garbage."""
    UNREACHABLE = "unreachable"
    """No connection."""
    CUT = "cut"
    """Its window ended."""
    IGNORED = "ignored"
    """The request's fault, backpressure, or cancelled by us."""


class Permission(NamedTuple):
    """The right to one call. Handed back exactly once, whatever happened.

    Attributes:
        number: unlike any other's of the same breaker.
        generation: of the breaker when it was given; in another one the end of the call says nothing.
        taken_at: when it was given, monotonic seconds.
        q95_seconds: the endpoint's latency in good times.
        slow_after_seconds: what is slow for this call.
    """

    number: int
    generation: int
    taken_at: float
    q95_seconds: float
    slow_after_seconds: float

    def counts_as(self, result: CallResult, *, now: float) -> Counts:
        """What the call adds to the counts when it ends so."""
        seconds = now - self.taken_at
        is_cut = result is CallResult.CUT
        is_failed = result in (CallResult.FAILED, CallResult.UNREACHABLE) or (is_cut and seconds >= self.q95_seconds)
        is_slow = is_cut or seconds > self.slow_after_seconds
        return Counts(1, failed=int(is_failed), slow=int(is_slow)) if is_failed or is_slow else _GOOD


def slow_after_seconds(q95_seconds: float, class_window_seconds: float) -> float:
    """What is slow: far beyond the endpoint's good times and what its class may ordinarily take, and not our own doing."""
    return max(SLOW_FACTOR * q95_seconds, class_window_seconds, SLOW_LEAST_SECONDS)
