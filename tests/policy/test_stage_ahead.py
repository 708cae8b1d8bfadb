"""One machine with stages behind it: what it reserves for them, and what it does while the next one fails."""

from collections.abc import Mapping

import pytest

from failsoft.policy.breaker_states import State
from failsoft.policy.events import RollUpSeen
from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.profile import Profile
from failsoft.policy.rollup import Kind, Place, RollUp
from failsoft.policy.settings import LaterStage, TierSettings
from tests.policy.driver import APOLOGY, EPOCH, LARGE, MARGIN, SMALL, STANDARD, Driver, stage

SORRY = TierSettings("sorry", 3, limit=None)


def driver(*later: LaterStage, **options) -> Driver:
    return Driver(stage(LARGE, SMALL, APOLOGY, later=later or (LaterStage("next", at_once=SORRY),), **options))


def told(
    stage: str = "next",
    *,
    calls: int = 0,
    seconds: float = 1.0,
    ends: Mapping[Outcome, int] | None = None,
    of: str = "interactive",
    tier: str = "large",
    is_cut: bool = False,
    at: float = EPOCH,
):
    profile = Profile()
    for _ in range(calls):
        (profile.cut if is_cut else profile.answers).add(seconds)
    endings = {Kind(of, None, Reason.NONE, outcome): count for outcome, count in (ends or {}).items()}
    return RollUpSeen(RollUp(stage, endings, {Place(stage, tier, ""): profile} if calls else {}), at)


def state(on: Driver) -> State:
    return on.machine.handovers["stage:next/interactive"].state


def test_a_stage_without_later_ones_reserves_nothing_and_asks_nobody():
    on = Driver()
    on.send(told(calls=30, seconds=9.0, ends={Outcome.FAILED: 100}))
    record = on.arrive()
    assert on.calls[record]


def test_a_call_ends_before_the_time_of_later_stages_begins():
    on = driver()
    on.send(told(calls=30, seconds=1.0))
    short = on.arrive(budget=1.7)
    assert on.calls[short][-1].window_ends_at <= on.now + 1.7 - 1.0 - 2 * MARGIN + 0.05


def test_what_was_heard_of_all_later_stages_is_added_up():
    on = driver(LaterStage("next"), LaterStage("last"))
    on.send(told("next", calls=30, seconds=1.0))
    on.send(told("last", calls=30, seconds=2.0))
    assert on.machine.reserved_seconds == pytest.approx(3.0 + 2 * MARGIN, rel=0.02)


def test_a_call_of_a_later_stage_that_was_cut_took_at_least_that_long():
    on = driver(LaterStage("next"))
    on.send(told(calls=30, seconds=0.1))
    on.send(told(calls=30, seconds=3.0, is_cut=True))
    assert on.machine.reserved_seconds == pytest.approx(3.0 + MARGIN, rel=0.02)


def test_what_other_workers_told_of_other_tiers_counts_on():
    on = driver(LaterStage("next"))
    on.send(told(calls=30, seconds=1.0))
    on.send(told(calls=30, seconds=0.1, tier="small"))
    assert on.machine.reserved_seconds == pytest.approx(1.0 + MARGIN, rel=0.02)


def test_what_was_told_is_as_old_as_the_broker_says():
    on = driver(LaterStage("next"))
    on.send(told(calls=30, seconds=1.0))
    on.send(told(calls=30, seconds=0.1, at=EPOCH + 400.0))
    assert on.machine.reserved_seconds == pytest.approx(0.1 + MARGIN, rel=0.02)


def test_before_five_calls_were_heard_of_the_authors_word_holds_and_without_one_nothing_is_reserved():
    assert driver(LaterStage("next")).machine.reserved_seconds == pytest.approx(MARGIN)
    on = driver(LaterStage("next", expected_seconds=1.0))
    assert on.machine.reserved_seconds == pytest.approx(2.28 + MARGIN, abs=0.01)
    on.send(told(calls=4, seconds=0.1))
    assert on.machine.reserved_seconds == pytest.approx(2.28 + MARGIN, abs=0.01)
    on.send(told(calls=1, seconds=0.1))
    assert on.machine.reserved_seconds == pytest.approx(0.1 + MARGIN, rel=0.02)


def test_where_time_is_short_all_stages_give_way_alike_by_what_they_usually_take():
    on = driver()
    on.send(told(calls=30, seconds=1.0))
    (call,) = on.calls[on.arrive(budget=1.2)]
    own, later = on.machine._endpoints[0].latency.speed(now=on.now).q95, on.machine.reserved_seconds
    assert call.window_ends_at - on.now + MARGIN == pytest.approx(1.2 * own / (own + later))


def test_of_what_later_stages_took_all_but_a_twentieth_fits():
    on = driver(LaterStage("next"))
    on.send(told(calls=90, seconds=0.1))
    on.send(told(calls=10, seconds=2.0))
    assert on.machine.reserved_seconds == pytest.approx(2.0 + MARGIN, rel=0.02)


def test_who_wants_a_better_level_than_its_class_waits_no_longer_for_it_because_of_a_later_stage():
    on = driver(classes=(STANDARD,))
    on.send(told(calls=30, seconds=1.0))
    on.arrive("standard", budget=600.0)
    waits = on.arrive("standard", budget=600.0, floor=1)
    assert on.wait_for_end(waits, at_most=30.1).outcome is Outcome.UNAVAILABLE


