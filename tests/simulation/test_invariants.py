"""Each rule is shown to catch the history that breaks it: else finding nothing would mean nothing."""

import random
from dataclasses import replace
from typing import Any

import pytest

from failsoft.policy.actions import StartCall
from failsoft.policy.deadline import Stamp
from failsoft.policy.events import Revoked
from failsoft.policy.offsets import OffsetTracker
from failsoft.policy.outcome import Ending, Outcome, Reason
from failsoft.policy.request import Partition, RecordId
from failsoft.policy.retry_budget import RetryBudget
from failsoft.simulation.cluster import Cluster, Sent
from failsoft.simulation.endpoints import Condition
from failsoft.simulation.engine import Engine
from failsoft.simulation.faults import Crash, ModelFault
from failsoft.simulation.fleet import Fleet
from failsoft.simulation.invariants import Invariants
from failsoft.simulation.report import Tally
from failsoft.simulation.scenarios import CAPACITY, MIX, MODELS, SETTINGS
from failsoft.simulation.scenarios import named as scenario
from failsoft.simulation.workload import Ask, Phase

PLACE = Partition("batch", 0)
RECORD = RecordId(*PLACE, 0)
ENDING = Ending(Outcome.OK, Reason.NONE, tier="full", level=1)


def ask(number: int = 0) -> Ask:
    return Ask(number, 0.0, "batch", 10.0, content=number)


def sent(number: int = 0) -> Sent:
    return Sent(ask(number), Stamp(budget_seconds=10.0, sent_at=0.0))


class Machine:
    """With two permits of whatever tier."""

    def permits_of(self, tier: str) -> int:
        return 2


class Shell:
    """As much of a shell as the invariants look at."""

    name = "worker-0#1"
    machine = Machine()
    now = resumes_at = 0.0

    def __init__(self, in_flight: int = 1) -> None:
        self._in_flight = {"full": in_flight, "small": 0}

    def in_flight_of(self, tier: str) -> int:
        return self._in_flight[tier]

    def is_full(self, tier: str) -> bool:
        return self._in_flight[tier] >= 2


def call(**changes: Any) -> StartCall:
    started = StartCall(1, RECORD, "full", window_ends_at=2.0, deadline_at=10.0, execution=1, assignment=1)
    return started._replace(**changes)


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def invariants(engine: Engine) -> Invariants:
    found = Invariants(engine, SETTINGS)
    found.accepted(PLACE, 0, sent(0))
    found.accepted(PLACE, 1, sent(1))
    return found


def rules(invariants: Invariants) -> set[str]:
    return {breach.rule for breach in invariants.broken}


def test_a_good_history_breaks_nothing(invariants):
    invariants.call_started(Shell(), call())
    invariants.result(ask(0), ENDING, is_visible=True)
    invariants.result(ask(0), ENDING, is_visible=False)
    invariants.committed(PLACE, 0, 1)
    assert rules(invariants) == set()


def test_a_result_that_nobody_asked_for_is_a_phantom(invariants):
    invariants.result(ask(7), ENDING, is_visible=True)
    assert rules(invariants) == {"phantom"}


def test_a_second_visible_result_is_noticed(invariants):
    invariants.result(ask(0), ENDING, is_visible=True)
    invariants.result(ask(0), ENDING, is_visible=True)
    assert rules(invariants) == {"visible_twice"}


def test_a_commit_past_a_record_without_a_result_is_noticed(invariants):
    invariants.result(ask(0), ENDING, is_visible=True)
    invariants.committed(PLACE, 0, 2)
    assert rules(invariants) == {"commit_ahead"}


def test_a_commit_that_goes_back_is_noticed(invariants):
    invariants.committed(PLACE, 5, 3)
    assert rules(invariants) == {"commit_regression"}


def test_a_call_after_the_deadline_is_noticed(engine, invariants):
    engine.run(until=10.5)
    invariants.call_started(Shell(), call(window_ends_at=10.6, deadline_at=20.0))
    assert rules(invariants) == {"call_after_deadline", "window_too_long"}


def test_a_window_that_leaves_no_time_to_publish_is_noticed(invariants):
    invariants.call_started(Shell(), call(window_ends_at=9.99))
    assert rules(invariants) == {"window_too_long"}


def test_endless_retries_are_noticed(invariants):
    for _ in range(4):
        invariants.call_started(Shell(), call())
    assert "too_many_calls" not in rules(invariants)
    invariants.call_started(Shell(), call())
    assert "too_many_calls" in rules(invariants)


def test_a_record_that_was_lost_and_comes_back_is_counted_anew(invariants):
    for _ in range(4):
        invariants.call_started(Shell(), call())
    invariants.handled(Shell(), Revoked(frozenset({PLACE}), 0.5))
    invariants.call_started(Shell(), call())
    assert "too_many_calls" not in rules(invariants)


def test_calls_beyond_the_permits_are_noticed(invariants):
    invariants.call_started(Shell(in_flight=3), call())
    assert rules(invariants) == {"over_permits"}


def test_a_lost_request_and_an_offset_that_is_never_committed_are_noticed(engine, invariants):
    cluster = Cluster(engine, ["batch"], 1, tally=Tally(), audits=(invariants,))
    cluster.produce(replace(ask(0), number=0))
    invariants.check_settled(cluster)
    assert rules(invariants) == {"lost", "not_settled"}


# A broken worker in a whole world.


def dice(part: str) -> random.Random:
    return random.Random(f"1 {part}")


def world() -> Fleet:
    plan = replace(
        scenario("steady").plan,
        phases=[Phase(CAPACITY, 0, 12)],
        faults=[Crash(4, 1, 0), Crash(6, 1, 1), Crash(8, 1, 2)],
        mix=MIX,
        models=MODELS,
    )
    return Fleet(plan, dice, shuffles=True)


def test_a_world_with_crashes_breaks_nothing():
    fleet = world()
    fleet.run()
    assert rules(fleet.invariants) == set()
    assert sum(host.lives for host in fleet.hosts) == 6


def test_a_worker_that_retries_whatever_its_budget_says_is_noticed(monkeypatch):
    monkeypatch.setattr(RetryBudget, "try_withdraw", lambda *_, **__: True)
    failing = ModelFault(2, 8, "full", Condition(error_share=0.5))
    fleet = Fleet(replace(scenario("steady").plan, phases=[Phase(CAPACITY, 0, 12)], faults=[failing]), dice)
    fleet.run()
    assert rules(fleet.invariants) == {"too_many_retries"}


def test_a_worker_that_commits_what_it_has_taken_instead_of_what_is_done_loses_requests(monkeypatch):
    monkeypatch.setattr(OffsetTracker, "low_watermark", property(lambda tracker: tracker.highest_started + 1))
    fleet = world()
    fleet.run()
    assert rules(fleet.invariants) >= {"commit_ahead", "lost"}
