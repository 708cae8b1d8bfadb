"""Stages one behind another in virtual time: whose time each of them gets, and what becomes of those that a sick stage fails."""

import random
from functools import cache

import pytest

from failsoft.policy.breaker_settings import BreakerSettings
from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.settings import ClassSettings, StageSettings, TierSettings
from failsoft.simulation.chain import Chain, Link
from failsoft.simulation.endpoints import Condition, ModelEndpoint
from failsoft.simulation.engine import Engine
from failsoft.simulation.latency_law import Lognormal
from failsoft.simulation.report import Summary, Tally
from failsoft.simulation.workload import Ask, ClassLoad, Phase, poisson

BUDGET = 5.0
SLOTS = 16
LOAD = 0.5
SECONDS = 120.0
SLOW, FAST = Lognormal(1.5), Lognormal(0.15)
SMALL = Lognormal(0.1)
CLASSES = (ClassSettings("interactive", 8, BUDGET, 60, 0.1),)
SEEDS = range(3)
THREE = (("find", SLOW), ("rank", FAST), ("answer", FAST))


def dice(seed: int, *names: str) -> random.Random:
    return random.Random("/".join([str(seed), *names]))


def asks(seed: int, budget: float = BUDGET) -> list[Ask]:
    per_second = LOAD * SLOTS / SLOW.mean_seconds
    mix = (ClassLoad("interactive", 1.0, budget),)
    return poisson([Phase(per_second, 0.0, SECONDS)], mix, dice(seed, "asks"))


def link(
    engine: Engine, name: str, law: Lognormal, seed: int, *, has_small: bool, says: bool, is_dark: bool = False
) -> Link:
    tiers = [TierSettings("full", 1, SLOTS, law.median_seconds if says else None)]
    models = {"full": ModelEndpoint(engine, law, slots=SLOTS, rng=dice(seed, name))}
    if has_small:
        tiers.append(TierSettings("small", 2, SLOTS, SMALL.median_seconds if says else None))
        models["small"] = ModelEndpoint(engine, SMALL, slots=SLOTS, rng=dice(seed, name, "small"))
    return Link(StageSettings(name, tuple(tiers), CLASSES, breakers=BreakerSettings(enforce=not is_dark)), models)


@cache
def run(
    seed: int, *, has_fixed_shares: bool = False, has_small: bool = False, says: bool = True, budget: float = BUDGET
) -> Tally:
    engine = Engine()
    # Cut at its share a call says nothing of its endpoint: breakers would make fixed shares look worse than they are.
    links = [
        link(engine, name, law, seed, has_small=has_small, says=says, is_dark=has_fixed_shares) for name, law in THREE
    ]
    return Chain(engine, links, has_fixed_shares=has_fixed_shares).run(asks(seed, budget))


def figures(seed: int, **said: bool) -> Summary:
    return run(seed, **said).summary()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("says", [True, False])
def test_behind_a_slow_stage_nearly_all_are_in_time_and_with_fixed_shares_clearly_fewer(seed, says):
    ours, fixed = figures(seed, says=says), figures(seed, says=says, has_fixed_shares=True)
    assert ours.offered == fixed.offered > 500
    assert ours.in_time_share >= 0.99
    assert fixed.in_time_share <= 0.8


@pytest.mark.parametrize("seed", SEEDS)
def test_where_a_smaller_model_helps_out_more_get_the_full_one_than_with_fixed_shares(seed):
    ours, fixed = figures(seed, has_small=True), figures(seed, has_small=True, has_fixed_shares=True)
    assert ours.in_time_share >= 0.99
    assert ours.level_share(1) >= 0.95
    assert fixed.level_share(1) <= ours.level_share(1) - 0.2


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("has_fixed_shares", [True, False])
def test_every_request_has_exactly_one_end(seed, has_fixed_shares):
    tally = run(seed, has_fixed_shares=has_fixed_shares)
    assert sorted(ended.ask.number for ended in tally.ended) == [ask.number for ask in tally.offered]


@pytest.mark.parametrize("seed", SEEDS)
def test_with_too_little_time_for_all_stages_the_reserve_takes_from_each_and_nobody_is_later_than_his_deadline(seed):
    tally = run(seed, has_small=True, budget=1.0)
    assert tally.summary().in_time_share >= 0.95
    assert all(ended.seconds <= 1.1 for ended in tally.ended)


def test_a_last_stage_that_fails_stops_the_first_and_comes_back():
    engine = Engine()
    links = [link(engine, name, FAST, 1, has_small=False, says=True) for name in ("find", "answer")]
    sick = links[1].models["full"]
    condition = Condition(error_share=1.0)
    engine.at(30.0, sick.illnesses.append, condition)
    engine.at(60.0, sick.illnesses.remove, condition)
    tally = Chain(engine, links).run(asks(1))
    stopped = [ended for ended in tally.ended if ended.ending.reason is Reason.BREAKER_OPEN]
    during = tally.summary(since=40.0, until=55.0)
    assert during.outcomes.get(Outcome.UNAVAILABLE, 0) > 0.5 * during.offered
    assert stopped
    assert tally.summary(since=100.0).in_time_share >= 0.99
