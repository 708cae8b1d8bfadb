"""What each gate of a stage shows: its figure beside its threshold."""

import pytest

from failsoft.policy.admission import AdmissionConfig
from failsoft.policy.events import BacklogSeen, Tick, Verdict
from failsoft.policy.settings import ClassSettings, TierSettings
from failsoft.policy.stage import GateName
from failsoft.policy.widening import WideningConfig
from tests.policy.driver import APOLOGY, BATCH, CLASSES, LARGE, SMALL, STANDARD, Driver, stage


def gate(driver: Driver, name: GateName, *, tier: str = "", request_class: str = "") -> tuple[float, float]:
    [found] = [
        (each.value, each.threshold)
        for each in driver.machine.gates
        if (each.name, each.tier, each.request_class) == (name, tier, request_class)
    ]
    return found


def fail(driver: Driver, verdict: Verdict, times: int) -> None:
    for _ in range(times):
        driver.finish(driver.arrive("batch"), verdict, after=0.01)


def test_every_gate_of_every_tier_and_class_is_shown_before_anything_has_happened():
    aimed = TierSettings("large", 1, limit=1, expected_seconds=0.2, target_seconds=1.0)
    found = [(each.name, each.tier, each.request_class) for each in Driver(stage(aimed, SMALL)).machine.gates]
    assert len(found) == len(set(found))
    assert {name for name, _, _ in found} == set(GateName)
    of_classes = {
        GateName.ADMISSION,
        GateName.BACKLOG_AGE,
        GateName.PATIENCE,
        GateName.ROOM_RECORDS,
        GateName.ROOM_BYTES,
    }
    for known in CLASSES:
        assert {name for name, tier, name_of in found if (tier, name_of) == ("", known.name)} == of_classes
        for tier in ("large", "small"):
            assert (GateName.RETRY_BUDGET, tier, known.name) in found
    of_tiers = set(GateName) - of_classes - {GateName.RETRY_BUDGET}
    assert {name for name, tier, name_of in found if (tier, name_of) == ("large", "")} == of_tiers
    assert {name for name, tier, name_of in found if (tier, name_of) == ("small", "")} == of_tiers - {GateName.LATENCY}


def test_a_constant_has_no_gates():
    assert not [each for each in Driver(stage(LARGE, APOLOGY)).machine.gates if each.tier == "apology"]


def test_calls_in_flight_stand_beside_the_permits():
    driver = Driver()
    assert gate(driver, GateName.PERMITS, tier="large") == (0, 1)
    driver.keep_busy("large")
    assert gate(driver, GateName.PERMITS, tier="large") == (1, 1)


def test_failed_calls_show_as_a_part_of_the_window_and_fade_with_it():
    driver = Driver(stage(TierSettings("large", 1, limit=4, expected_seconds=0.2), APOLOGY))
    for _ in range(3):
        driver.finish(driver.arrive("batch"), after=0.1)
    fail(driver, Verdict.BROKEN, 1)
    assert gate(driver, GateName.BREAKER_FAILURES, tier="large") == (0.25, 0.5)
    assert gate(driver, GateName.BREAKER_CALLS, tier="large") == (4, 10)
    driver.wait(60)
    driver.send(Tick())
    assert gate(driver, GateName.BREAKER_FAILURES, tier="large") == (0, 0.5)
    assert gate(driver, GateName.BREAKER_CALLS, tier="large") == (0, 10)


def test_calls_that_do_not_reach_an_endpoint_are_counted_up_to_the_one_that_opens_its_breaker():
    driver = Driver(stage(LARGE, APOLOGY))
    fail(driver, Verdict.UNREACHABLE, 4)
    assert gate(driver, GateName.BREAKER_UNREACHED, tier="large") == (4, 5)
    driver.finish(driver.arrive("batch"), after=0.1)
    assert gate(driver, GateName.BREAKER_UNREACHED, tier="large") == (0, 5)


def test_a_retry_is_paid_for_from_the_budget_of_its_tier_and_class():
    driver = Driver(stage(LARGE, APOLOGY))
    record = driver.arrive("batch")
    before, threshold = gate(driver, GateName.RETRY_BUDGET, tier="large", request_class="batch")
    driver.finish(record, Verdict.TRANSIENT, after=0.01)
    after, _ = gate(driver, GateName.RETRY_BUDGET, tier="large", request_class="batch")
    assert before - after == pytest.approx(1.0, abs=0.01)
    assert after < threshold == 1.0
    assert gate(driver, GateName.RETRY_BUDGET, tier="large", request_class="standard")[0] == pytest.approx(1.0)


def test_a_detector_of_widening_shows_its_score_while_it_rises():
    settings = stage(LARGE, APOLOGY, widening=WideningConfig(baseline_calls_min=100))
    driver = Driver(settings)
    for number in range(400):
        driver.finish(driver.arrive("batch"), after=0.1 + 0.001 * (number % 20))
    assert gate(driver, GateName.WIDENING, tier="large")[0] < 2
    for _ in range(5):
        driver.finish(driver.arrive("batch"), after=0.3)
    value, threshold = gate(driver, GateName.WIDENING, tier="large")
    assert 2 < value < threshold == 7.0


def test_who_waits_for_the_full_tier_shows_against_its_patience():
    driver = Driver()
    driver.keep_busy("large")
    assert gate(driver, GateName.PATIENCE, request_class="batch") == (0.0, 0.95 * 60)
    driver.arrive("batch", age=3.0)
    driver.wait(2.0)
    driver.send(Tick())
    waited, patience = gate(driver, GateName.PATIENCE, request_class="batch")
    assert waited == pytest.approx(5.0, abs=0.01)
    assert 50 < patience <= 57
    assert gate(driver, GateName.PATIENCE, request_class="interactive")[0] == 0.0


def test_what_is_in_memory_and_in_the_log_shows_against_its_bounds():
    driver = Driver(stage(records_max=50, bytes_max=1_000))
    driver.keep_busy("large")
    for _ in range(3):
        driver.arrive("batch", size=100)
    assert gate(driver, GateName.ROOM_RECORDS, request_class="batch") == (4, 50)
    assert gate(driver, GateName.ROOM_BYTES, request_class="batch")[1] == 1_000
    driver.send(BacklogSeen("batch", 10, 42.0))
    assert gate(driver, GateName.BACKLOG_AGE, request_class="batch") == (42.0, BATCH.deadline_seconds)


def test_pressure_shows_before_anybody_is_shed():
    strict = ClassSettings("interactive", 8, deadline_seconds=2, deadline_max_seconds=60, patience=0.1, floor=2)
    driver = Driver(stage(LARGE, APOLOGY, classes=(strict, STANDARD, BATCH), admission=AdmissionConfig()))
    for _ in range(6):
        driver.arrive("interactive")
    pressure, threshold = gate(driver, GateName.ADMISSION, request_class="interactive")
    assert pressure > 0
    assert threshold == pytest.approx(2 / 3)
    assert gate(driver, GateName.ADMISSION, request_class="batch")[0] == 0.0


def test_a_stage_of_several_regions_shows_each_gate_once():
    near = TierSettings("large", 1, limit=2, expected_seconds=0.2, regions=("eu", "us"))
    driver = Driver(stage(near, APOLOGY))
    driver.arrive("batch")
    assert gate(driver, GateName.PERMITS, tier="large")[0] == 1
    found = [(each.name, each.tier, each.request_class) for each in driver.machine.gates]
    assert len(found) == len(set(found))
