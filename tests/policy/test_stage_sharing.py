"""Equal requests in the stage: one execution for all of them, each with its own end; answers of the past; who is shed."""

import pytest

from failsoft.policy.actions import CancelCall, Forget, Release
from failsoft.policy.admission import AdmissionConfig
from failsoft.policy.answer import AnswerName, Freshness
from failsoft.policy.answers import AnswersConfig
from failsoft.policy.breaker_states import State
from failsoft.policy.coalescing import CoalescingConfig
from failsoft.policy.events import Assigned, BacklogSeen, CallFinished, DrainRequested, Revoked, Verdict
from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.progress import Progress
from failsoft.policy.request import Partition, RecordId
from failsoft.policy.settings import ClassSettings, TierSettings
from tests.policy.driver import APOLOGY, BATCH, LARGE, SMALL, STANDARD, Driver, stage

CACHED = TierSettings("cached", 3, limit=None, is_cached=True)


def occupy_small(driver: Driver):
    """Hold the permit of the small tier, with a request that has no time for the large one."""
    record = driver.arrive("standard", budget=0.15, number=1)
    assert driver.call(record).tier == "small"
    return record


def outcomes(driver: Driver, *records):
    return [driver.ending(record).outcome for record in records]


# One execution.


def test_equal_requests_are_computed_once_and_each_gets_a_result():
    driver = Driver()
    leader, *followers = [driver.arrive(name, key="k") for name in ("batch", "standard", "interactive", "interactive")]
    driver.finish(leader, after=0.2)
    assert [len(driver.calls[record]) for record in (leader, *followers)] == [1, 0, 0, 0]
    for record in (leader, *followers):
        ending = driver.ending(record)
        assert (ending.outcome, ending.tier, ending.executions) == (Outcome.OK, "large", 1)
        assert driver.publishes[record][0].call_id == driver.calls[leader][0].call_id
    assert driver.publishes[leader][0].leader is None
    assert [driver.publishes[record][0].leader for record in followers] == [leader] * 3


def test_other_contents_and_requests_without_a_key_share_nothing():
    driver = Driver(stage(TierSettings("large", 1, limit=9, expected_seconds=0.2), APOLOGY))
    records = [driver.arrive(key=key) for key in ("k", "l", None, None)]
    assert [len(driver.calls[record]) for record in records] == [1, 1, 1, 1]


def test_a_followers_body_is_dropped_at_once_and_the_leaders_when_the_call_is_over():
    driver = Driver()
    leader, follower = driver.arrive(key="k"), driver.arrive(key="k")
    assert driver.released == [follower]
    driver.finish(leader, after=0.2)
    assert driver.released == [follower, leader]


def test_followers_take_no_room_from_others():
    driver = Driver(stage(records_max=3, bytes_max=1_000))
    for _ in range(50):
        driver.arrive(key="k", size=500)
    assert driver.machine.room()["interactive"] == 2


def test_a_request_joins_an_execution_that_waits_and_an_urgent_one_takes_it_along():
    driver = Driver(stage(LARGE, SMALL, APOLOGY))
    busy = driver.keep_busy("large"), occupy_small(driver)
    waiting = driver.arrive("batch", key="k")
    before = driver.arrive("standard")
    urgent = driver.arrive("interactive", key="k")
    driver.finish(busy[0])
    assert driver.call(waiting).tier == "large"
    assert not driver.calls[before]
    driver.finish(waiting, after=0.1)
    assert outcomes(driver, waiting, urgent) == [Outcome.OK, Outcome.OK]


def test_each_waiter_leaves_at_its_own_deadline_and_the_execution_goes_on_for_the_rest():
    driver = Driver(stage(LARGE, APOLOGY))
    patient = driver.arrive("batch", key="k")
    hasty = driver.arrive("interactive", key="k", budget=0.6)
    driver.wait(0.56)
    ending = driver.ending(hasty)
    assert (ending.tier, ending.reason) == ("apology", Reason.ENDPOINT_TIMEOUT)
    assert ending.slack_seconds >= 0
    assert not driver.publishes[patient]
    assert not driver.cancelled
    driver.finish(patient, after=0.05)
    assert driver.ending(patient).tier == "large"


