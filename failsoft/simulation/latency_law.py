"""How long a model takes: the laws that service times are drawn from.

*Lognormal*: ``median exp(sigma z)`` with z standard normal. Model calls lie between sigma .35 (fixed work) and 1.2 (free output
length). *Batched*: one iteration serves all calls in flight, so a call takes longer the more there are::

    (base + per_call n) exp(sigma z)        n in service, this one included

Both read the faults that are on: ``slow`` multiplies everything, ``widen`` the 99th percentile at equal median, that is
``sigma + ln(widen) / 2.326`` (2.326 is the normal quantile of .99).
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from random import Random

Z99 = 2.326
"""Standard normal quantile of .99."""


class LatencyLaw(Protocol):
    """A distribution of service times."""

    def typical_seconds(self, in_service: int) -> float:
        """The median with so many calls in service, when all is well."""

    def seconds(self, rng: "Random", in_service: int, *, slow: float, widen: float) -> float:
        """Draw one service time.

        Args:
            rng: the dice.
            in_service: calls being served, this one included.
            slow: factor on the whole distribution.
            widen: factor on its 99th percentile, the median left where it is.
        """


def widened(sigma: float, widen: float) -> float:
    """The sigma whose 99th percentile is ``widen`` times as far from the same median."""
    return sigma + math.log(widen) / Z99


@dataclass(frozen=True, slots=True)
class Lognormal:
    """Independent of concurrency: fixed slots, each as fast as alone."""

    median_seconds: float
    sigma: float = 0.35

    def typical_seconds(self, in_service: int) -> float:
        """The median, whatever else is in service."""
        return self.median_seconds

    @property
    def mean_seconds(self) -> float:
        """Mean service time."""
        return self.median_seconds * math.exp(self.sigma**2 / 2)

    def seconds(self, rng: "Random", in_service: int, *, slow: float, widen: float) -> float:
        """Draw one service time."""
        return slow * self.median_seconds * math.exp(widened(self.sigma, widen) * rng.gauss(0.0, 1.0))


@dataclass(frozen=True, slots=True)
class Batched:
    """Continuous batching: every call in service makes every other slower."""

    base_seconds: float
    per_call_seconds: float
    sigma: float = 0.35

    def typical_seconds(self, in_service: int) -> float:
        """The median with so many calls in service."""
        return self.base_seconds + self.per_call_seconds * in_service

    def seconds(self, rng: "Random", in_service: int, *, slow: float, widen: float) -> float:
        """Draw one service time."""
        spread = math.exp(widened(self.sigma, widen) * rng.gauss(0.0, 1.0))
        return slow * self.typical_seconds(in_service) * spread
