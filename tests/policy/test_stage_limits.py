"""Where a rule of the stage ends: the last moment of a crowd, the last retry, the last of a class's patience."""

from dataclasses import replace

import pytest

from failsoft.policy.breaker_states import State
from failsoft.policy.events import BacklogSeen, Tick, Verdict
from failsoft.policy.retry_budget import DEFAULTS, EXECUTIONS_MAX, RetryBudgetSettings
from tests.policy.driver import APOLOGY, LARGE, MARGIN, SMALL, Driver, stage

PAYS_FOR_ALL = RetryBudgetSettings(ratio=1.0, widening_ratio=1.0, reserve_seconds=0.001)


def roomy(retries: RetryBudgetSettings = DEFAULTS) -> Driver:
    """With four permits a tier."""
    return Driver(stage(replace(LARGE, limit=4), replace(SMALL, limit=4), APOLOGY, retries=retries))


def test_a_crowd_that_a_lower_tier_works_off_one_by_one_begins_before_its_class_has_lost_patience():
    """When 57 of 60 s are waited out, the 3 s that are left are enough for 75 of them; the spare time of all tells in time."""
    driver = Driver()
    driver.keep_busy()
    sent = driver.play([(0.0, "batch")] * 150, service={"large": 100.0, "small": 0.04})
    ends = [driver.ending(record) for record in sent["batch"]]
    assert {end.tier for end in ends} == {"small"}
    assert min(end.slack_seconds for end in ends) > MARGIN


def test_a_busy_endpoint_is_no_broken_one():
    driver = roomy()
    for _ in range(20):
        record = driver.arrive()
        driver.finish(record, Verdict.BACKPRESSURE, after=0.05)
        driver.finish(record, after=0.04)
    assert driver.machine.conditions["large"].state is State.CLOSED
    assert driver.machine.conditions["large"].trips == 0
    assert driver.tiers(driver.arrive()) == ["large"]


@pytest.mark.parametrize("verdict", [Verdict.TRANSIENT, Verdict.UNREACHABLE])
def test_a_retry_for_which_no_time_is_left_is_the_next_tier_at_once(verdict):
    driver = roomy()
    edge = driver.speed(1).q99 + MARGIN + driver.speed(0).q70
    record = driver.arrive(budget=edge + 0.02)
    driver.finish(record, verdict, after=0.001)
    assert driver.tiers(record) == ["large", "small"]


@pytest.mark.parametrize(("age", "asked", "tiers"), [(2.0, 2.9, ["large"]), (2.0, 3.1, ["large", "small"])])
def test_a_busy_endpoint_is_waited_for_no_longer_than_the_class_is_patient_in_all(age, asked, tiers):
    driver = roomy()
    record = driver.arrive("standard", age=age)
    driver.finish(record, Verdict.BACKPRESSURE, retry_after=asked)
    assert driver.tiers(record) == tiers


def test_a_request_is_executed_three_times_at_a_tier_whatever_the_budget_would_pay_for():
    driver = roomy(PAYS_FOR_ALL)
    record = driver.arrive("batch")
    for execution in range(1, EXECUTIONS_MAX + 1):
        driver.finish(record, Verdict.TRANSIENT, after=0.001)
        while len(driver.calls[record]) == execution:
            driver.wait(0.01)
    assert driver.tiers(record) == ["large"] * EXECUTIONS_MAX + ["small"]


def wakeups(driver: Driver, seconds: float) -> int:
    """How often the machine wants to be woken while nothing else happens."""
    until, count = driver.now + seconds, 0
    while (at := driver.machine.next_wakeup()) is not None and at < until:
        driver.now, count = max(at, driver.now), count + 1
        driver.send(Tick())
    driver.now = until
    return count


def test_a_machine_in_which_only_a_paused_retry_waits_sleeps_until_the_pause_ends():
    driver = roomy()
    record = driver.arrive("batch")
    driver.finish(record, Verdict.BACKPRESSURE, after=0.01, retry_after=2.0)
    driver.send(BacklogSeen("batch", 0, 0.0))
    assert wakeups(driver, 1.9) <= 25  # the breaker looks at the fleet ten times a second after trouble
    driver.wait(0.2)
    assert driver.tiers(record) == ["large", "large"]


def test_a_machine_in_which_only_one_waits_for_the_next_tier_does_not_ask_all_the_time_whether_the_full_one_is_free():
    driver = Driver(stage(replace(LARGE, limit=4), SMALL, APOLOGY))
    driver.arrive("standard", budget=0.15, number=1)  # no time for the large tier: it holds the small one
    failed = driver.arrive("batch")
    driver.finish(failed, Verdict.BROKEN, after=0.01)
    driver.send(BacklogSeen("batch", 0, 0.0))
    assert driver.tiers(failed) == ["large"]
    assert wakeups(driver, 2.0) <= 25
