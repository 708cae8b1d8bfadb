"""How long a model takes: the laws that service times are drawn from.

*Lognormal*: ``median exp(sigma z)`` with z standard normal. Model calls lie between sigma .35 (fixed work) and 1.2 (free output
length). *Batched*: one iteration serves all calls in flight, so a call takes longer the more there are::

    (base + per_call n) exp(sigma z)        n in service, this one included

*Measured*: one of the durations that were recorded, each as likely as any other.

All read the faults that are on: ``slow`` multiplies everything, ``widen`` the 99th percentile at equal median, that is
``sigma + ln(widen) / 2.326`` (2.326 is the normal quantile of .99); of a recorded duration it raises the distance to the
median to a power, which comes to the same.
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


@dataclass(frozen=True, slots=True)
class Measured:
    """What was recorded, drawn again; independent of concurrency.

    Attributes:
        recorded: durations in seconds, in ascending order, at least one.
    """

    recorded: tuple[float, ...]

    def typical_seconds(self, in_service: int) -> float:
        """The median, whatever else is in service."""
        return self._quantile(0.5)

    @property
    def mean_seconds(self) -> float:
        """Mean service time."""
        return math.fsum(self.recorded) / len(self.recorded)

    def seconds(self, rng: "Random", in_service: int, *, slow: float, widen: float) -> float:
        """Draw one service time."""
        drawn = self.recorded[rng.randrange(len(self.recorded))]
        return slow * drawn * self._stretch(drawn, widen)

    def _stretch(self, drawn: float, widen: float) -> float:
        """The factor that widening puts on this duration: ``widen`` at the 99th percentile, 1 at the median."""
        median, q99 = self._quantile(0.5), self._quantile(0.99)
        if widen == 1.0 or q99 == median:
            return 1.0
        return float((drawn / median) ** (math.log(widen) / math.log(q99 / median)))

    def _quantile(self, rank: float) -> float:
        return self.recorded[min(len(self.recorded) - 1, int(rank * len(self.recorded)))]
