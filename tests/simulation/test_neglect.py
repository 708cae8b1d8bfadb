"""A worker that neglects somebody is noticed from outside: each rule sees the policy that breaks it, and no other."""

import math
import random
from dataclasses import replace

import pytest

from failsoft.policy import tiers
from failsoft.policy.stage.dispatcher import Dispatcher
from failsoft.policy.stage.endpoint import Endpoint
from failsoft.simulation.endpoints import Condition
from failsoft.simulation.faults import ModelFault
from failsoft.simulation.fleet import Fleet, Plan
from failsoft.simulation.scenarios import BATCH, CAPACITY, FULL, INTERACTIVE, STANDARD, named
from failsoft.simulation.workload import ClassLoad, Phase

FLOOD = (ClassLoad(INTERACTIVE, 0.8, 2), ClassLoad(STANDARD, 0.1, 10), ClassLoad(BATCH, 0.1, 60))


def broken_in(plan: Plan) -> set[str]:
    fleet = Fleet(plan, lambda part: random.Random(f"1 {part}"))
    fleet.run()
    return {breach.rule for breach in fleet.invariants.broken}


def loaded(times: float, seconds: float, *faults: ModelFault, mix=None) -> Plan:
    plan = named("steady").plan
    return replace(plan, phases=(Phase(times * CAPACITY, 0, seconds),), mix=mix or plan.mix, faults=faults)


def test_a_stage_that_is_well_neglects_nobody():
    assert broken_in(loaded(2.5, 8, mix=FLOOD)) == set()


def test_a_permit_that_nobody_may_use_is_an_idle_full_tier(monkeypatch):
    def half(endpoint: Endpoint, now: float, free_from=Endpoint.free_from) -> float:
        return free_from(endpoint, now) if endpoint.permits.in_flight < endpoint.permits.count // 2 else math.inf

    monkeypatch.setattr(Endpoint, "free_from", half)
    assert broken_in(loaded(1.2, 8)) == {"full_tier_idle"}


def test_a_class_without_its_share_is_starved(monkeypatch):
    monkeypatch.setattr(tiers, "FLOOR_SLACK", float("inf"))
    assert broken_in(loaded(2.5, 12, mix=FLOOD)) == {"starved"}


def test_an_answer_without_a_model_is_needless_while_the_lower_model_is_free(monkeypatch):
    monkeypatch.setattr(Dispatcher, "_start_lower", lambda *_: None)
    assert broken_in(loaded(8, 4)) == {"needless_answer"}


@pytest.mark.parametrize("ill", [Condition(error_share=1.0), Condition(hangs=True), Condition(busy_share=1.0)])
def test_a_tier_that_was_in_trouble_is_not_judged_before_it_is_well(ill):
    assert broken_in(loaded(0.9, 20, ModelFault(5, 5, FULL, ill))) == set()
