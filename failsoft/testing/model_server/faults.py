"""What goes wrong with a call: pure, from three numbers drawn for it and the faults that are on.

Each call draws the same three numbers whatever is switched on, so that a fault changes the calls it hits and not the
service times of all that follow. In the order in which a call meets them:

=============  ==============================================================================================
outage         the connection is closed without a word, also under the calls that wait or are in service
rate_limit     429 at once, for a share of the calls, with the wait it names
overload       503 at once, for a share of the calls, as a full queue does it
slow, widen    longer service: all of it by a factor, or its 99th percentile while the median stays
hang           no call ends while it is on, as if the process were stopped
error_rate     500 after the service time, for a share of the calls
garbage        200 with half of a JSON document, for a share of the calls
reset          half of an answer, then a connection reset, for a share of the calls
=============  ==============================================================================================
"""

import math
import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from failsoft.testing.model_server.settings import ModelSettings

Z_99 = 2.326
"""The 99th percentile of the normal distribution."""

Share = Annotated[float, Field(ge=0, le=1)]
Factor = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Failure(StrEnum):
    """How a call ended without an answer."""

    OUTAGE = "outage"
    RATE_LIMIT = "rate_limit"
    OVERLOAD = "overload"
    QUEUE_FULL = "queue_full"
    ERROR = "error"
    GARBAGE = "garbage"
    RESET = "reset"


class RateLimit(BaseModel):
    """429 for a share of the calls, and when they may come back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: Share = 0.0
    retry_after_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0


class Faults(BaseModel):
    """The faults of one model; by default none. ``true`` for a share means all calls."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    outage: bool = False
    rate_limit: RateLimit = RateLimit()
    overload: Share = 0.0
    slow: Factor = 1.0
    widen: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.0
    hang: bool = False
    error_rate: Share = 0.0
    garbage: Share = 0.0
    reset: Share = 0.0

    @model_validator(mode="after")
    def _shares_leave_no_debt(self) -> Self:
        if self.rate_limit.share + self.overload > 1 or self.error_rate + self.garbage + self.reset > 1:
            raise ValueError("shares that exclude each other add up to more than 1")
        return self


@dataclass(frozen=True, slots=True)
class Lot:
    """What is drawn for one call.

    Attributes:
        entry: 0-1, decides about a refusal.
        ending: 0-1, decides about a failure after the service time.
        spread: from the normal distribution, decides about the service time.
    """

    entry: float
    ending: float
    spread: float


def draw(rng: random.Random) -> Lot:
    """Draw for the next call."""
    return Lot(rng.random(), rng.random(), rng.gauss(0.0, 1.0))


def refusal(lot: Lot, faults: Faults) -> Failure | None:
    """How a call is refused when it comes, if it is."""
    return _drawn(lot.entry, {Failure.RATE_LIMIT: faults.rate_limit.share, Failure.OVERLOAD: faults.overload})


def service_seconds(lot: Lot, settings: ModelSettings, faults: Faults, *, work: float = 1.0) -> float:
    """How long a call takes: slow · work · median · exp((sigma + ln(widen) / z99) · spread)."""
    sigma = settings.sigma + math.log(faults.widen) / Z_99
    return faults.slow * work * settings.median_seconds * math.exp(sigma * lot.spread)


def broken_end(lot: Lot, faults: Faults) -> Failure | None:
    """How a call fails when it has been served, if it does."""
    return _drawn(
        lot.ending,
        {Failure.ERROR: faults.error_rate, Failure.GARBAGE: faults.garbage, Failure.RESET: faults.reset},
    )


def _drawn(number: float, shares: dict[Failure, float]) -> Failure | None:
    """The failure in whose part of 0-1 the number lies; the shares are laid one after another."""
    top = 0.0
    for failure, share in shares.items():
        top += share
        if number < top:
            return failure
    return None