def test_who_cannot_wait_for_the_end_of_the_call_goes_on_to_the_next_tier_with_the_same_body():
    driver = Driver()
    patient = driver.arrive("batch", key="k")
    hasty = [driver.arrive("interactive", key="k", budget=budget) for budget in (0.6, 0.601)]
    driver.wait(0.53)
    first, second = driver.calls[patient]
    assert (first.tier, second.tier) == ("large", "small")
    assert second.window_ends_at > driver.now
    driver.send(CallFinished(second.call_id, Verdict.OK))
    assert [driver.ending(record).tier for record in hasty] == ["small", "small"]
    assert not driver.publishes[patient]


def test_a_herd_that_has_too_little_time_to_be_sure_is_one_call_all_the_same():
    slow = TierSettings("large", 1, limit=16, expected_seconds=3.0)
    driver = Driver(stage(slow, APOLOGY))
    herd = []
    for _ in range(200):
        herd.append(driver.arrive(key="k", budget=5.0))
        driver.wait(0.001)
    assert sum(len(driver.calls[record]) for record in herd) == 1
    driver.finish(herd[0], after=3.0)
    assert {driver.ending(record).tier for record in herd} == {"large"}


def test_one_with_little_time_who_comes_first_does_not_cost_the_others_their_level():
    slow = TierSettings("large", 1, limit=16, expected_seconds=3.0)
    driver = Driver(stage(slow, APOLOGY))
    hasty = driver.arrive(key="k", budget=4.0)
    patient = [driver.arrive("batch", key="k") for _ in range(20)]
    driver.finish(hasty, Verdict.TIMEOUT, after=3.9)
    driver.finish(patient[0], after=0.1)
    assert driver.ending(hasty).tier == "apology"
    assert {driver.ending(record).tier for record in patient} == {"large"}
    assert sum(len(driver.calls[record]) for record in (hasty, *patient)) == 2


def test_while_the_full_tier_is_stopped_a_herd_is_one_call_of_the_next():
    driver = Driver(stage(LARGE, TierSettings("small", 2, limit=32, expected_seconds=0.04), APOLOGY))
    for _ in range(5):
        driver.finish(driver.arrive("batch"), Verdict.UNREACHABLE, after=0.01)
    assert driver.machine.conditions["large"].state is State.OPEN
    herd = [driver.arrive(name, key="k") for name in ("interactive", "standard", "batch") * 20]
    driver.wait(0.001)
    calls = [driver.tiers(record) for record in herd if driver.calls[record]]
    assert calls == [["small"]]
    driver.finish(herd[0], after=0.04)
    assert {driver.ending(record).tier for record in herd} == {"small"}


def test_a_failed_execution_falls_back_once_for_all():
    driver = Driver()
    leader, *followers = [driver.arrive(key="k") for _ in range(20)]
    driver.finish(leader, Verdict.BROKEN, after=0.1)
    assert driver.tiers(leader) == ["large", "small"]
    driver.finish(leader, after=0.04)
    assert {driver.ending(record).tier for record in (leader, *followers)} == {"small"}
    assert {driver.ending(record).executions for record in (leader, *followers)} == {2}


def test_a_passing_failure_is_retried_once_however_many_wait():
    driver = Driver()
    leader, *_ = [driver.arrive("batch", key="k") for _ in range(20)]
    driver.finish(leader, Verdict.TRANSIENT, after=0.01)
    driver.wait_for_call(leader)
    driver.wait(5)
    assert driver.tiers(leader) == ["large", "large"]
    driver.finish(leader, Verdict.TRANSIENT, after=0.01)
    driver.wait(5)
    assert driver.tiers(leader) == ["large", "large", "small"]


def test_who_joins_an_execution_that_pauses_before_a_retry_does_not_pause_past_its_own_deadline():
    driver = Driver(stage(LARGE, APOLOGY))
    patient = driver.arrive("batch", key="k")
    driver.finish(patient, Verdict.TRANSIENT, after=0.01)
    hasty = driver.arrive("interactive", key="k", budget=0.06)
    assert driver.ending(hasty).tier == "apology"
    assert not driver.publishes[patient]
    driver.wait(5)
    assert driver.tiers(patient) == ["large", "large"]


def test_what_the_model_refuses_is_refused_for_all_and_for_those_who_ask_right_after():
    driver = Driver()
    leader, follower = driver.arrive(key="k"), driver.arrive(key="k")
    driver.finish(leader, Verdict.REFUSED, after=0.1)
    late = driver.arrive(key="k")
    for record in (leader, follower, late):
        assert (driver.ending(record).outcome, driver.ending(record).reason) == (
            Outcome.INVALID,
            Reason.REQUEST_REFUSED,
        )
    driver.wait(3)
    assert driver.call(driver.arrive(key="k")).tier == "large"


