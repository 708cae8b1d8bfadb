"""The shapes of research/policy-lab.md §8, run once each and shared by all tests that look at them.

§8 wants means of five seeds. The dear shapes get one or two in an ordinary run of the suite, because their figures differ between
seeds by less than a fifth of the tolerance; ``FAILSOFT_LAB=whole`` gives all of them five, in about four minutes.
"""

import math
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean

from failsoft.policy.settings import ClassSettings, StageSettings, TierSettings
from failsoft.simulation.bound import Station, blind_bound
from failsoft.simulation.endpoints import Condition, ModelEndpoint
from failsoft.simulation.engine import Engine
from failsoft.simulation.latency_law import Lognormal, widened
from failsoft.simulation.pool import run_pool
from failsoft.simulation.report import Ended, Tally
from failsoft.simulation.shell import Watch
from failsoft.simulation.workload import Ask, ClassLoad, Phase, poisson

SEEDS = (11, 12, 13, 14, 15)
IS_WHOLE = os.environ.get("FAILSOFT_LAB") == "whole"
FEW, ONE = (SEEDS, SEEDS) if IS_WHOLE else (SEEDS[:2], SEEDS[:1])
MARGIN = 0.01
SIGMA = 0.35
CLASSES = ("interactive", "standard", "batch")
MIX = (ClassLoad("interactive", 0.2, 2.0), ClassLoad("standard", 0.5, 10.0), ClassLoad("batch", 0.3, 60.0))
FLOOD = (ClassLoad("interactive", 0.8, 2.0), ClassLoad("standard", 0.1, 10.0), ClassLoad("batch", 0.1, 60.0))
WEIGHTS = {"interactive": (8, 0.1), "standard": (3, 0.5), "batch": (1, 0.95)}


@dataclass(frozen=True)
class Shape:
    """One scenario of the lab. Loads are multiples of the full tier's capacity; spans are (from, to) in seconds."""

    phases: tuple[tuple[float, float, float], ...]
    mix: tuple[ClassLoad, ...] = MIX
    workers: int = 1
    lower_slots: int = 32
    lower_median: float = 0.04
    sigma: float = SIGMA
    hang: tuple[float, float] = (0.0, 0.0)
    widen: tuple[float, float] = (0.0, 0.0)
    prior_factor: float = 1.0
    bin_seconds: float = 1.0

    @property
    def full(self) -> Station:
        return Station(16, 0.2, self.sigma, down=self.hang, widened=self.widen, widened_sigma=widened(self.sigma, 4.0))

    @property
    def lower(self) -> Station:
        return Station(self.lower_slots, self.lower_median, SIGMA)

    @property
    def capacity(self) -> float:
        """Requests a second that the full tier serves."""
        return 16 / Lognormal(0.2, self.sigma).mean_seconds

    def arrivals(self, seed: int) -> list[Ask]:
        phases = [Phase(load * self.capacity, begins_at, ends_at) for load, begins_at, ends_at in self.phases]
        return poisson(phases, self.mix, random.Random(seed))

    def settings(self) -> StageSettings:
        classes = tuple(
            ClassSettings(load.request_class, weight, load.budget_seconds, load.budget_seconds, patience)
            for load in self.mix
            for weight, patience in [WEIGHTS[load.request_class]]
        )
        tiers = (
            TierSettings("full", 1, 16, 0.2 * self.prior_factor),
            TierSettings("lower", 2, self.lower_slots, self.lower_median * self.prior_factor),
            TierSettings("canned", 3, None),
        )
        return StageSettings("lab", tiers, classes, publish_margin_seconds=MARGIN)


A = Shape(((0.7, 0, 40),))
B = Shape(((3, 0, 45),))
C = Shape(((10, 0, 15), (0.5, 15, 55)))
D = Shape(((0.7, 0, 65),), hang=(15, 35))
E = Shape(((0.8, 0, 60),), widen=(15, 35))
TIGHT = Shape(((2, 0, 30),), mix=(ClassLoad("interactive", 1.0, 0.4),), bin_seconds=0.1)
INTERACTIVE_FLOOD = Shape(((2.5, 0, 60),), mix=FLOOD)
LONG = Shape(((2, 0, 120),))


def load(times: float) -> Shape:
    return Shape(((times, 0, 30),))


def scarce(times: float) -> Shape:
    """The lower tier has twice the capacity of the full one, instead of ten times."""
    return replace(load(times), lower_slots=8, lower_median=0.05)


class Run:
    """A finished run, and the questions that the lab's table asks of it."""

    def __init__(self, shape: Shape, seed: int, *watches: Watch) -> None:
        rng = random.Random(f"service {seed}")
        engine = Engine()
        full = ModelEndpoint(engine, Lognormal(0.2, shape.sigma), slots=16, rng=rng)
        lower = ModelEndpoint(engine, Lognormal(shape.lower_median, SIGMA), slots=shape.lower_slots, rng=rng)
        for (begins_at, ends_at), ill in (
            (shape.hang, Condition(hangs=True)),
            (shape.widen, Condition(widen=4.0)),
        ):
            if ends_at:
                engine.at(begins_at, full.illnesses.append, ill)
                engine.at(ends_at, full.illnesses.remove, ill)
        self.shape = shape
        self.asks = shape.arrivals(seed)
        self.tally: Tally = run_pool(
            engine,
            shape.settings(),
            {"full": full, "lower": lower},
            self.asks,
            workers=shape.workers,
            partitions=4 * shape.workers,
            watches=watches,
        )

    def ended(self, request_class: str | None = None, since: float = 0.0, until: float = math.inf) -> list[Ended]:
        return [
            end
            for end in self.tally.ended
            if request_class in {None, end.ask.request_class} and since <= end.ask.at < until
        ]

    def share(self, level: int, request_class: str | None = None) -> float:
        return 100 * self.tally.summary(request_class).level_share(level)

    @property
    def value(self) -> float:
        return self.tally.summary().value

    @property
    def in_time(self) -> float:
        summary = self.tally.summary()
        return 100 * summary.in_time / summary.offered

    def starts(self, since: float, until: float) -> int:
        return sum(call.tier == "full" and since <= call.started_at < until for call in self.tally.calls)

    def waste(self) -> float:
        """Wasted work at the full tier, percent. A call into a hang is lost whatever the rule, so it does not count."""
        begins_at, ends_at = self.shape.hang
        calls = [
            call for call in self.tally.calls if call.tier == "full" and not (begins_at <= call.started_at < ends_at)
        ]
        wasted = sum(call.seconds for call in calls if call.verdict.value != "ok")
        return 100 * wasted / sum(call.seconds for call in calls)

    def bound_ratio(self) -> float:
        best = blind_bound(self.asks, self.shape.full, self.shape.lower, bin_seconds=self.shape.bin_seconds)
        return self.value * len(self.asks) / best


@cache
def run(shape: Shape, seed: int) -> Run:
    return Run(shape, seed)


def mean(shape: Shape, figure: Callable[[Run], float], seeds: Sequence[int] = SEEDS) -> float:
    """The mean of a figure over runs."""
    return fmean(figure(run(shape, seed)) for seed in seeds)
