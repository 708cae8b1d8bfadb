"""One machine whose endpoints stand in two regions: who is called where, and what a route moves."""

from collections import Counter
from dataclasses import replace

import pytest

from failsoft.policy.breaker_control import Control, Force
from failsoft.policy.breaker_states import State
from failsoft.policy.events import ControlSeen, LatencySeen, RouteSeen, Verdict
from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.request import RecordId
from failsoft.policy.retry_budget import RetryBudgetSettings
from failsoft.policy.routing import Route, place
from tests.policy.driver import APOLOGY, LARGE, SMALL, Driver, stage

EU_US = ("eu", "us")
REGIONAL = replace(LARGE, limit=4, regions=EU_US)
BOTH = replace(SMALL, limit=4, regions=EU_US)


def driver(*tiers, **options) -> Driver:
    return Driver(stage(*(tiers or (REGIONAL, SMALL, APOLOGY)), **options))


def route(share: float, *, epoch: int = 1, tier: str = "large") -> RouteSeen:
    return RouteSeen(Route(f"answer/{tier}", "eu", "us", share, epoch))


def sides(share: float) -> tuple[str, str]:
    """A key that goes over at this share, and one that stays."""
    keys = [f"key-{number}" for number in range(1_000)]
    over = next(key for key in keys if place(key) < share)
    return over, next(key for key in keys if place(key) >= share)


def region(on: Driver, record: RecordId) -> str | None:
    return on.calls[record][-1].region


def open_breaker(on: Driver, where: str) -> None:
    on.send(ControlSeen(f"answer/large/{where}", Control(Force.OPEN, 1.0)))


def test_a_tier_without_regions_is_called_nowhere_in_particular():
    on = Driver()
    assert region(on, on.arrive()) is None


def test_without_a_word_calls_go_to_the_first_region():
    on = driver()
    assert region(on, on.arrive()) == "eu"


def test_at_full_share_all_go_over_and_at_none_all_go_back():
    on = driver()
    on.send(route(1.0))
    assert region(on, on.arrive()) == "us"
    on.send(route(0.0, epoch=2))
    assert region(on, on.arrive()) == "eu"


def test_a_late_word_of_an_older_epoch_changes_nothing():
    on = driver()
    on.send(route(0.0, epoch=2))
    on.send(route(1.0, epoch=1))
    assert region(on, on.arrive()) == "eu"


def test_a_word_on_another_endpoint_or_region_is_not_followed():
    on = driver()
    on.send(RouteSeen(Route("answer/small", "eu", "us", 1.0, 1)))
    on.send(RouteSeen(Route("other/large", "eu", "us", 1.0, 1)))
    on.send(RouteSeen(Route("answer/large", "eu", "mars", 1.0, 1)))
    assert region(on, on.arrive()) == "eu"


def test_equal_requests_are_on_one_side():
    on = driver(replace(REGIONAL, limit=50))
    on.send(route(0.5))
    over, stays = sides(0.5)
    for key, expected in ((over, "us"), (stays, "eu")):
        first = on.arrive(key=key)
        assert region(on, first) == expected
        follower = on.arrive(key=key)
        assert not on.calls[follower]  # shares the execution
        on.finish(first)
        assert on.ending(follower).outcome is Outcome.OK


def test_requests_that_share_nothing_part_as_the_share_says():
    on = driver(replace(REGIONAL, limit=1_000))
    on.send(route(0.1))
    counts = Counter(region(on, on.arrive()) for _ in range(600))
    assert counts["us"] / 600 == pytest.approx(0.1, abs=0.05)
    assert counts["us"] + counts["eu"] == 600


def test_each_region_has_its_own_permits():
    on = driver(replace(REGIONAL, limit=1))
    on.send(route(0.5))
    over, stays = sides(0.5)
    assert region(on, on.arrive(key=over, budget=60)) == "us"
    assert region(on, on.arrive(key=stays, budget=60)) == "eu"
    assert on.machine.permits["large"] == (2, 2)
    assert (on.machine.permits_of("large", "us"), on.machine.permits_of("large")) == (1, 2)


def test_who_waits_goes_where_the_route_leads_now():
    on = driver(replace(REGIONAL, limit=1), APOLOGY)
    on.arrive(budget=60)
    waiting = on.arrive(budget=60)
    assert not on.calls[waiting]
    on.send(route(1.0))
    assert region(on, waiting) == "us"