@pytest.mark.parametrize("tiers", [(LARGE,), (LARGE, SMALL), (LARGE, SMALL, APOLOGY)])
@pytest.mark.parametrize("budget", [0.6, 1.0, 2.0])
@pytest.mark.parametrize("later_seconds", [0.2, 1.0, 10.0])
def test_nobody_is_given_up_because_of_a_reserve_alone(tiers, budget, later_seconds):
    on = Driver(stage(*tiers, later=(LaterStage("next"),)))
    on.send(told(calls=30, seconds=later_seconds))
    assert on.calls[on.arrive(budget=budget)]


def test_who_accepts_the_full_tier_only_is_called_there_however_slow_later_stages_are():
    on = driver()
    on.send(told(calls=30, seconds=10.0))
    (call,) = on.calls[on.arrive(budget=2.0, floor=1)]
    assert call.tier == "large"
    assert call.window_ends_at - on.now >= on.machine._endpoints[0].latency.speed(now=on.now).q95


@pytest.mark.parametrize(("later", "left"), [((), 2_000), ((LaterStage("next"),), 0)])
def test_the_bodies_of_followers_take_room_where_they_go_on_to_a_next_stage(later, left):
    on = Driver(stage(LARGE, SMALL, APOLOGY, later=later, bytes_max=10_000))
    for _ in range(12):
        on.arrive(key="same", size=1_000, budget=60.0)
    assert len([record for record in on.calls if on.calls[record]]) == 1
    assert on.machine.room()["interactive"] == (left and left - 1)


def test_while_the_next_stage_fails_its_answer_at_once_stands_for_it():
    on = driver()
    on.send(told(ends={Outcome.FAILED: 20}))
    record = on.arrive()
    assert not on.calls[record]
    (publish,) = on.publishes[record]
    ending = publish.ending
    assert (ending.outcome, ending.reason) == (Outcome.OK, Reason.BREAKER_OPEN)
    assert (ending.stage, ending.tier, ending.level) == ("next", "sorry", 3)


@pytest.mark.parametrize("at_once", [None, SORRY])
def test_where_that_is_below_the_floor_or_there_is_none_the_request_is_unavailable(at_once):
    on = driver(LaterStage("next", at_once=at_once))
    on.send(told(ends={Outcome.EXPIRED: 20}))
    (publish,) = on.publishes[on.arrive(floor=2)]
    assert (publish.ending.outcome, publish.ending.reason) == (Outcome.UNAVAILABLE, Reason.BREAKER_OPEN)
    assert publish.ending.stage is None


def test_a_class_that_the_next_stage_does_not_finish_stops_no_other():
    on = driver()
    on.send(told(ends={Outcome.EXPIRED: 1_000}, of="batch"))
    on.send(told(ends={Outcome.OK: 20}))
    assert not on.calls[on.arrive("batch")]
    assert on.calls[on.arrive("interactive")]
    states = {name: condition.state for name, condition in on.machine.handovers.items()}
    assert (states["stage:next/batch"], states["stage:next/interactive"]) == (State.OPEN, State.CLOSED)


def test_a_worker_of_the_next_stage_that_tells_of_one_class_is_there_for_all():
    on = driver()
    on.finish(on.arrive("interactive", budget=2.0))
    on.now += 10.0
    on.send(told(ends={Outcome.OK: 1}, of="batch"))
    assert on.calls[on.arrive("interactive")]


def test_only_the_next_stage_stops_this_one():
    on = driver(LaterStage("next"), LaterStage("last"))
    on.send(told("last", ends={Outcome.FAILED: 100}))
    on.send(told("other", ends={Outcome.FAILED: 100}))
    assert on.calls[on.arrive()]


def test_what_was_handed_on_and_never_heard_of_stops_it_and_what_ended_here_does_not():
    on = driver()
    expired = on.arrive(budget=1.0, age=5.0)
    assert on.publishes[expired][0].ending.outcome is Outcome.EXPIRED
    on.now += 60.0
    on.send(told("answer", ends={Outcome.OK: 1}))
    first = on.arrive(budget=2.0)
    assert on.calls[first]
    on.finish(first)
    on.now += 10.0
    assert on.calls[on.arrive(budget=2.0)]
    assert state(on) is State.CLOSED, "nobody at all was heard since"
    on.send(told("answer", ends={Outcome.OK: 1}))
    (publish,) = on.publishes[on.arrive(budget=2.0)]
    assert publish.ending.reason is Reason.BREAKER_OPEN


def test_what_was_answered_for_the_next_stage_was_not_handed_on():
    on = driver()
    on.send(told(ends={Outcome.FAILED: 20}))
    on.now += 5.1
    begun = [on.arrive(budget=60.0) for _ in range(5)]
    answered = on.arrive(budget=2.0)
    assert on.publishes[answered][0].ending.stage == "next"
    on.now += 10.0
    on.send(told("answer", ends={Outcome.OK: 1}))
    on.arrive(budget=60.0)
    assert state(on) is State.HALF_OPEN
    assert not any(on.publishes[record] for record in begun)


def test_half_open_a_few_begin_and_their_good_ends_let_all_begin():
    on = driver()
    on.send(told(ends={Outcome.FAILED: 20}))
    on.now += 5.1
    begun = 0
    for _ in range(8):
        record = on.arrive()
        if on.calls[record]:
            begun += 1
            on.finish(record)
    assert begun == 5
    on.send(told(ends={Outcome.OK: 5}))
    assert on.calls[on.arrive()]
