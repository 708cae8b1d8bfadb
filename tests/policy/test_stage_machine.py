from dataclasses import replace

import pytest

from failsoft.policy.actions import Forget
from failsoft.policy.errors import IllegalTransition
from failsoft.policy.events import (
    Assigned,
    BacklogSeen,
    CallFinished,
    DrainRequested,
    LatencySeen,
    Published,
    Revoked,
    SlotFreed,
    Verdict,
)
from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.profile import Profile
from failsoft.policy.progress import Progress
from failsoft.policy.request import Partition, RecordId
from failsoft.policy.settings import ClassSettings, TierSettings
from tests.policy.driver import APOLOGY, BATCH, INTERACTIVE, LARGE, MARGIN, SMALL, STANDARD, TINY, Driver, stage

FAILURES = [
    (Verdict.TIMEOUT, Reason.ENDPOINT_TIMEOUT),
    (Verdict.BACKPRESSURE, Reason.ENDPOINT_BACKPRESSURE),
    (Verdict.BROKEN, Reason.ENDPOINT_ERROR),
]
INTERACTIVE_0 = Partition("interactive", 0)


def demanding(floor: int) -> ClassSettings:
    """The interactive class, with a floor."""
    return ClassSettings("interactive", 8, deadline_seconds=2, deadline_max_seconds=60, patience=0.1, floor=floor)


# A request is served.


def test_a_request_that_fits_the_full_tier_is_served_by_it_at_once():
    driver = Driver()
    record = driver.arrive()
    assert driver.call(record).tier == "large"
    driver.finish(record, after=0.2)
    ending = driver.ending(record)
    assert (ending.outcome, ending.reason, ending.tier, ending.level) == (Outcome.OK, Reason.NONE, "large", 1)
    assert (ending.executions, ending.wanted_level) == (1, 1)
    assert (ending.queue_seconds, ending.call_seconds, ending.slack_seconds) == pytest.approx((0.0, 0.2, 1.8), abs=1e-5)
    assert driver.publishes[record][0].call_id == driver.calls[record][0].call_id


def test_the_wait_in_the_log_counts_as_waiting():
    driver = Driver()
    record = driver.arrive(age=0.5)
    assert driver.call(record).deadline_at == pytest.approx(driver.now + 1.5)
    driver.finish(record, after=0.2)
    assert driver.ending(record).queue_seconds == pytest.approx(0.5, abs=1e-5)


def test_the_window_leaves_time_for_the_next_tier_and_for_publishing():
    driver = Driver()
    record = driver.arrive(budget=1.0)
    reserve = driver.speed(1).q99 + MARGIN
    assert driver.call(record).window_ends_at == pytest.approx(driver.now + 1.0 - reserve)


# It has no time.


@pytest.mark.parametrize("age", [2.1, 60.0])
def test_a_request_past_its_deadline_on_arrival_is_never_called(age):
    driver = Driver()
    record = driver.arrive(age=age)
    ending = driver.ending(record)
    assert (ending.outcome, ending.reason, ending.executions) == (Outcome.EXPIRED, Reason.DEADLINE_PASSED, 0)
    assert ending.slack_seconds == pytest.approx(2 - age, abs=1e-5)
    assert not driver.calls[record]


def test_a_request_late_by_less_than_the_clocks_can_tell_still_gets_what_is_there_at_once():
    driver = Driver()
    record = driver.arrive(age=2.04)
    assert (driver.ending(record).outcome, driver.ending(record).tier) == (Outcome.OK, "apology")


def test_a_request_that_does_not_fit_the_full_tier_goes_to_the_next_one():
    driver = Driver()
    record = driver.wait_for_call(driver.arrive(budget=0.3), at_most=0.3)
    driver.finish(record, after=0.04)
    assert driver.tiers(record) == ["small"]
    assert (driver.ending(record).outcome, driver.ending(record).reason) == (Outcome.OK, Reason.DEADLINE_SHORT)


def test_a_request_that_does_not_fit_the_full_tier_does_not_wait_for_it():
    driver = Driver()
    record = driver.arrive(budget=0.3)
    assert driver.tiers(record) == ["small"]


