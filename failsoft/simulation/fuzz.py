"""A random world per seed: how many hosts and partitions, which models, how much load, what goes wrong and when.

Half of all worlds have at least 1,000 requests, three hosts and five faults; all have clocks that are wrong, and events of one
instant happen in an order of their own. Nothing is expected of a world's quality: only that no invariant breaks. Numbers
are drawn from few, telling values rather than evenly, so that extremes meet often (no queue, one permit, five minutes of skew).

Size, duration and load are drawn, and the time of a call follows from them: ten thousand worlds cost what their requests and
their virtual seconds cost, and neither may depend on how fast a model happens to be.
"""

import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from failsoft.policy.answers import AnswersConfig
from failsoft.policy.coalescing import CoalescingConfig
from failsoft.policy.settings import ClassSettings, StageSettings, TierSettings
from failsoft.simulation.endpoints import Cancellation, Condition
from failsoft.simulation.faults import BadWay, BrokerDown, Crash, CutOff, Drain, Fault, Freeze, KillCaller, ModelFault
from failsoft.simulation.fleet import Fleet, ModelPlan, Plan
from failsoft.simulation.invariants import Broken
from failsoft.simulation.latency_law import Batched, LatencyLaw, Lognormal
from failsoft.simulation.workload import ClassLoad, Contents, Phase

if TYPE_CHECKING:
    from random import Random

REQUESTS = (60, 150, 300, 1_060, 1_060, 1_060, 1_060)
"""More than half of the worlds have a thousand; the small ones, cheaper, are for faults that need none of them."""
SECONDS = (8.0, 12.0, 18.0)
"""The time of arrivals and faults: longer than the shortest session timeout, so that dead workers are dropped within it."""
LOADS = (0.4, 0.8, 1.2, 3.0)
"""Calls that are asked for over calls that the full model can serve, at its median."""
FAULTS = (4, 9)
HOSTS = (2, 3, 3, 3, 4, 6)
CONTENTS = (
    Contents(),
    Contents(tenants=20),
    Contents(distinct=200),
    Contents(distinct=20, exponent=1.2, tenants=3),
)
ANSWERS = (None, AnswersConfig(ttl_seconds=0.5, revalidate_seconds=2.0, error_seconds=10.0), AnswersConfig())
SKEWS_SECONDS = (0.0, 0.0, 0.2, -0.2, 5.0, -5.0, 300.0, -300.0)
ILLNESSES = (
    Condition(slow=5.0),
    Condition(widen=4.0),
    Condition(error_share=0.3),
    Condition(error_share=1.0),
    Condition(busy_share=0.5),
    Condition(busy_share=1.0),
    Condition(hangs=True),
)


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """What one random world was, and what broke in it."""

    seed: int
    requests: int
    hosts: int
    faults: int
    virtual_seconds: float
    repeats_in_log: int
    broken: Sequence[Broken]


def fuzz(seed: int, dice: "Callable[[str], Random]") -> Fuzzed:
    """Run the world of one seed; an error that ends it is a breach like any other.

    Args:
        seed: for the report.
        dice: makes the dice of each part of the world, from the seed and the part's name.
    """
    plan = drawn_plan(dice("plan"))
    fleet = Fleet(plan, dice, shuffles=True)
    try:
        fleet.run()
    except Exception:  # whatever it is, it is a bug, and its seed replays it
        fleet.invariants.broken.append(Broken("raised", fleet.engine.now, traceback.format_exc()))
    return Fuzzed(
        seed=seed,
        requests=len(fleet.asks),
        hosts=plan.hosts,
        faults=len(plan.faults),
        virtual_seconds=fleet.engine.now,
        repeats_in_log=fleet.cluster.visible.repeats_in_log,
        broken=tuple(fleet.invariants.broken),
    )


def drawn_plan(rng: "Random") -> Plan:
    """Draw a world."""
    requests, seconds = rng.choice(REQUESTS), rng.choice(SECONDS)
    slots = rng.choice((2, 8, 16, 32))
    law = _law(rng, rng.choice(LOADS) * slots * seconds / requests, slots)
    mix = _mix(rng)
    hosts = rng.choice(HOSTS)
    answers = rng.choice(ANSWERS)
    tiers, models = _ladder(rng, law, slots, keeps_answers=answers is not None)
    return Plan(
        settings=_settings(rng, tiers, mix, answers),
        models=models,
        phases=_phases(rng, requests, seconds),
        mix=mix,
        contents=rng.choice(CONTENTS),
        hosts=hosts,
        partitions=rng.choice((6, 12, 24)),
        faults=tuple(_faults(rng, hosts, list(models), seconds)),
        skews_seconds={host: rng.choice(SKEWS_SECONDS) for host in range(hosts)},
        producer_skew_seconds=rng.choice(SKEWS_SECONDS),
        link_seconds=rng.choice((0.002, 0.01, 0.03)),
        session_seconds=rng.choice((3.0, 6.0, 10.0)),
    )