def test_a_call_that_began_ends_where_it_is():
    on = driver(replace(REGIONAL, limit=1))
    record = on.arrive()
    on.send(route(1.0))
    on.finish(record)
    assert on.ending(record).outcome is Outcome.OK
    assert on.machine.permits["large"] == (0, 2)


def test_a_breaker_that_opens_in_one_region_leaves_the_other_alone():
    on = driver()
    open_breaker(on, "eu")
    assert on.calls[on.arrive()][-1].tier == "small"
    on.send(route(1.0))
    assert region(on, on.arrive()) == "us"
    assert on.calls[on.arrive()][-1].tier == "large"


def test_nobody_is_sent_to_another_region_by_a_breaker():
    on = driver()
    on.send(route(0.1))
    open_breaker(on, "eu")
    over, stays = sides(0.1)
    assert (on.calls[on.arrive(key=over)][-1].tier, on.calls[on.arrive(key=stays)][-1].tier) == ("large", "small")


def test_who_holds_for_a_stopped_region_does_not_hold_up_the_other():
    """Bulk that accepts nothing but the full tier waits for eu, and what belongs to us passes it."""
    on = driver(REGIONAL, classes=[replace(each, floor=1) for each in stage().classes])
    on.send(route(0.1))
    open_breaker(on, "eu")
    over, stays = sides(0.1)
    held = on.arrive("batch", key=stays)
    assert not on.calls[held]
    assert region(on, on.arrive("batch", key=over)) == "us"
    assert on.machine.room()["batch"] > 0
    on.send(route(1.0, epoch=2))
    assert region(on, held) == "us"


def test_a_class_is_left_in_the_log_when_all_its_regions_are_stopped():
    on = driver(REGIONAL, classes=[replace(each, floor=1) for each in stage().classes])
    on.send(route(0.1))
    on.send(ControlSeen("answer/large", Control(Force.OPEN, 1.0)))  # in all regions
    assert on.machine.room()["batch"] == 0


def test_a_failed_call_goes_on_where_the_route_leads_now():
    on = driver(REGIONAL, BOTH, APOLOGY)
    record = on.arrive()
    on.send(RouteSeen(Route("answer/small", "eu", "us", 1.0, 1)))
    on.finish(record, Verdict.BROKEN)
    assert (on.calls[record][-1].tier, region(on, record)) == ("small", "us")


def failed_in_eu(on: Driver, **options) -> RecordId:
    """One that eu's large model has failed, and that waits for the small one, whose breaker is open."""
    on.send(ControlSeen("answer/small", Control(Force.OPEN, 1.0)))
    record = on.arrive("standard", **options)
    on.finish(record, Verdict.BROKEN)
    assert not on.is_running(record)
    assert not on.publishes[record]
    return record


def test_whom_a_region_has_failed_is_called_where_the_route_leads_now():
    on = driver()
    record = failed_in_eu(on)
    on.send(route(1.0))
    assert (on.call(record).tier, region(on, record), on.call(record).execution) == ("large", "us", 2)
    on.finish(record)
    assert (on.ending(record).outcome, on.ending(record).level) == (Outcome.OK, 1)


def test_a_route_that_moves_others_calls_nobody_again_whom_it_does_not_move():
    on = driver()
    record = failed_in_eu(on, key=sides(0.1)[1])
    on.send(route(0.1))
    on.send(RouteSeen(Route("answer/other", "eu", "us", 1.0, 1)))
    assert not on.is_running(record)


def test_whom_a_region_fails_after_its_route_has_moved_is_called_there():
    on = driver()
    record = on.arrive()
    on.send(route(1.0))
    on.time_out(record)
    assert (on.call(record).tier, region(on, record)) == ("large", "us")
    on.finish(record, Verdict.BROKEN)
    assert on.call(record).tier == "small"


def test_calls_in_another_region_live_on_its_retry_budget():
    on = driver()
    records = [failed_in_eu(on) for _ in range(4)]
    on.send(route(1.0))
    assert sum(on.is_running(record) for record in records) == 1


def test_a_route_that_goes_to_and_fro_has_nobody_called_more_than_three_times():
    on = driver(retries=RetryBudgetSettings(enforce=False))
    record = failed_in_eu(on, budget=600)
    for epoch in range(1, 7):
        on.send(route(epoch % 2, epoch=epoch))
        if on.is_running(record):
            on.finish(record, Verdict.BROKEN)
    assert on.tiers(record) == ["large"] * 3