def test_a_request_that_fits_no_model_gets_what_is_there_at_once():
    driver = Driver()
    record = driver.arrive(budget=0.08)
    ending = driver.ending(record)
    assert (ending.outcome, ending.tier, ending.level) == (Outcome.OK, "apology", 3)
    assert (ending.reason, ending.executions) == (Reason.DEADLINE_SHORT, 0)


def test_a_request_that_fits_no_model_is_unavailable_where_nothing_is_there_at_once():
    driver = Driver(stage(LARGE, SMALL))
    record = driver.arrive(budget=0.08)
    assert (driver.ending(record).outcome, driver.ending(record).reason) == (
        Outcome.UNAVAILABLE,
        Reason.DEADLINE_SHORT,
    )


# It waits.


def test_a_request_waits_for_the_full_tier_as_long_as_its_class_is_patient():
    driver = Driver()
    driver.keep_busy()
    record = driver.arrive()
    patience = 3 * driver.speed(0).mean  # three turnovers of one permit are more than a tenth of two seconds
    driver.wait(patience - 0.03)
    assert not driver.calls[record]
    driver.wait(0.06)
    assert driver.tiers(record) == ["small"]
    driver.finish(record)
    assert driver.ending(record).reason is Reason.QUEUE_LONG


def test_a_patient_class_waits_longer_than_an_urgent_one():
    driver = Driver()
    driver.keep_busy()
    record = driver.arrive("standard")
    driver.wait(4.9)
    assert not driver.calls[record]
    driver.wait(0.2)
    assert driver.tiers(record) == ["small"]


def test_a_permit_of_the_full_tier_that_becomes_free_takes_the_earliest_deadline():
    driver = Driver()
    busy = driver.keep_busy()
    patient, urgent = driver.arrive("standard"), driver.arrive("interactive")
    driver.finish(busy)
    assert driver.tiers(urgent) == ["large"]
    assert not driver.calls[patient]


def test_a_full_tier_passes_over_a_head_that_it_cannot_serve_safely():
    driver = Driver(stage(LARGE, SMALL, classes=[BATCH]))
    slow, busy = driver.keep_busy("small"), driver.keep_busy()
    short, long = driver.arrive("batch", budget=0.6), driver.arrive("batch", budget=5.0)
    driver.wait(0.1)
    driver.finish(busy)
    assert driver.tiers(long) == ["large"]
    assert not driver.calls[short]
    driver.finish(slow)
    driver.wait(0.3)
    assert driver.tiers(short) == ["small"]


def test_a_lower_tier_takes_a_request_before_it_would_be_late_however_patient_its_class():
    driver = Driver()
    driver.keep_busy()
    record = driver.arrive("batch", budget=0.6)
    driver.wait_for_call(record)
    assert driver.tiers(record) == ["small"]
    needed = driver.speed(1).q99 + MARGIN
    assert driver.call(record).deadline_at - driver.now >= needed


def test_a_short_deadline_among_long_ones_is_seen_in_time():
    """The spare time of those who wait says nothing about one who comes later."""
    driver = Driver(stage(LARGE, SMALL, APOLOGY, classes=[STANDARD, BATCH]))
    driver.keep_busy()
    driver.arrive("batch", budget=600)
    driver.wait(0.1)
    record = driver.arrive("batch", budget=0.6)
    driver.wait_for_call(record)
    assert driver.tiers(record) == ["small"]


def test_a_short_deadline_behind_a_head_that_the_tier_cannot_serve_is_seen_in_time():
    medium = TierSettings("medium", 2, limit=1, expected_seconds=0.1)
    driver = Driver(stage(LARGE, medium, TINY, APOLOGY))
    driver.keep_busy("tiny")
    driver.keep_busy("large")
    driver.arrive("batch", budget=600)
    head = driver.arrive("batch", budget=0.13, floor=2)
    record = driver.arrive("batch", budget=0.9, floor=2)
    driver.wait_for_call(record)
    assert driver.ending(head).outcome is Outcome.UNAVAILABLE
    assert driver.tiers(record) == ["medium"]
    assert driver.call(record).deadline_at - driver.now >= driver.speed(1).q99 + MARGIN


def test_a_log_deeper_than_the_full_tier_works_off_in_time_lets_a_lower_tier_take_the_head():
    driver = Driver()
    driver.keep_busy()
    record = driver.arrive()
    assert not driver.calls[record]
    driver.send(BacklogSeen("standard", 10_000, 1.0))
    assert not driver.calls[record]
    driver.send(BacklogSeen("interactive", 10_000, 1.0))
    assert driver.tiers(record) == ["small"]


