"""How long to wait before another execution.

    delay = U(low, high),   high = min(3 x previous, 2 s, remaining / 4),   low = min(100 ms, high)

Decorrelated jitter: each wait is drawn between the base and three times the last, so those who failed together do not return
together, and the mean grows about twofold. 100 ms is what a connection or a restarted process needs at least; more than 2 s
is for the breaker, not for a request; a quarter of what remains leaves room for the call itself (llm-d-async: a wait stays
below the deadline). The caller's source of randomness is used, so a run can be repeated.

An endpoint that says when to come back (Retry-After) is believed if that leaves half of what remains; if not, the next tier
is asked at once. Coming back earlier than told would be one more refused call.

Source: Finagle's ``Backoff.decorrelatedJittered``; research/algorithms.md §6.1, §6.3.
"""

from failsoft.policy.jitter import Jitter

BASE_SECONDS = 0.1
CAP_SECONDS = 2.0
REMAINING_SHARE = 0.25
RETRY_AFTER_SHARE = 0.5
GROWTH = 3.0


def delay_seconds(previous_seconds: float | None, *, remaining_seconds: float, random: Jitter) -> float:
    """The wait before the next execution.

    Args:
        previous_seconds: the wait before the last one; None where there was none.
        remaining_seconds: until the deadline.
        random: draws the jitter.
    """
    grown = GROWTH * max(previous_seconds or 0.0, BASE_SECONDS)
    high = max(0.0, min(grown, CAP_SECONDS, REMAINING_SHARE * remaining_seconds))
    return random.uniform(min(BASE_SECONDS, high), high)


def retry_after_seconds(asked_seconds: float, *, remaining_seconds: float) -> float | None:
    """How long to wait for an endpoint that asked for it; None: too long, use the next tier."""
    fits = 0 <= asked_seconds <= RETRY_AFTER_SHARE * remaining_seconds
    return asked_seconds if fits else None
