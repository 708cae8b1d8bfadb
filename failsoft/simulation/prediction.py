"""What will degrade, and when: one stage under rising load, run in virtual time before anybody does it in earnest.

*Load 1* is what the first tier can serve: its permits over its mean service time, so that a load is a property of the stage and
not of the machine that predicts it. Each load runs apart, from an idle stage, with arrivals for so many seconds; what waits
at their end is worked off and counts, so a class whose deadline is longer than that waits out the overload instead of
degrading (:func:`outlasting` names such classes). Nobody is ill: what is predicted is the effect of load alone
(research/algorithms.md §10.3).

How many *workers* share the permits matters: each orders only what is in its own partitions, and a permit that is free at
one is of no use to the requests that wait at the other. At four times the load two workers gave the urgent class 69 % of level 1
where one would have given it 79 % (bench/prediction.py). What records need on their way counts where calls are short.

With a recorded trace, the first ``load x capacity x seconds`` of its arrivals, from the beginning again where it is too short,
are stretched to fill the seconds exactly: the bursts keep their shape, and the mean rate is the load's.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from failsoft.policy.request import ClassName
from failsoft.policy.settings import StageSettings
from failsoft.simulation.endpoints import ModelEndpoint
from failsoft.simulation.engine import Engine
from failsoft.simulation.latency_law import Lognormal, Measured
from failsoft.simulation.pool import Way, run_pool
from failsoft.simulation.report import Summary, Tally
from failsoft.simulation.workload import Ask, ClassLoad, Phase, poisson, trace

if TYPE_CHECKING:
    from random import Random

Dice = Callable[[str], "Random"]
"""Makes dice of its own for each part of a run."""

FULL_SHARE = 0.99
"""Below this part of level 1 a class counts as degraded: a hundredth is what one unlucky slow call in the tail costs."""
REQUESTS_MIN = 2_000
"""At load 1: the standard error of a share of one half is then 1.1 points."""
DEADLINES_MIN = 6
"""Of the most urgent class, that each load lasts: within one deadline a queue hides that a tier is too slow."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a stage.

    Attributes:
        settings: of the stage.
        laws: tier -> its service times, of every tier that takes a call.
        mix: the classes' parts of the arrivals.
        seconds: how long arrivals last at each load.
        recorded: instants of recorded arrivals, in order of time; none: they are Poisson.
        workers: how many share the partitions, and with them the permits.
        partitions: of each class.
        on_the_way: how long requests need from their append to a worker, and results from their decision to their append; None:
            no time, as with a broker close by.
    """

    settings: StageSettings
    laws: Mapping[str, Lognormal | Measured]
    mix: tuple[ClassLoad, ...]
    seconds: float
    recorded: tuple[float, ...] = ()
    workers: int = 1
    partitions: int = 24
    on_the_way: tuple[Measured, Measured] | None = None

    @property
    def capacity(self) -> float:
        """Requests a second that the first tier serves: load 1."""
        return capacity(self.settings, self.laws)


@dataclass(frozen=True, slots=True)
class Predicted:
    """What one load comes to.

    Attributes:
        load: in capacities of the first tier.
        per_second: the same, in requests.
        classes: the figures of each class that asked, most urgent first.
        total: of all.
        invariants_broken: requests that did not end exactly once; anything but none is a bug.
    """

    load: float
    per_second: float
    classes: Mapping[ClassName, Summary]
    total: Summary
    invariants_broken: int


def capacity(settings: StageSettings, laws: Mapping[str, Lognormal | Measured]) -> float:
    """Requests a second that the first tier serves."""
    first = settings.tiers[0]
    return (first.limit or 0) / laws[first.name].mean_seconds


def usual_seconds(settings: StageSettings, laws: Mapping[str, Lognormal | Measured]) -> float:
    """How long arrivals should last at least for shares that can be relied on."""
    shortest = min(known.deadline_seconds for known in settings.classes)
    return max(REQUESTS_MIN / capacity(settings, laws), DEADLINES_MIN * shortest)


def loads_between(lowest: float, highest: float, steps: int) -> tuple[float, ...]:
    """Loads at equal ratios, so that the knee about 1 is as well seen as the flood; rounded to three digits."""
    if steps == 1 or lowest == highest:
        return (lowest,)
    ratio = (highest / lowest) ** (1 / (steps - 1))
    return tuple(float(f"{lowest * ratio**step:.3g}") for step in range(steps))


def predict_load(question: Question, load: float, dice: Dice) -> Predicted:
    """Run one load to the last request's end."""
    return predict_asks(question, load, arrivals(question, load, dice("arrivals")), dice)


def predict_asks(question: Question, load: float, asks: Sequence[Ask], dice: Dice) -> Predicted:
    """Run these requests to the end of the last; who knows them is not left to chance."""
    engine = Engine()
    models = {
        tier.name: ModelEndpoint(engine, question.laws[tier.name], slots=tier.limit, rng=dice(f"tier {tier.name}"))
        for tier in question.settings.tiers
        if tier.limit is not None
    }
    tally = run_pool(
        engine,
        question.settings,
        models,
        asks,
        workers=question.workers,
        partitions=question.partitions,
        way=None if question.on_the_way is None else Way(*question.on_the_way, dice("way")),
    )
    asked = tally.by_class()
    return Predicted(
        load,
        load * question.capacity,
        {known.name: asked[known.name] for known in question.settings.classes if known.name in asked},
        tally.summary(),
        _not_ended_once(tally),
    )


def degrades_from(found: Sequence[Predicted]) -> dict[ClassName, float | None]:
    """Per class the lowest of these loads at which it is not all but fully served at level 1; None: at none of them."""
    names = dict.fromkeys(name for each in found for name in each.classes)
    return {
        name: min(
            (each.load for each in found if name in each.classes and each.classes[name].level_share(1) < FULL_SHARE),
            default=None,
        )
        for name in names
    }


def outlasting(question: Question) -> list[ClassLoad]:
    """The classes whose requests can wait longer than the arrivals last, so that they may sit out any overload."""
    return [load for load in question.mix if load.share > 0 and load.budget_seconds > question.seconds]


def arrivals(question: Question, load: float, rng: "Random") -> list[Ask]:
    """What is asked at a load, and when."""
    rate = load * question.capacity
    if not question.recorded:
        return poisson([Phase(rate, 0.0, question.seconds)], question.mix, rng)
    return trace(_stretched(question.recorded, round(rate * question.seconds), question.seconds), question.mix, rng)


def _stretched(recorded: Sequence[float], count: int, seconds: float) -> list[float]:
    """So many of the recorded arrivals, in as many rounds as it takes, over exactly these seconds.

    A round ends one mean gap after its last arrival, since the next begins with an arrival.
    """
    span = recorded[-1] - recorded[0]
    period = span * len(recorded) / max(1, len(recorded) - 1)
    rounds = math.ceil(count / len(recorded))
    instants = (turn * period + at - recorded[0] for turn in range(rounds) for at in recorded)
    taken = list(islice(instants, count))
    last = taken[-1] if taken else 0.0
    return [at * seconds / last for at in taken] if last else taken


def _not_ended_once(tally: Tally) -> int:
    ends = Counter(end.ask.number for end in tally.ended)
    return sum(ends[ask.number] != 1 for ask in tally.offered)