def test_a_queue_that_the_full_tier_does_not_work_off_in_time_lets_a_lower_tier_take_its_head():
    driver = Driver()
    driver.keep_busy()
    first, *others = [driver.arrive() for _ in range(4)]  # patience is three turnovers of one permit
    assert driver.tiers(first) == ["small"]
    assert not any(driver.calls[record] for record in others)


def test_a_stage_of_which_nothing_is_known_comes_to_its_full_tier_within_a_few_requests():
    driver = Driver(stage(replace(LARGE, expected_seconds=None), replace(SMALL, expected_seconds=None), APOLOGY))
    served = []
    for _ in range(8):
        record = driver.arrive()
        driver.finish(record, after=0.02)
        served.append(driver.ending(record).level)
    assert served[-1] == 1


@pytest.mark.parametrize("said", [0.05, 0.2])
def test_a_worker_that_has_just_started_chooses_as_one_that_has_measured_from_its_first_request_on(said):
    slow = stage(replace(LARGE, expected_seconds=said), SMALL, APOLOGY)
    warm, cold, alone = Driver(slow), Driver(slow), Driver(slow)
    warm.machine.take_latency()
    for _ in range(40):  # bulk has the time that the large tier takes
        warm.finish(warm.arrive("batch"), after=0.8)
    told = warm.machine.take_latency()
    assert told.keys() == {"large"}
    cold.send(LatencySeen("answer/large", told["large"]))
    first = [driver.tiers(driver.arrive(budget=0.8)) for driver in (warm, cold, alone)]
    assert first == [["small"], ["small"], ["large"]]


def test_what_the_fleet_says_of_other_endpoints_changes_nothing():
    driver = Driver()
    driver.send(LatencySeen("find/large", Profile()))
    driver.send(LatencySeen("answer/gone", Profile()))
    assert driver.tiers(driver.arrive()) == ["large"]


# A call fails.


@pytest.mark.parametrize(("verdict", "reason"), FAILURES)
def test_what_one_tier_fails_the_next_one_serves_at_once(verdict, reason):
    driver = Driver()
    record = driver.arrive()
    driver.finish(record, verdict, after=0.1)
    assert driver.tiers(record) == ["large", "small"]
    assert driver.call(record).execution == 2
    driver.finish(record, after=0.04)
    ending = driver.ending(record)
    assert (ending.outcome, ending.tier, ending.reason) == (Outcome.OK, "small", reason)
    assert ending.executions == 2
    assert ending.call_seconds == pytest.approx(0.14)


@pytest.mark.parametrize(("verdict", "reason"), FAILURES)
def test_no_tier_is_called_twice_for_one_request(verdict, reason):
    driver = Driver(stage(LARGE, SMALL, TINY, APOLOGY))
    record = driver.arrive()
    for _ in range(3):
        driver.finish(record, verdict)
    assert driver.tiers(record) == ["large", "small", "tiny"]
    ending = driver.ending(record)
    assert (ending.outcome, ending.tier, ending.reason, ending.executions) == (Outcome.OK, "apology", reason, 3)


@pytest.mark.parametrize("verdict", [Verdict.TRANSIENT, Verdict.UNREACHABLE])
def test_what_fails_fast_for_a_reason_that_passes_is_tried_again_at_the_same_tier(verdict):
    driver = Driver()
    record = driver.arrive()
    driver.finish(record, verdict, after=0.01)
    assert driver.tiers(record) == ["large"]
    driver.wait(0.6)
    assert driver.tiers(record) == ["large", "large"]
    driver.finish(record)
    assert (driver.ending(record).level, driver.ending(record).reason) == (1, Reason.NONE)
    assert driver.ending(record).executions == 2


def test_an_endpoint_that_answers_with_refusals_has_not_stalled():
    driver = roomy()
    for _ in range(3):
        hung = driver.arrive()
        driver.finish(driver.arrive(), Verdict.REFUSED, after=0.01)
        driver.time_out(hung)
        driver.finish(hung)
    assert len({driver.tiers(driver.arrive())[0] for _ in range(4)}) == 1