def _law(rng: "Random", median_seconds: float, slots: int) -> LatencyLaw:
    """A law with this median when all slots are taken."""
    if rng.random() < 0.3:
        return Batched(median_seconds / 2, median_seconds / 2 / slots, rng.choice((0.2, 0.5)))
    return Lognormal(median_seconds, rng.choice((0.2, 0.35, 0.8, 1.2)))


def _ladder(
    rng: "Random", law: LatencyLaw, slots: int, *, keeps_answers: bool
) -> tuple[tuple[TierSettings, ...], dict[str, ModelPlan]]:
    """One, two or three model tiers, with or without an answer that is always there."""
    models = {"full": ModelPlan(law, slots, rng.choice((0, 4, 64)), rng.choice(list(Cancellation)))}
    tiers = [TierSettings("full", 1, slots, rng.choice((None, 0.2, 2.0)), rng.choice((None, None, 0.5, 2.0)))]
    for name in ("small", "tiny")[: rng.choice((0, 1, 1, 1, 2))]:
        models[name] = ModelPlan(
            _law(rng, 0.04, 2 * slots), 2 * slots, rng.choice((0, 64)), rng.choice(list(Cancellation))
        )
        tiers.append(TierSettings(name, 2, 2 * slots, rng.choice((None, 0.04))))
    if keeps_answers:
        tiers += [TierSettings("past", 3, None, is_cached=True)] * rng.choice((0, 1))
    if rng.random() < 0.75:
        tiers.append(TierSettings("canned", 3, None))
    return tuple(tiers), models


def _mix(rng: "Random") -> tuple[ClassLoad, ...]:
    return (
        ClassLoad("interactive", rng.choice((0.1, 0.3, 0.8)), rng.choice((0.5, 2.0, 4.0))),
        ClassLoad("standard", rng.choice((0.1, 0.5)), rng.choice((5.0, 10.0))),
        ClassLoad("batch", rng.choice((0.1, 0.5)), rng.choice((10.0, 30.0))),
    )


def _settings(
    rng: "Random", tiers: tuple[TierSettings, ...], mix: tuple[ClassLoad, ...], answers: AnswersConfig | None
) -> StageSettings:
    lowest = max(tier.level for tier in tiers)
    floors = [rng.choice((lowest, lowest, 3, 1)) for _ in mix]
    classes = tuple(
        ClassSettings(load.request_class, weight, load.budget_seconds, load.budget_seconds, patience, floor)
        for load, weight, patience, floor in zip(mix, (8, 3, 1), (0.1, 0.5, 0.95), floors, strict=True)
    )
    return StageSettings(
        "fuzzed",
        tiers,
        classes,
        records_max=rng.choice((20, 200, 2_000)),
        coalescing=CoalescingConfig(waiters_max=rng.choice((2, 10_000))),
        answers=answers,
    )


def _phases(rng: "Random", requests: int, seconds: float) -> tuple[Phase, ...]:
    """An even load, or half of it in a burst of a tenth of the time."""
    even = requests / seconds
    if rng.random() < 0.6:
        return (Phase(even, 0, seconds),)
    at = rng.uniform(0.1, 0.7) * seconds
    return (Phase(even / 2, 0, seconds), Phase(5 * even, at, at + seconds / 10))


def _faults(rng: "Random", hosts: int, tiers: Sequence[str], seconds: float) -> Iterator[Fault]:
    for _ in range(rng.randint(*FAULTS)):
        begins_at, lasts = rng.uniform(0, seconds), rng.choice((0.5, 3.0, 8.0))
        host = rng.randrange(hosts)
        yield rng.choice(
            (
                ModelFault(begins_at, lasts, rng.choice(tiers), rng.choice(ILLNESSES)),
                BadWay(begins_at, lasts, host, rng.choice(ILLNESSES)),
                CutOff(begins_at, lasts, host),
                BrokerDown(begins_at, min(lasts, 3.0)),
                Crash(begins_at, lasts, host, in_steps=rng.choice((0, 1, 2, 3, 10, 50))),
                Crash(begins_at, lasts, host, in_steps=rng.randint(1, 200)),
                Freeze(begins_at, lasts, host),
                Drain(begins_at, lasts, host),
                KillCaller(begins_at, lasts, rng.choice(tiers)),
            )
        )