def test_who_is_called_in_another_region_is_not_called_again_by_a_tier_below():
    middle, last = replace(SMALL, name="middle"), replace(SMALL, name="last")
    on = driver(REGIONAL, middle, last, APOLOGY)
    on.send(ControlSeen("answer/last", Control(Force.OPEN, 1.0)))
    record = on.arrive("standard")
    on.finish(record, Verdict.BROKEN)
    on.finish(record, Verdict.BROKEN)
    on.send(route(1.0))
    on.finish(record, Verdict.BROKEN)
    on.send(ControlSeen("answer/last", Control(Force.AUTO, 2.0)))
    assert on.tiers(record) == ["large", "middle", "large", "last"]


def test_who_pauses_for_a_busy_region_is_called_at_once_where_the_route_leads():
    on = driver()
    record = on.arrive("batch", budget=600)
    on.finish(record, Verdict.BACKPRESSURE, retry_after=100)
    assert not on.is_running(record)
    on.send(route(1.0))
    assert (on.call(record).tier, region(on, record)) == ("large", "us")


def test_nobody_is_called_again_in_a_region_whose_breaker_is_open():
    on = driver()
    open_breaker(on, "us")
    record = failed_in_eu(on)
    on.send(route(1.0))
    assert not on.is_running(record)


def test_who_has_no_time_for_the_other_region_keeps_what_is_left():
    on = driver()
    record = failed_in_eu(on, budget=5)
    on.wait(4.8)
    on.send(route(1.0))
    assert not on.is_running(record)
    on.send(ControlSeen("answer/small", Control(Force.AUTO, 2.0)))
    assert on.call(record).tier == "small"


def test_two_columns_share_an_endpoint_in_turn():
    """Under overload neither side starves at the small tier, which both call at the same place."""
    on = driver(replace(REGIONAL, limit=1), replace(SMALL, limit=1), APOLOGY)
    on.send(route(0.5))
    for where in EU_US:
        open_breaker(on, where)
    over, stays = sides(0.5)
    served: Counter[str] = Counter()
    waiting = {on.arrive("standard", key=f"{over}"): "over", on.arrive("standard", key=f"{stays}"): "stays"}
    keys = [f"n{number}" for number in range(200)]
    for key in keys:
        waiting[on.arrive("standard", key=key)] = "over" if place(key) < 0.5 else "stays"
    for _ in range(60):
        running = next(record for record in waiting if on.calls[record] and not on.publishes[record])
        served[waiting[running]] += 1
        on.finish(running, after=0.04)
    assert min(served.values()) > 20


def test_what_is_shown_of_a_tier_is_where_most_of_its_requests_go():
    on = driver()
    open_breaker(on, "us")
    shown = []
    for share in (0.0, 0.4, 1.0):
        on.send(route(share))
        shown.append(on.machine.conditions["large"].state)
    assert shown == [State.CLOSED, State.CLOSED, State.FORCED_OPEN]


def test_the_reason_of_a_step_down_in_a_stopped_region_is_its_breaker():
    on = driver()
    open_breaker(on, "eu")
    record = on.arrive()
    on.finish(record)
    assert (on.ending(record).tier, on.ending(record).reason) == ("small", Reason.BREAKER_OPEN)


def test_what_is_told_of_latency_is_told_of_each_region():
    on = driver()
    on.machine.take_latency()
    on.finish(on.arrive(), after=0.2)
    on.send(route(1.0))
    on.finish(on.arrive(), after=0.3)
    assert on.machine.take_latency().keys() == {"large/eu", "large/us"}


def test_what_the_fleet_knows_of_one_region_says_nothing_of_another():
    warm, cold = driver(), driver()
    warm.machine.take_latency()
    for _ in range(40):
        warm.finish(warm.arrive("batch"), after=1.5)
    cold.send(LatencySeen("answer/large/us", warm.machine.take_latency()["large/eu"]))
    assert on_tier(cold) == "large"
    cold.send(route(1.0))
    assert on_tier(cold) == "small"


def on_tier(on: Driver) -> str:
    """Which tier takes a request that has a second."""
    record = on.wait_for_call(on.arrive(budget=1.0))
    on.finish(record)
    return on.calls[record][0].tier