def test_what_fails_slowly_goes_to_the_next_tier_at_once():
    driver = Driver()
    record = driver.arrive()
    driver.finish(record, Verdict.TRANSIENT, after=driver.speed(0).q50 + 0.01)
    assert driver.tiers(record) == ["large", "small"]


def roomy() -> Driver:
    """With four permits a tier."""
    return Driver(stage(replace(LARGE, limit=4), replace(SMALL, limit=4), APOLOGY))


def test_a_retry_that_the_budget_does_not_pay_for_is_the_next_tier():
    driver = roomy()
    records = [driver.arrive() for _ in range(3)]
    for record in records:
        driver.finish(record, Verdict.TRANSIENT, after=0.001)
    driver.wait(0.6)
    assert [driver.tiers(record)[1] for record in records] == ["large", "small", "small"]


def test_a_busy_endpoint_that_says_when_is_waited_for_as_long_as_the_class_is_patient():
    driver = roomy()
    soon, late = driver.arrive("standard"), driver.arrive("standard")
    driver.finish(late, Verdict.BACKPRESSURE, after=0.001, retry_after=50.0)
    assert driver.tiers(late) == ["large", "small"]
    driver.finish(soon, Verdict.BACKPRESSURE, after=0.001, retry_after=1.0)
    assert driver.tiers(soon) == ["large"]
    driver.wait(1.1)
    assert driver.tiers(soon) == ["large", "large"]


def test_an_endpoint_that_keeps_failing_is_not_called_until_its_breaker_lets_a_probe_through():
    driver = roomy()
    for _ in range(10):
        record = driver.arrive()
        driver.finish(record, Verdict.BROKEN, after=0.05)
        driver.finish(record)
    held = driver.arrive()
    assert driver.tiers(held) == ["small"]
    driver.finish(held)
    assert driver.ending(held).reason is Reason.BREAKER_OPEN
    driver.wait(10.0)
    probe = driver.arrive()
    assert driver.tiers(probe) == ["large"]


def test_when_the_window_ends_there_is_time_for_the_next_tier():
    driver = Driver()
    record = driver.arrive()
    driver.time_out(record)
    call = driver.call(record)
    assert call.tier == "small"
    assert call.window_ends_at - driver.now >= driver.speed(1).q99
    assert call.window_ends_at + MARGIN <= call.deadline_at + 1e-9


def test_whom_a_tier_has_failed_is_first_in_line_at_the_next_one():
    driver = Driver()
    busy = driver.keep_busy("small")
    failed = driver.arrive()
    refused = [driver.arrive() for _ in range(5)]
    driver.finish(failed, Verdict.BROKEN)
    assert driver.tiers(failed) == ["large"]
    driver.finish(busy)
    assert driver.tiers(failed) == ["large", "small"]
    assert all("small" not in driver.tiers(record) for record in refused)


def test_a_fallback_gives_its_permit_back():
    driver = Driver()
    first, second = driver.arrive(), driver.arrive()
    driver.finish(first, Verdict.BROKEN)
    assert driver.tiers(second) == ["large"]


def test_a_request_that_a_model_refuses_ends_there_as_invalid():
    driver = Driver()
    record = driver.arrive()
    driver.finish(record, Verdict.REFUSED)
    ending = driver.ending(record)
    assert (ending.outcome, ending.reason) == (Outcome.INVALID, Reason.REQUEST_REFUSED)
    assert driver.tiers(record) == ["large"]
    assert driver.publishes[record][0].call_id == driver.calls[record][0].call_id


@pytest.mark.parametrize(("verdict", "reason"), FAILURES)
def test_a_request_that_all_tiers_fail_has_failed(verdict, reason):
    driver = Driver(stage(LARGE, SMALL))
    record = driver.arrive()
    driver.finish(record, verdict)
    driver.finish(record, verdict)
    ending = driver.ending(record)
    assert (ending.outcome, ending.reason, ending.tier) == (Outcome.FAILED, reason, None)
    assert driver.publishes[record][0].call_id is None


def test_a_request_whose_last_call_ends_after_its_deadline_has_expired_and_says_on_what():
    driver = Driver(stage(LARGE))
    record = driver.arrive()
    driver.finish(record, Verdict.TIMEOUT, after=2.1)
    assert driver.ending(record).outcome is Outcome.EXPIRED
    assert driver.ending(record).reason is Reason.ENDPOINT_TIMEOUT