def test_a_request_does_not_join_a_lower_tier_while_the_full_one_may_take_it():
    driver = Driver()
    busy = driver.keep_busy("large")
    hasty = driver.arrive(key="k", budget=0.2)
    assert driver.call(hasty).tier == "small"
    patient = driver.arrive("batch", key="k")
    driver.finish(busy, after=0.02)
    assert driver.call(patient).tier == "large"


def test_a_floor_that_an_execution_may_miss_is_not_joined():
    driver = Driver()
    busy = driver.keep_busy("large"), occupy_small(driver)
    driver.arrive("batch", key="k")
    strict = driver.arrive("batch", key="k", floor=1)
    assert not driver.released
    driver.finish(busy[0])
    driver.wait(0.1)
    assert strict in driver.calls or not driver.publishes[strict]


def test_of_two_with_different_floors_who_gave_up_the_looser_one_is_served_below():
    driver = Driver()
    driver.keep_busy("large")
    strict = driver.arrive(key="k", floor=1, budget=0.5)
    loose = driver.arrive(key="k", floor=3, budget=0.9)
    assert driver.released == [loose]
    ended = driver.wait_for_end(strict, at_most=1)
    assert (ended.outcome, ended.reason) == (Outcome.UNAVAILABLE, Reason.FLOOR)
    driver.wait(0.3)
    (call,) = driver.calls[strict]  # with the body of the strict one, on behalf of the loose one
    assert call.tier == "small"
    driver.send(CallFinished(call.call_id, Verdict.OK))
    assert driver.ending(loose).tier == "small"
    assert strict in driver.released


# Partitions come and go.


def test_the_leader_may_go_with_its_partition_and_the_execution_goes_on_with_its_body():
    driver = Driver()
    leader = driver.arrive(key="k", number=0)
    follower = driver.arrive(key="k", number=1)
    actions = driver.send(Revoked(frozenset({Partition("interactive", 0)}), 0.5))
    assert Forget(leader, keeps_body=True) in actions
    assert not driver.cancelled
    driver.finish(leader, after=0.1)
    assert not driver.publishes[leader]
    assert driver.ending(follower).tier == "large"
    assert driver.released[-1] == leader


def test_the_leader_that_comes_back_joins_the_execution_that_has_its_body_and_the_body_stays():
    driver = Driver()
    leader = driver.arrive(key="k", number=0)
    follower = driver.arrive(key="k", number=1)
    lost = frozenset(partition for partition in driver.partitions if partition.number == 0)
    driver.send(Revoked(lost, 0.5))
    driver.send(Assigned(dict.fromkeys(lost, Progress(0)), 2, 1.0))
    driver.send(driver.arrival(leader)._replace(key="k"))
    assert driver.released == [follower]
    driver.finish(leader, after=0.1)
    assert outcomes(driver, leader, follower) == [Outcome.OK, Outcome.OK]
    assert driver.released == [follower, leader]


def test_what_comes_back_to_a_worker_that_drains_is_forgotten_but_for_a_body_that_others_need():
    driver = Driver()
    leader = driver.arrive(key="k", number=0)
    driver.arrive(key="k", number=1)
    lost = frozenset(partition for partition in driver.partitions if partition.number == 0)
    driver.send(DrainRequested())
    driver.send(Revoked(lost, 0.5))
    driver.send(Assigned(dict.fromkeys(lost, Progress(0)), 2, 1.0))
    assert driver.send(driver.arrival(leader)._replace(key="k")) == [Forget(leader, keeps_body=True)]


def test_the_last_waiter_gone_the_call_is_cancelled_and_publishes_nothing():
    driver = Driver()
    records = [driver.arrive(key="k") for _ in range(3)]
    actions = driver.send(Revoked(frozenset({Partition("interactive", 0)}), 0.5))
    assert [type(action) for action in actions].count(CancelCall) == 1
    assert Release(records[0]) in actions
    driver.finish(records[0], Verdict.TIMEOUT)
    assert not any(driver.publishes[record] for record in records)


def test_a_drain_leaves_waiting_flights_to_the_next_owner_and_finishes_those_that_run():
    driver = Driver()
    leader, follower = driver.arrive(key="k"), driver.arrive(key="k")
    occupy_small(driver)
    left = [driver.arrive("batch", key="l") for _ in range(2)]
    driver.send(DrainRequested())
    assert set(left) <= set(driver.forgotten)
    driver.finish(leader, after=0.1)
    assert outcomes(driver, leader, follower) == [Outcome.OK, Outcome.OK]


