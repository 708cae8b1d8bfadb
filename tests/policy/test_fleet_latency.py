"""The fleet's latency: what all workers told lately, as one worker would know it."""

import pytest

from failsoft.policy.fleet_latency import ENOUGH_SAMPLES, EXTENDED_SECONDS, WINDOW_SECONDS, FleetLatency
from failsoft.policy.profile import Profile
from failsoft.policy.rollup import Place, RollUp

LARGE = Place("answer", "large", "eu")
SMALL = Place("answer", "small", "")
NOON = 1_800_000_000


def profile(*, answers: int = 0, seconds: float = 0.2, cut: int = 0) -> Profile:
    found = Profile()
    for _ in range(answers):
        found.answers.add(seconds)
    for _ in range(cut):
        found.cut.add(seconds)
    return found


def fold(fleet: FleetLatency, at: float, place: Place = LARGE, *, answers: int = 0, cut: int = 0) -> None:
    fleet.fold(RollUp(place.stage, {}, {place: profile(answers=answers, cut=cut)}), appended_at=NOON + at)


def test_what_workers_tell_of_one_endpoint_adds_up():
    fleet = FleetLatency()
    fold(fleet, 0, answers=3)
    fold(fleet, 0, answers=2, cut=1)
    fold(fleet, 1, SMALL, answers=1)
    assert fleet.take_changed() == {LARGE: profile(answers=5, cut=1), SMALL: profile(answers=1)}


def test_only_what_has_changed_is_told():
    fleet = FleetLatency()
    fold(fleet, 0, answers=3)
    assert fleet.take_changed()
    assert fleet.take_changed() == {}


@pytest.mark.parametrize(("at", "samples"), [(WINDOW_SECONDS - 1, 80), (WINDOW_SECONDS, 40)])
def test_a_minute_counts_where_it_holds_enough_calls(at, samples):
    fleet = FleetLatency()
    fold(fleet, 0, answers=40)
    fold(fleet, at, answers=40)
    assert fleet.profile(LARGE).samples == samples


def test_of_an_endpoint_that_is_rarely_called_five_minutes_count():
    fleet = FleetLatency()
    for at in range(0, 1_000, 20):
        fold(fleet, at, answers=1)
    assert fleet.profile(LARGE).samples == EXTENDED_SECONDS / 20
    assert fleet.profile(LARGE).samples < ENOUGH_SAMPLES


def test_what_is_older_than_five_minutes_counts_nowhere():
    fleet = FleetLatency()
    fold(fleet, 0, answers=5)
    fold(fleet, EXTENDED_SECONDS, SMALL, answers=1)
    assert fleet.profile(LARGE).samples == 0


def test_what_comes_late_does_not_turn_time_back():
    fleet = FleetLatency()
    fold(fleet, 0, answers=40)
    fold(fleet, WINDOW_SECONDS, answers=40)
    fold(fleet, 1, SMALL, answers=1)
    assert fleet.profile(LARGE).samples == 40


def test_an_endpoint_that_nobody_calls_any_more_is_told_no_more():
    fleet = FleetLatency()
    fold(fleet, 0, answers=40)
    assert fleet.take_changed().keys() == {LARGE}
    fold(fleet, 5_000, SMALL, answers=1)
    assert fleet.take_changed().keys() == {SMALL}


def test_what_was_restored_counts_for_a_minute_from_when_it_was_written():
    fleet = FleetLatency()
    fleet.restore(LARGE, profile(answers=500), written_at=NOON)
    assert fleet.take_changed() == {}, "it stands there already"
    fold(fleet, 30, answers=40)
    assert fleet.profile(LARGE).samples == 540
    fold(fleet, WINDOW_SECONDS, answers=1)
    assert fleet.profile(LARGE).samples == 41


def test_what_was_restored_is_as_old_as_it_is_in_whatever_order_it_is_read():
    fleet = FleetLatency()
    fleet.restore(SMALL, profile(answers=500), written_at=NOON + WINDOW_SECONDS)
    fleet.restore(LARGE, profile(answers=500), written_at=NOON)
    fold(fleet, WINDOW_SECONDS, answers=40)
    assert fleet.profile(LARGE).samples == 40


def test_old_seconds_are_forgotten():
    fleet = FleetLatency()
    for at in range(1_000):
        fold(fleet, at, answers=1)
    assert len(fleet._slots[LARGE]) <= EXTENDED_SECONDS