# Floors.


def test_a_request_that_asks_for_a_higher_floor_waits_for_it_half_a_minute_at_most():
    driver = Driver()
    driver.keep_busy()
    record = driver.arrive("batch", budget=600, floor=1)
    ending = driver.wait_for_end(record, at_most=30.1)
    assert (ending.outcome, ending.reason) == (Outcome.UNAVAILABLE, Reason.FLOOR)
    assert not driver.calls[record]
    assert ending.queue_seconds > 29


def test_a_request_that_asks_for_a_higher_floor_is_served_by_the_full_tier_when_that_is_free():
    driver = Driver()
    busy = driver.keep_busy()
    record = driver.arrive("batch", budget=600, floor=1)
    driver.wait(20)
    driver.finish(busy)
    driver.finish(record, after=0.2)
    assert (driver.ending(record).outcome, driver.ending(record).level) == (Outcome.OK, 1)


def test_a_request_may_not_ask_for_less_than_its_class():
    driver = Driver(stage(LARGE, SMALL, APOLOGY, classes=[demanding(1), BATCH]))
    driver.keep_busy()
    record = driver.arrive(floor=3)
    assert driver.wait_for_end(record, at_most=2).outcome is Outcome.UNAVAILABLE
    assert not driver.calls[record]


def test_a_class_whose_floor_has_nothing_left_is_unavailable_and_never_answered_from_below():
    driver = Driver(stage(LARGE, APOLOGY, classes=[demanding(2), BATCH]))
    driver.keep_busy()
    record = driver.arrive()
    ending = driver.wait_for_end(record, at_most=2)
    assert (ending.outcome, ending.reason, ending.tier) == (Outcome.UNAVAILABLE, Reason.FLOOR, None)


def test_a_class_with_a_floor_is_served_by_the_tiers_above_it():
    driver = Driver(stage(LARGE, SMALL, APOLOGY, classes=[demanding(2)]))
    record = driver.arrive()
    driver.finish(record, Verdict.BROKEN)
    driver.finish(record)
    assert (driver.ending(record).outcome, driver.ending(record).level) == (Outcome.OK, 2)


def test_a_tier_below_the_floor_is_not_reserved_for():
    driver = Driver()
    record = driver.arrive(budget=1.0, floor=1)
    assert driver.call(record).window_ends_at == pytest.approx(driver.now + 1.0 - MARGIN)


def test_a_higher_floor_than_any_tier_reaches_is_unavailable():
    driver = Driver(stage(SMALL, APOLOGY))
    record = driver.arrive(floor=1)
    assert (driver.ending(record).outcome, driver.ending(record).reason) == (Outcome.UNAVAILABLE, Reason.FLOOR)


# What cannot be read.


def test_a_malformed_record_is_invalid_and_a_dead_letter_and_never_called():
    driver = Driver()
    record = driver.arrive(is_malformed=True)
    ending = driver.ending(record)
    assert (ending.outcome, ending.reason, ending.dead_letter) == (Outcome.INVALID, Reason.MALFORMED, True)
    assert not driver.calls[record]
    driver.acknowledge(record)
    assert driver.moved() == {INTERACTIVE_0: (1, 1)}


# Offsets.


def test_an_offset_is_committed_when_its_result_and_all_before_it_are_acknowledged():
    driver = Driver(stage(TierSettings("large", 1, limit=3, expected_seconds=0.2)))
    records = [driver.arrive() for _ in range(3)]
    for record in records:
        driver.finish(record)
    assert driver.moved() == {}
    committed = []
    for index in (1, 0, 2):
        driver.acknowledge(records[index])
        committed.append(driver.moved())
    assert committed == [{}, {INTERACTIVE_0: (1, 2)}, {INTERACTIVE_0: (1, 3)}]


def test_finished_work_is_committed_every_second():
    driver = Driver()
    driver.wait(5)
    record = driver.arrive()
    driver.finish(record)
    driver.acknowledge(record)
    driver.wait(1.01)
    assert driver.commits == [{INTERACTIVE_0: (1, 1)}]
    driver.wait(10)
    assert len(driver.commits) == 1
    assert driver.machine.next_wakeup() is None