# Dark.


def test_dark_coalescing_counts_who_would_have_joined_and_calls_for_each():
    driver = Driver(
        stage(TierSettings("large", 1, limit=9, expected_seconds=0.2), coalescing=CoalescingConfig(enforce=False))
    )
    records = [driver.arrive(key="k") for _ in range(3)]
    assert [len(driver.calls[record]) for record in records] == [1, 1, 1]
    assert driver.machine.saved.joined == 2


# Answers of the past.


def answering(**said) -> Driver:
    return Driver(stage(LARGE, SMALL, CACHED, APOLOGY, answers=AnswersConfig(ttl_seconds=60, jitter=0, **said)))


def answered(driver: Driver, key: str = "k"):
    """Have the full tier answer once."""
    record = driver.arrive(key=key)
    driver.finish(record, after=0.2)
    driver.acknowledge(record)
    return record


def test_a_fresh_answer_serves_at_once_at_the_level_that_it_has():
    driver = answering()
    answered(driver)
    driver.wait(30)
    record = driver.arrive(key="k")
    ending = driver.ending(record)
    assert (ending.tier, ending.level, ending.reason, ending.executions) == ("large", 1, Reason.NONE, 0)
    assert not ending.is_stale
    assert ending.age_seconds == pytest.approx(30)
    assert driver.publishes[record][0].answer == AnswerName("k", 1)
    assert driver.stored == [AnswerName("k", 1)]
    counts = driver.machine.saved.answers
    assert counts is not None
    assert counts.lookups[Freshness.FRESH] == 1


def test_without_a_tier_for_them_no_answers_are_kept():
    driver = Driver()
    answered(driver)
    assert not driver.stored
    assert driver.call(driver.arrive(key="k")).tier == "large"


def test_a_stale_answer_serves_while_the_model_is_asked_again():
    driver = answering()
    answered(driver)
    driver.wait(61)
    record = driver.arrive(key="k")
    assert driver.ending(record).is_stale
    assert driver.publishes[record][0].keeps_body
    driver.acknowledge(record)
    assert driver.call(record).tier == "large"
    driver.finish(record, after=0.2)
    assert driver.stored == [AnswerName("k", 1)] * 2
    assert driver.released[-1] == record
    assert not driver.ending(driver.arrive(key="k")).is_stale


def test_a_stale_answer_is_not_renewed_while_others_need_the_model():
    driver = answering()
    answered(driver)
    driver.wait(61)
    driver.keep_busy("large")
    record = driver.arrive(key="k")
    assert driver.ending(record).is_stale
    assert not driver.calls[record]


def test_a_renewal_that_fails_is_over_and_one_that_others_joined_goes_on_for_them():
    driver = answering()
    answered(driver)
    driver.wait(61)
    served = driver.arrive(key="k")
    driver.finish(served, Verdict.BROKEN, after=0.01)
    assert driver.tiers(served) == ["large"]
    again = driver.arrive(key="k")
    joined = driver.arrive(key="k", max_stale=0)
    driver.finish(again, Verdict.BROKEN, after=0.01)
    assert driver.tiers(again) == ["large", "small"]
    driver.finish(again, after=0.01)
    assert driver.ending(joined).tier == "small"


def test_a_renewal_goes_with_its_partition():
    driver = answering()
    answered(driver)
    driver.wait(61)
    record = driver.arrive(key="k")
    actions = driver.send(Revoked(driver.partitions, 0.0))
    assert CancelCall(driver.calls[record][0].call_id) in actions
    assert Release(record) in actions


def test_a_renewal_has_the_time_of_its_class_and_not_what_is_left_of_the_request_that_was_served():
    driver = answering()
    answered(driver)
    driver.wait(61)
    served = driver.arrive(key="k", budget=0.02)
    assert driver.ending(served).is_stale
    assert driver.call(served).window_ends_at > driver.now + 0.2
    driver.finish(served, after=0.2)
    assert driver.stored == [AnswerName("k", 1)] * 2


