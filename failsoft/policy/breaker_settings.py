"""The knobs of a circuit breaker, by Resilience4j's names; rates are parts, 0-1, and times are seconds.

Where the defaults come from (research/algorithms.md §5.1): half of the calls failing is past what retries mend, and in ten
calls the least that tells an outage from bad luck (with 10 % failures, half of ten fail once in 600). A single worker of many
sees ten calls too seldom, so 20 pooled ones count as well. Five in a row unreachable is Finagle's and Envoy's figure.
Resilience4j waits 60 s and asks for 100 calls, which is meant for calls of milliseconds at hundreds a second; 5 s doubled up
to 120 s lies between its wait and Finagle's (5 to 300 s). Resilience4j lets ten probes decide by rate; three at a time and five
good in a row cost a sick model less. The ramp is 10 s: with 30 s an outage of half a minute at .7 of the capacity cost another
14 s until .9 of the requests were level 1 again, with 10 s it costs 5 (means of 6 seeds, virtual time).
"""

from dataclasses import dataclass

from failsoft.policy.call_counts import Counts
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.register import Cause

NOTHING: frozenset[Cause] = frozenset()
REST_CALLS_MIN = 5
"""Calls of the other workers without which one worker's trouble is not the fleet's: one bad call of another, by chance, is no
confirmation (with 2 % failures, three of five fail once in 13,000)."""


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """The knobs of one breaker.

    Attributes:
        max_wait_duration_in_half_open_seconds: after which a probe that has not reported is given up, or twice what is slow for
            it if that is longer. Resilience4j's default waits for ever.
        ramp_from: part of the permits right after closing.
        enforce: False starts it dark.
    """

    failure_rate_threshold: float = 0.5
    slow_call_rate_threshold: float = 0.6
    minimum_number_of_calls: int = 10
    minimum_number_of_pooled_calls: int = 20
    consecutive_unreachable_calls: int = 5
    wait_duration_in_open_seconds: float = 5.0
    wait_duration_in_open_max_seconds: float = 120.0
    permitted_number_of_calls_in_half_open: int = 3
    good_calls_to_close: int = 5
    max_wait_duration_in_half_open_seconds: float = 60.0
    ramp_seconds: float = 10.0
    ramp_from: float = 0.1
    enforce: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for name in ("failure_rate_threshold", "slow_call_rate_threshold", "ramp_from"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigurationError(f"breaker: {name} {getattr(self, name)} is not above 0 and at most 1")
        for name in (
            "minimum_number_of_calls",
            "minimum_number_of_pooled_calls",
            "consecutive_unreachable_calls",
            "permitted_number_of_calls_in_half_open",
            "good_calls_to_close",
        ):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"breaker: {name} {getattr(self, name)} must be 1 or more")
        if not 0 < self.wait_duration_in_open_seconds <= self.wait_duration_in_open_max_seconds:
            raise ConfigurationError("breaker: 0 < wait_duration_in_open <= wait_duration_in_open_max does not hold")
        if self.ramp_seconds <= 0 or self.max_wait_duration_in_half_open_seconds <= 0:
            raise ConfigurationError("breaker: ramp and max_wait_duration_in_half_open must be above zero seconds")

    def causes(self, counts: Counts) -> frozenset[Cause]:
        """What is wrong with the calls of one worker; nothing while they are too few."""
        return self._over(counts, self.minimum_number_of_calls)

    def causes_of_pool(self, total: Counts, rest: Counts) -> frozenset[Cause]:
        """What is wrong with the calls of all workers, and still is without the one that has most trouble."""
        causes = self._over(total, self.minimum_number_of_pooled_calls)
        return causes & self._over(rest, REST_CALLS_MIN) if causes else NOTHING

    def wait_seconds(self, reopenings: int) -> float:
        """The longest that an opening lasts after so many before it; jitter takes off up to half."""
        doubled = self.wait_duration_in_open_seconds * 2.0 ** min(reopenings, 64)
        return min(doubled, self.wait_duration_in_open_max_seconds)

    def _over(self, counts: Counts, calls_min: int) -> frozenset[Cause]:
        if counts.calls < calls_min or not counts.has_trouble:
            return NOTHING
        is_over = (
            (Cause.FAILURE_RATE, counts.failure_rate >= self.failure_rate_threshold),
            (Cause.SLOW_CALL_RATE, counts.slow_call_rate >= self.slow_call_rate_threshold),
        )
        return frozenset([cause for cause, holds in is_over if holds])


DEFAULTS = BreakerSettings()
