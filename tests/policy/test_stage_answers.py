"""Answers of other workers in the stage: heard from the log, kept while their partition is ours, told to the others."""

import pytest

from failsoft.policy.actions import DropAnswers, StoreAnswer
from failsoft.policy.answer import Answer, AnswerName, Gone
from failsoft.policy.answers import AnswersConfig
from failsoft.policy.events import AnswerDeleted, AnswerSeen, Assigned, CallFinished, Revoked, Verdict
from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.progress import Progress
from failsoft.policy.settings import TierSettings
from tests.policy.driver import APOLOGY, LARGE, SMALL, Driver, stage

CACHED = TierSettings("cached", 3, limit=None, is_cached=True)
NAME = AnswerName("k", 1)
HOUR = 3_600.0


def answering(**said) -> Driver:
    return Driver(stage(LARGE, SMALL, CACHED, APOLOGY, answers=AnswersConfig(ttl_seconds=60, jitter=0, **said)))


def seen(name: AnswerName = NAME, *, number: int = 0, age: float = 0.0, fresh: float = 60.0) -> AnswerSeen:
    return AnswerSeen(name, number, "large", 100, age, fresh)


def lost(driver: Driver, number: int) -> Revoked:
    return Revoked(frozenset(partition for partition in driver.partitions if partition.number == number), 0.5)


@pytest.mark.parametrize(
    ("age", "tier", "is_stale"),
    [(0, "large", False), (59, "large", False), (61, "large", True), (2 * HOUR, None, None)],
)
def test_what_another_worker_was_told_serves_at_once_by_its_own_age(age, tier, is_stale):
    driver = answering()
    driver.send(seen(age=age))
    record = driver.arrive(key="k")
    if tier is None:
        assert not driver.publishes[record]
        assert driver.call(record).tier == "large"
    else:
        ending = driver.ending(record)
        assert (ending.tier, ending.is_stale, ending.executions) == (tier, is_stale, 0)
        assert ending.age_seconds == age


def test_what_another_worker_was_told_is_the_last_resort_too():
    driver = answering()
    driver.send(seen(age=2 * HOUR))
    record = driver.arrive(key="k", budget=0.04)
    ending = driver.wait_for_end(record, at_most=1)
    assert (ending.tier, ending.level, ending.is_stale, ending.reason) == ("cached", 3, True, Reason.DEADLINE_SHORT)


def test_an_answer_below_the_floor_that_a_request_asks_for_does_not_serve_it_where_the_stage_has_no_better_one():
    driver = Driver(stage(SMALL, APOLOGY, answers=AnswersConfig()))
    driver.send(seen(AnswerName("k", 2)))
    ending = driver.ending(driver.arrive(key="k", floor=1))
    assert (ending.outcome, ending.reason) == (Outcome.UNAVAILABLE, Reason.FLOOR)


def test_a_better_answer_than_the_stage_gives_by_now_is_renewed_all_the_same():
    driver = Driver(stage(SMALL, APOLOGY, answers=AnswersConfig()))
    driver.send(seen(age=90.0))
    record = driver.arrive(key="k")
    assert driver.ending(record).is_stale
    assert driver.tiers(record) == ["small"]


def test_what_is_heard_is_kept_as_it_is_told_and_not_sent_on():
    driver = answering()
    (action,) = driver.send(seen(number=1, age=10, fresh=30))
    assert action == StoreAnswer(Answer(NAME, "large", 100, driver.now - 10, 30, 1), None)


def test_what_a_call_gave_is_told_with_its_partition_and_the_time_for_which_it_is_fresh():
    driver = answering()
    record = driver.arrive(key="k", number=1)
    actions = driver.finish(record, after=0.2)
    (stored,) = (action for action in actions if isinstance(action, StoreAnswer))
    assert stored == StoreAnswer(Answer(NAME, "large", 100, driver.now, 60, 1), driver.calls[record][0].call_id)


def test_an_answer_that_no_result_can_carry_is_not_kept():
    driver = answering()
    record = driver.arrive(key="k")
    driver.send(CallFinished(driver.call(record).call_id, Verdict.OK, size_bytes=None))
    assert not driver.stored
    assert driver.call(driver.arrive(key="k")).tier == "large"


def test_the_answer_of_an_execution_whose_leader_has_gone_belongs_to_those_who_are_left():
    driver = answering()
    leader, follower = driver.arrive(key="k", number=0), driver.arrive(key="k", number=1)
    driver.send(lost(driver, 0))
    actions = driver.finish(leader, after=0.1)
    (stored,) = (action for action in actions if isinstance(action, StoreAnswer))
    assert stored.answer.number == follower.number


def test_a_partition_takes_its_answers_along_and_late_news_of_it_is_ignored():
    driver = answering()
    driver.send(seen())
    driver.send(seen(AnswerName("l", 1), number=1))
    assert DropAnswers((NAME,)) in driver.send(lost(driver, 0))
    assert driver.send(seen()) == []
    counts = driver.machine.saved.answers
    assert counts is not None
    assert counts.gone[Gone.PARTITION] == 1
    gained = {partition: Progress(0) for partition in driver.partitions if partition.number == 0}
    driver.send(Assigned(gained, 2, 1.0))
    driver.send(seen())
    assert driver.ending(driver.arrive(key="k")).tier == "large"
    assert driver.ending(driver.arrive(key="l", number=1)).tier == "large"


def test_what_is_deleted_in_the_log_is_dropped():
    driver = answering()
    driver.send(seen())
    assert driver.send(AnswerDeleted(NAME)) == [DropAnswers((NAME,))]
    assert driver.send(AnswerDeleted(NAME)) == []
    assert driver.call(driver.arrive(key="k")).tier == "large"


def test_a_stage_that_keeps_no_answers_hears_none():
    driver = Driver()
    assert driver.send(seen()) == []
    assert driver.send(AnswerDeleted(NAME)) == []
    assert driver.machine.saved.answers is None


def test_hearing_wakes_nobody():
    driver = answering()
    driver.keep_busy("large")
    waiting = driver.arrive("batch", key="k")
    before = driver.machine.next_wakeup()
    driver.send(seen())
    assert driver.machine.next_wakeup() == before
    assert not driver.publishes[waiting]
