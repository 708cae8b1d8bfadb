"""What becomes of requests whose context is not complete, at the machine."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.answers import AnswersConfig
from failsoft.policy.breaker_control import Control, Force
from failsoft.policy.context import Completeness, Found
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.events import ControlSeen, RouteSeen, Verdict
from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.routing import Route
from failsoft.policy.settings import LaterStage, StageSettings, TierSettings
from tests.policy.driver import APOLOGY, CLASSES, EPOCH, Driver, stage

LARGE = TierSettings("large", 1, limit=1, expected_seconds=0.2, needs=frozenset({"documents"}))
SMALL = TierSettings("small", 2, limit=1, expected_seconds=0.04)
PARTS = ("documents", "question", "history")
REQUIRED = frozenset({"documents", "question"})


def settings(*tiers: TierSettings, **bounds: Any) -> StageSettings:
    return stage(*(tiers or (LARGE, SMALL, APOLOGY)), parts=PARTS, **bounds)


def context(**found: Found) -> Completeness:
    return Completeness({**dict.fromkeys(PARTS, Found.PRESENT), **found}, REQUIRED)


NO_DOCUMENTS = context(documents=Found.EMPTY)
NO_QUESTION = context(question=Found.MISSING)


def test_whole_context_is_served_by_the_full_tier_at_level_1():
    driver = Driver(settings())
    record = driver.arrive(context=context())
    driver.finish(record)
    ending = driver.ending(record)
    assert (ending.tier, ending.level, ending.reason) == ("large", 1, Reason.NONE)


def test_a_tier_whose_part_is_missing_is_passed_over_at_once_and_the_reason_says_so():
    driver = Driver(settings())
    record = driver.arrive(context=NO_DOCUMENTS)
    assert driver.tiers(record) == ["small"]
    driver.finish(record)
    ending = driver.ending(record)
    assert (ending.tier, ending.level, ending.reason) == ("small", 2, Reason.CONTEXT_INCOMPLETE)


@pytest.mark.parametrize("found", [Found.STALE, Found.TRUNCATED])
def test_a_tier_that_can_still_run_does_but_nobody_calls_its_answer_level_1(found):
    driver = Driver(settings())
    record = driver.arrive(context=context(documents=found))
    assert driver.tiers(record) == ["large"]
    driver.finish(record)
    ending = driver.ending(record)
    assert (ending.tier, ending.level, ending.wanted_level) == ("large", 2, 1)
    assert ending.reason is Reason.CONTEXT_INCOMPLETE


def test_an_optional_part_that_no_tier_needs_changes_nothing():
    driver = Driver(settings())
    record = driver.arrive(context=context(history=Found.MISSING))
    driver.finish(record)
    assert (driver.ending(record).level, driver.ending(record).reason) == (1, Reason.NONE)


def test_a_lower_tier_that_its_optional_part_rules_out_is_no_reason_of_its_own():
    fluent = TierSettings("fluent", 2, limit=1, expected_seconds=0.04, needs=frozenset({"history"}))
    driver = Driver(settings(LARGE, fluent, SMALL, APOLOGY))
    record = driver.arrive(context=context(history=Found.MISSING))
    driver.finish(record, Verdict.BROKEN)
    assert driver.tiers(record) == ["large", "small"]
    driver.finish(record)
    assert driver.ending(record).reason is Reason.ENDPOINT_ERROR


def test_when_no_model_can_do_without_it_the_answer_without_a_call_serves_at_once():
    driver = Driver(settings(LARGE, APOLOGY))
    record = driver.arrive(context=NO_DOCUMENTS)
    ending = driver.ending(record)
    assert (ending.tier, ending.level, ending.executions) == ("apology", 3, 0)
    assert ending.reason is Reason.CONTEXT_INCOMPLETE


@pytest.mark.parametrize("incomplete", [NO_DOCUMENTS, NO_QUESTION], ids=str)
def test_who_accepts_level_1_only_is_told_that_the_context_is_why_there_is_none(incomplete):
    driver = Driver(settings())
    record = driver.arrive(floor=1, context=incomplete)
    ending = driver.ending(record)
    assert (ending.outcome, ending.reason) == (Outcome.UNAVAILABLE, Reason.CONTEXT_INCOMPLETE)
    assert not driver.tiers(record)


def test_when_what_is_left_fails_the_failure_is_the_reason_and_the_next_tier_serves():
    driver = Driver(settings())
    record = driver.arrive(context=NO_DOCUMENTS)
    driver.finish(record, Verdict.BROKEN)
    ending = driver.ending(record)
    assert (ending.tier, ending.level, ending.reason) == ("apology", 3, Reason.ENDPOINT_ERROR)


def test_nobody_waits_for_a_tier_that_cannot_run_however_patient_its_class_is():
    driver = Driver(settings())
    driver.keep_busy("large")
    record = driver.arrive("batch", budget=3600, context=NO_DOCUMENTS)
    assert driver.tiers(record) == ["small"]


def test_whole_and_incomplete_requests_that_wait_for_the_same_tier_are_served_in_turn():
    slow = TierSettings("slow", 1, limit=1, expected_seconds=0.1)
    driver = Driver(settings(slow, APOLOGY))
    first = driver.arrive("batch", budget=600, context=context())
    waiting = [
        driver.arrive("batch", budget=600, context=given) for given in (context(), NO_DOCUMENTS) for _ in range(4)
    ]
    served = [first]
    while len(served) < 9:
        driver.finish(served[-1], after=0.1)
        (called,) = (record for record in waiting if driver.calls[record] and record not in served)
        served.append(called)
    kinds = [record in waiting[4:] for record in served[1:]]
    assert all(sum(kinds[:count]) >= count // 2 - 1 for count in range(9))


def test_equal_requests_with_equal_contexts_share_a_call_and_its_answer_at_the_level_that_it_has():
    driver = Driver(settings(answers=AnswersConfig()))
    stale = context(documents=Found.STALE)
    first, second = (driver.arrive(key="k", context=stale) for _ in range(2))
    driver.finish(first)
    later = driver.arrive(key="k", context=stale)
    assert [(driver.ending(record).tier, driver.ending(record).level) for record in (first, second, later)] == [
        ("large", 2)
    ] * 3
    assert driver.ending(later).reason is Reason.CONTEXT_INCOMPLETE
    assert driver.ending(later).executions == 0


def test_a_part_that_becomes_too_old_while_its_request_waits_is_no_ground_for_level_1():
    driver = Driver(settings())
    whole = Completeness(dict.fromkeys(PARTS, Found.PRESENT), REQUIRED, {}, {"documents": EPOCH + driver.now + 5.0})
    busy = driver.keep_busy("large")
    waits, strict = (driver.arrive("batch", budget=600, floor=floor, context=whole) for floor in (None, 1))
    driver.wait(6.0)
    assert driver.ending(strict).outcome is not Outcome.OK
    driver.finish(busy)
    driver.finish(waits)
    assert (driver.ending(waits).tier, driver.ending(waits).level) == ("large", 2)
    assert driver.ending(waits).reason is Reason.CONTEXT_INCOMPLETE


def test_an_answer_that_comes_late_to_a_part_that_is_too_old_by_then_is_none_to_who_accepts_level_1_only():
    driver = Driver(settings())
    until = driver.now + 1.0
    shared = [driver.arrive("batch", floor=floor, key="k", context=whole(until=until)) for floor in (1, 1)]
    driver.now = until + 0.001  # the worker stood still: it hears of the answer first, and then of the time
    driver.finish(shared[0])
    for record in shared:
        ending = driver.ending(record)
        assert (ending.outcome, ending.reason) == (Outcome.UNAVAILABLE, Reason.CONTEXT_INCOMPLETE)
        assert (ending.tier, ending.level, ending.executions) == (None, None, 1)


def test_what_the_next_stage_would_answer_at_once_is_not_level_1_to_less_than_the_whole_context():
    canned = TierSettings("canned", 1, limit=None)
    driver = Driver(settings(later=(LaterStage("next", at_once=canned),)))
    driver.send(ControlSeen("stage:next", Control(Force.OPEN, EPOCH)))
    ended = [
        driver.ending(driver.arrive(floor=floor, context=given))
        for floor, given in ((None, context()), (None, NO_QUESTION), (1, NO_QUESTION))
    ]
    assert [(ending.tier, ending.level) for ending in ended] == [("canned", 1), ("canned", 2), (None, None)]


def whole(*, until: float) -> Completeness:
    return Completeness(dict.fromkeys(PARTS, Found.PRESENT), REQUIRED, {}, {"documents": EPOCH + until})


def test_a_part_that_becomes_too_old_for_one_loses_nobody_who_shares_the_call_with_it():
    driver = Driver(settings())
    busy = driver.keep_busy("large")
    strict = driver.arrive("batch", budget=600, floor=1, key="k", context=whole(until=driver.now + 100.0))
    aged = driver.arrive("standard", budget=20, key="k", context=whole(until=driver.now + 5.0))
    driver.wait(6.0)
    driver.finish(busy)
    driver.finish(strict)
    assert [(driver.ending(record).tier, driver.ending(record).level) for record in (strict, aged)] == [
        ("large", 1),
        ("large", 2),
    ]


def test_an_answer_of_the_past_does_not_lift_an_incomplete_context_above_its_level():
    driver = Driver(settings(answers=AnswersConfig()))
    stale = context(documents=Found.STALE)
    driver.finish(driver.arrive(key="k", context=stale))
    ending = driver.ending(driver.arrive(key="k", floor=1, context=stale))
    assert (ending.outcome, ending.reason) == (Outcome.UNAVAILABLE, Reason.CONTEXT_INCOMPLETE)


def test_a_stale_answer_is_renewed_also_for_one_whose_context_has_become_too_old_on_the_way():
    driver = Driver(settings(answers=AnswersConfig()))
    first = driver.arrive(key="k", context=context())
    driver.finish(first)
    driver.acknowledge(first)
    driver.wait(400.0)
    aged = driver.arrive(key="k", context=whole(until=driver.now - 0.001))
    ending = driver.ending(aged)
    assert (ending.is_stale, ending.level, ending.reason) == (True, 2, Reason.CONTEXT_INCOMPLETE)
    assert driver.tiers(aged) == ["large"]


def test_a_moved_route_takes_along_those_who_wait_beside():
    regional = TierSettings("small", 2, limit=1, expected_seconds=0.04, regions=("eu", "us"))
    driver = Driver(settings(LARGE, regional, APOLOGY))
    first, second = (driver.arrive("batch", budget=600, context=NO_DOCUMENTS) for _ in range(2))
    assert not driver.calls[second]
    driver.send(RouteSeen(Route("answer/small", "eu", "us", 1.0, 1)))
    assert [driver.call(record).region for record in (first, second)] == ["eu", "us"]


def test_what_tiers_need_must_be_declared():
    with pytest.raises(ConfigurationError, match="large: it needs 'documents'; declared are: question"):
        stage(LARGE, SMALL, parts=("question",))
    with pytest.raises(ConfigurationError, match="looks at no context"):
        TierSettings("apology", 3, limit=None, needs=frozenset({"documents"}))


found = st.sampled_from(Found)
contexts = st.fixed_dictionaries(dict.fromkeys(PARTS, found)).map(lambda parts: Completeness(parts, REQUIRED))
needs = st.frozensets(st.sampled_from(PARTS), max_size=2)
verdicts = st.sampled_from([Verdict.OK, Verdict.OK, Verdict.BROKEN, Verdict.TRANSIENT, Verdict.TIMEOUT])


@st.composite
def stages(draw: st.DrawFn) -> StageSettings:
    levels = [1, *sorted(draw(st.lists(st.sampled_from([1, 2]), max_size=2)))]
    models = [
        TierSettings(f"model-{number}", level, limit=2, expected_seconds=0.05, needs=draw(needs))
        for number, level in enumerate(levels)
    ]
    return settings(*models, APOLOGY, answers=draw(st.sampled_from([None, AnswersConfig()])))


@given(
    stages(),
    st.lists(
        st.tuples(st.sampled_from(CLASSES), contexts, st.booleans(), st.lists(verdicts, min_size=1, max_size=6)),
        min_size=1,
        max_size=8,
    ),
)
def test_whatever_is_missing_no_answer_passes_for_level_1_and_none_fails_where_a_tier_could_answer(known, asked):
    driver = Driver(known)
    models = {tier.name: tier for tier in known.tiers if tier.is_model}
    sent = []
    for known_class, given_context, is_shared, ends in asked:
        key = f"question {given_context}" if is_shared else None
        record = driver.arrive(known_class.name, context=given_context, key=key)
        sent.append((record, given_context, itertools.cycle(ends)))
    while not all(driver.publishes[record] for record, _, _ in sent):
        running = [(record, ends) for record, _, ends in sent if driver.is_running(record)]
        for record, ends in running[:1]:
            driver.finish(record, next(ends), after=0.01)
        driver.wait(0.05)
    for record, given_context, _ in sent:
        ending = driver.ending(record)
        assert ending.outcome is Outcome.OK
        assert ending.level is not None
        assert given_context.is_complete or ending.level > 1
        assert all(given_context.allows(models[tier].needs) for tier in driver.tiers(record))
        assert ending.tier not in models or given_context.allows(models[ending.tier].needs)
        assert ending.level == 1 or ending.reason is not Reason.NONE