def test_a_record_that_comes_twice_is_run_once_and_kept_for_the_run():
    driver = Driver()
    record = driver.arrive()
    assert driver.send(driver.arrival(record)) == []
    driver.finish(record)
    driver.acknowledge(record)
    assert driver.send(driver.arrival(record)) == [Forget(record)]
    assert len(driver.calls[record]) == 1


# Partitions come and go.


def lose(driver: Driver, number: int = 0) -> None:
    """Lose the partitions of one number."""
    driver.send(Revoked(frozenset(p for p in driver.partitions if p.number == number), 0.5))


def gain(driver: Driver, position: int = 0) -> None:
    """Get the partitions of number 0 back, by a later assignment."""
    driver.send(Assigned({p: Progress(position) for p in driver.partitions if p.number == 0}, 2, 1.0))


def test_what_runs_waits_or_is_being_published_of_a_lost_partition_is_void():
    driver = Driver()
    published = driver.arrive()
    driver.finish(published)
    running, waiting = driver.arrive(), driver.arrive()
    lose(driver)
    assert set(driver.forgotten) == {published, running, waiting}
    assert driver.cancelled == [driver.calls[running][0].call_id]
    assert sum(driver.machine.waiting.values()) == 0


def test_a_cancelled_call_keeps_its_permit_until_it_is_over_and_then_publishes_nothing():
    driver = Driver(stage(LARGE, classes=[INTERACTIVE, BATCH]))
    lost = driver.arrive()
    kept = driver.arrive(number=1)
    call = driver.call(lost)
    lose(driver)
    assert not driver.calls[kept]
    driver.send(CallFinished(call.call_id, Verdict.OK))
    assert driver.tiers(kept) == ["large"]
    assert not driver.publishes[lost]


def test_a_late_acknowledgement_of_an_earlier_assignment_moves_nothing():
    driver = Driver()
    record = driver.arrive()
    driver.finish(record)
    lose(driver)
    gain(driver)
    driver.send(driver.arrival(record))
    driver.send(Published(record, 1))
    assert driver.moved() == {}
    assert driver.send(driver.arrival(record)) == [], "it is still in hand"
    driver.finish(record)
    driver.send(Published(record, 2))
    assert driver.moved() == {INTERACTIVE_0: (2, 1)}


def test_what_a_worker_has_finished_itself_is_not_run_again_when_its_partition_comes_back():
    driver = Driver()
    published, acknowledged_late = driver.arrive(), driver.arrive()
    for record in (published, acknowledged_late):
        driver.finish(record)
    driver.acknowledge(published)
    lose(driver)
    driver.send(Published(acknowledged_late, 1))
    gain(driver)
    for record in (published, acknowledged_late):
        assert driver.send(driver.arrival(record)) == [Forget(record)]
    assert driver.moved() == {INTERACTIVE_0: (2, 2)}


def test_a_late_end_of_a_call_of_an_earlier_assignment_is_not_the_answer_of_the_new_one():
    driver = Driver()
    record = driver.arrive()
    stale = driver.call(record)
    lose(driver)
    gain(driver)
    driver.send(driver.arrival(record, budget=60))
    driver.send(CallFinished(stale.call_id, Verdict.OK))
    assert not driver.publishes[record]
    driver.finish(record)
    assert driver.publishes[record][0].call_id != stale.call_id


def test_partitions_that_stay_go_on():
    driver = Driver()
    running = driver.arrive(number=1)
    waiting = driver.arrive(number=1)
    lose(driver, number=0)
    assert (driver.cancelled, driver.forgotten) == ([], [])
    driver.finish(running)
    driver.finish(waiting)
    for record in (running, waiting):
        driver.acknowledge(record)
    assert driver.moved() == {Partition("interactive", 1): (1, 2)}


def test_records_of_a_partition_that_is_not_ours_are_forgotten():
    driver = Driver()
    record = RecordId("interactive", 7, 0)
    assert driver.send(driver.arrival(record)) == [Forget(record)]


def test_permits_follow_the_partitions():
    driver = Driver(stage(TierSettings("large", 1, limit=4)))
    assert driver.machine.permits == {"large": (0, 4)}
    driver.send(Revoked(frozenset({INTERACTIVE_0}), 0.5))
    assert driver.machine.permits == {"large": (0, 2)}
    driver.send(Revoked(driver.partitions, 0.0))
    assert driver.machine.permits == {"large": (0, 0)}