def test_who_has_joined_a_renewal_keeps_it_when_its_partition_goes_and_comes_back():
    driver = answering(revalidate_seconds=0.01)
    answered(driver)
    driver.wait(60.005)
    served = driver.arrive(key="k", number=0)
    joined = driver.arrive(key="k", number=1, max_stale=0)
    driver.acknowledge(served)
    assert driver.ending(served).is_stale
    lost = frozenset(partition for partition in driver.partitions if partition.number == 0)
    driver.send(Revoked(lost, 0.5))
    assert not driver.cancelled
    driver.send(Assigned(dict.fromkeys(lost, Progress(served.offset)), 2, 1.0))
    driver.wait(0.02)
    driver.send(driver.arrival(served)._replace(key="k"))
    driver.finish(served, after=0.1)
    assert driver.ending(joined).tier == "large"
    assert [publish.ending.is_stale for publish in driver.publishes[served]] == [True, False]


def test_what_a_request_tolerates_bounds_what_the_stage_does():
    driver = answering()
    answered(driver)
    driver.wait(61)
    record = driver.arrive(key="k", max_stale=0.5)
    assert driver.call(record).tier == "large"
    assert not driver.publishes[record]


def test_a_known_answer_is_the_last_resort_and_says_that_it_is_stale():
    driver = answering(revalidate_seconds=0)
    answered(driver)
    driver.wait(3_600)
    driver.keep_busy("large")
    occupy_small(driver)
    known, unknown = driver.arrive(key="k"), driver.arrive(key="l")
    ending = driver.wait_for_end(known, at_most=3)
    assert (ending.tier, ending.level, ending.is_stale) == ("cached", 3, True)
    assert ending.reason is Reason.QUEUE_LONG
    assert driver.wait_for_end(unknown, at_most=3).tier == "apology"


def test_an_answer_of_a_lower_level_is_neither_fresh_for_those_who_may_get_a_better_one_nor_lost():
    driver = answering()
    busy = driver.keep_busy("large")
    record = driver.arrive(key="k", budget=0.2)
    driver.finish(record, after=0.01)
    assert driver.stored == [AnswerName("k", 2)]
    driver.finish(busy)
    assert driver.call(driver.arrive(key="k")).tier == "large"


def test_answers_that_made_room_or_died_are_dropped_by_name():
    driver = answering(bytes_max=1_500)
    names = [AnswerName(key, 1) for key in ("k", "l", "m")]
    for name in names:
        answered(driver, name.key)
    assert driver.stored == names
    assert driver.call(driver.arrive(key="k")).tier == "large"


# Who is shed.


def demanding(*, enforce: bool = True) -> Driver:
    """One model, and an interactive class that takes nothing less."""
    strict = ClassSettings("interactive", 8, deadline_seconds=2, deadline_max_seconds=60, patience=0.1, floor=2)
    settings = stage(LARGE, APOLOGY, classes=(strict, STANDARD, BATCH), admission=AdmissionConfig(enforce=enforce))
    return Driver(settings)


def flood(driver: Driver, *, seconds: float = 20, per_second: int = 50) -> list[RecordId]:
    arrivals = [(at / per_second, "interactive") for at in range(int(seconds * per_second))]
    return driver.play(arrivals, service={"large": 0.2})["interactive"]


def test_whom_nothing_could_serve_in_time_is_shed_at_once_with_a_hint():
    driver = demanding()
    endings = [driver.ending(record) for record in flood(driver)]
    shed = [ending for ending in endings if ending.outcome is Outcome.SHED]
    assert 0.3 < len(shed) / len(endings) <= 0.75
    assert {ending.reason for ending in shed} == {Reason.OVERLOADED}
    assert all(1 <= (ending.retry_after_seconds or 0) <= 60 for ending in shed)
    assert all(ending.queue_seconds == 0 for ending in shed)
    assert driver.machine.saved.shed["interactive"] == len(shed)


def test_nobody_is_shed_where_something_answers_at_once():
    driver = Driver(stage(LARGE, APOLOGY))
    assert Outcome.SHED not in outcomes(driver, *flood(driver))


def test_dark_admission_counts_and_sheds_nobody():
    driver = demanding(enforce=False)
    assert Outcome.SHED not in outcomes(driver, *flood(driver))
    assert driver.machine.saved.shed["interactive"] > 0


def test_a_class_that_can_be_held_is_not_shed_whatever_its_backlog():
    strict = ClassSettings("batch", 1, deadline_seconds=86_400, deadline_max_seconds=86_400, patience=0.95, floor=1)
    driver = Driver(stage(LARGE, classes=(strict,)))
    driver.send(BacklogSeen("batch", 10_000, 5.0))
    assert all(not driver.publishes[driver.arrive("batch")] for _ in range(100))