# The end.


def test_a_drain_forgets_what_was_not_started_and_finishes_what_was():
    driver = Driver()
    running, failed, busy, waiting = (driver.arrive() for _ in range(4))
    driver.finish(running, Verdict.BROKEN)
    driver.finish(failed, Verdict.BROKEN)
    assert [driver.tiers(record) for record in (running, failed, busy)] == [["large", "small"], ["large"], ["large"]]
    driver.send(DrainRequested())
    assert driver.forgotten == [waiting]
    driver.finish(running)
    driver.finish(failed)
    driver.finish(busy)
    assert not driver.machine.is_drained, "results are not acknowledged yet"
    for record in (running, failed, busy):
        assert driver.ending(record).outcome is Outcome.OK
        driver.acknowledge(record)
    assert driver.machine.is_drained


def test_a_drain_commits_nothing_that_was_not_finished():
    driver = Driver()
    running, waiting = driver.arrive(), driver.arrive()
    driver.send(DrainRequested())
    assert driver.forgotten == [waiting]
    driver.finish(running)
    driver.acknowledge(running)
    assert driver.machine.is_drained
    assert driver.moved() == {INTERACTIVE_0: (1, 1)}


def test_a_record_that_comes_after_the_drain_began_is_left_to_the_next_owner():
    driver = Driver()
    driver.send(DrainRequested())
    record = driver.arrive()
    assert driver.forgotten == [record]
    assert not driver.calls[record]
    assert driver.machine.is_drained
    assert driver.moved() == {}


# Permits.


def test_a_call_that_cannot_be_cut_holds_its_permit_until_it_is_really_over():
    driver = Driver()
    record = driver.arrive()
    call = driver.call(record)
    driver.time_out(record, is_over=False)
    assert driver.tiers(record) == ["large", "small"], "the request does not wait for it"
    other = driver.arrive("batch")
    driver.wait(1)
    assert not driver.calls[other]
    driver.send(SlotFreed(call.call_id))
    assert driver.tiers(other) == ["large"]
    assert not driver.machine.is_drained


def test_a_drain_waits_for_a_call_that_cannot_be_cut():
    driver = Driver(stage(LARGE))
    record = driver.arrive()
    call = driver.call(record)
    driver.time_out(record, is_over=False)
    driver.acknowledge(record)
    driver.send(DrainRequested())
    assert not driver.machine.is_drained
    driver.send(SlotFreed(call.call_id))
    assert driver.machine.is_drained


def test_a_call_that_was_never_started_or_is_over_cannot_finish():
    driver = Driver()
    with pytest.raises(IllegalTransition, match="call 42 finished twice, or was never started"):
        driver.send(CallFinished(42, Verdict.OK))
    record = driver.arrive()
    call = driver.call(record)
    driver.finish(record)
    with pytest.raises(IllegalTransition, match=f"call {call.call_id} finished twice"):
        driver.send(CallFinished(call.call_id, Verdict.OK))


# Room.


def test_room_is_bounded_by_records():
    driver = Driver(stage(records_max=3))
    records = [driver.arrive("batch") for _ in range(2)]
    assert driver.machine.room() == {"interactive": 3, "standard": 3, "batch": 1}
    records.append(driver.arrive("batch"))
    assert driver.machine.room()["batch"] == 0
    driver.finish(records[0])
    assert driver.machine.room()["batch"] == 0, "held until its result is acknowledged"
    driver.acknowledge(records[0])
    assert driver.machine.room()["batch"] == 1


def test_room_is_bounded_by_bytes():
    driver = Driver(stage(bytes_max=1_000))
    record = driver.arrive("batch", size=999)
    assert driver.machine.room()["batch"] > 0
    driver.arrive("batch", size=1)
    assert driver.machine.room() == {"interactive": 2_000, "standard": 2_000, "batch": 0}
    driver.finish(record)
    driver.acknowledge(record)
    assert driver.machine.room()["batch"] == 1_999


def test_a_lost_partition_and_a_malformed_record_give_their_room_back():
    driver = Driver(stage(records_max=5, bytes_max=500))
    malformed = driver.arrive(is_malformed=True)
    for _ in range(3):
        driver.arrive()
    driver.acknowledge(malformed)
    lose(driver)
    assert driver.machine.room()["interactive"] == 5


def test_there_is_no_room_while_draining():
    driver = Driver()
    driver.send(DrainRequested())
    assert set(driver.machine.room().values()) == {0}


# Probes.


SLOW = TierSettings("slow", 1, limit=1, expected_seconds=10.0)


def test_a_declared_latency_is_trusted_for_half_a_minute_and_then_tried():
    driver = Driver(stage(SLOW, APOLOGY))
    first = driver.arrive()
    assert driver.ending(first).tier == "apology"
    driver.wait(29)
    assert driver.ending(driver.arrive()).tier == "apology"
    driver.wait(1.1)
    probe, other = driver.arrive(), driver.arrive()
    assert driver.tiers(probe) == ["slow"]
    assert driver.call(probe).window_ends_at <= driver.now + 2 - MARGIN
    assert driver.ending(other).tier == "apology", "one is enough"


def test_a_tier_whose_latency_nobody_declared_is_tried_at_once():
    driver = Driver(stage(TierSettings("unknown", 1, limit=1), APOLOGY))
    record = driver.arrive(budget=0.5)
    assert driver.tiers(record) == ["unknown"]
    driver.finish(record, after=0.1)
    assert driver.ending(record).level == 1


def test_an_idle_full_tier_is_tried_by_one_that_the_next_tier_could_still_serve():
    driver = Driver(stage(SLOW, SMALL, APOLOGY))
    driver.finish(driver.wait_for_call(driver.arrive()))
    driver.wait(30.1)
    probe = driver.arrive()
    assert driver.tiers(probe) == ["slow"]
    driver.time_out(probe)
    assert driver.tiers(probe) == ["slow", "small"]


def test_a_probe_by_one_without_hope_has_a_window_of_more_than_nothing():
    driver = Driver()
    driver.wait(1)
    driver.ending(driver.arrive(budget=0.08))
    driver.wait(31)
    record = driver.arrive(budget=0.08)
    call = driver.call(record)
    assert driver.now < call.window_ends_at <= call.deadline_at - MARGIN + 1e-9


def test_a_tier_that_has_stopped_answering_is_probed_with_one_call_at_a_time():
    driver = Driver(stage(TierSettings("large", 1, limit=4, expected_seconds=0.2), SMALL, APOLOGY))
    hung = [driver.arrive("batch") for _ in range(4)]
    waiting = [driver.arrive("batch") for _ in range(8)]
    for record in hung:
        driver.time_out(record)
    assert driver.machine.permits["large"] == (1, 4)
    (probe,) = [record for record in waiting if driver.calls[record]]
    driver.finish(probe, after=0.2)
    assert driver.machine.permits["large"] == (2, 4)


# Between classes.


def test_an_interactive_flood_leaves_the_other_classes_their_share_of_the_full_tier():
    """Twice what the full tier can do in interactive requests, a quarter of it each in the other classes, for 20 s."""
    tiers = (TierSettings("large", 1, limit=4, expected_seconds=0.2), TierSettings("small", 2, 8, 0.04), APOLOGY)
    driver = Driver(stage(*tiers))
    sent = driver.play(
        arrivals=[
            *((at / 40, "interactive") for at in range(20 * 40)),
            *((at / 5, "standard") for at in range(20 * 5)),
            *((at / 5, "batch") for at in range(20 * 5)),
        ],
        service={"large": 0.2, "small": 0.04},
    )
    full = {
        name: sum(driver.ending(record).tier == "large" for record in records) / len(records)
        for name, records in sent.items()
    }
    assert all(driver.ending(record).outcome is Outcome.OK for records in sent.values() for record in records)
    assert full["standard"] >= 0.9
    assert full["batch"] >= 0.9
    assert 0.2 < full["interactive"] < 0.6


@pytest.mark.parametrize("load", [0.3, 0.9])
def test_below_its_capacity_the_full_tier_serves_everybody(load):
    driver = Driver()
    sent = driver.play(arrivals=[(at * 0.2 / load, "interactive") for at in range(50)], service={"large": 0.2})
    assert {driver.ending(record).tier for record in sent["interactive"]} == {"large"}
