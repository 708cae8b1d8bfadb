import heapq
import math
from dataclasses import replace
from random import Random
from statistics import fmean

import pytest

from failsoft.policy.histogram import ACCURACY
from failsoft.policy.latency import ENOUGH_SAMPLES, GUESS_SAMPLES, LatencyWindow
from failsoft.policy.profile import Profile


def within(seconds: float) -> object:
    """Equal up to the accuracy of a quantile."""
    return pytest.approx(seconds, rel=ACCURACY * 1.001)


def window_of(*answers: tuple[float, int, float], prior: float = 1.0) -> LatencyWindow:
    """A window that saw answers: (instant, how many, seconds)."""
    found = LatencyWindow(prior)
    for at, count, seconds in answers:
        for _ in range(count):
            found.answered(seconds, now=at)
    return found


def test_before_anything_is_seen_the_prior_counts():
    speed = LatencyWindow(0.2).speed(now=0.0)
    assert speed.samples == 0
    assert speed.q50 == pytest.approx(0.2, rel=0.05)
    # A lognormal of sigma .5, whose quantile is the median times exp(sigma z); 30 points of it know no rank above 29.5.
    assert speed.q70 == pytest.approx(0.2 * math.exp(0.5 * 0.524), rel=0.05)
    assert speed.q90 == pytest.approx(0.2 * math.exp(0.5 * 1.282), rel=0.05)
    assert speed.q95 == pytest.approx(0.2 * math.exp(0.5 * 1.645), rel=0.05)
    assert speed.q99 == pytest.approx(0.2 * math.exp(0.5 * 2.128), rel=0.05)
    assert speed.mean == pytest.approx(0.2 * math.exp(0.5**2 / 2), rel=0.05)


def test_a_few_samples_are_weighed_against_the_prior():
    speed = window_of((0.0, 10, 0.01), prior=1.0).speed(now=0.0)
    assert speed.samples == 10
    assert speed.mean == pytest.approx((10 * 0.01 + 20 * LatencyWindow(1.0).speed(now=0.0).mean) / 30, rel=0.02)
    assert speed.q50 > 0.3


@pytest.mark.parametrize("prior", [0.02, 5.0])
def test_a_wrong_prior_is_outvoted_by_thirty_samples(prior):
    speed = window_of((0.0, ENOUGH_SAMPLES, 0.2), prior=prior).speed(now=0.0)
    assert (speed.mean, speed.q50, speed.q95, speed.q99) == (within(0.2),) * 4


def test_a_call_that_was_cut_counts_where_being_in_time_is_asked_and_not_as_an_answer():
    seen = window_of((0.0, 40, 0.1))
    for _ in range(60):
        seen.cut(2.0, now=0.0)
    speed = seen.speed(now=0.0)
    assert (speed.q50, speed.q70, speed.q90, speed.q95) == (within(2.0),) * 4
    assert (speed.mean, speed.q99) == (within(0.1), within(0.1))
    assert speed.samples == 100


def test_while_a_model_hangs_the_cap_of_its_window_stays_what_its_answers_made_it():
    seen = window_of((0.0, 100, 0.2))
    before = seen.speed(now=0.0).q99
    for second in range(20):
        for _ in range(10):
            seen.cut(2 * seen.speed(now=float(second)).q99, now=float(second))
    assert seen.speed(now=20.0).q99 == before
    assert seen.speed(now=20.0).q50 == within(2 * before)


@pytest.mark.parametrize(
    ("at", "samples", "median"),
    [
        pytest.param(59.0, 90, 1.0, id="within the minute both count"),
        pytest.param(60.0, 90, 1.0, id="to the end of the minute"),
        pytest.param(61.0, 40, 0.1, id="after it only the new ones"),
    ],
)
def test_samples_age_out_after_a_minute(at, samples, median):
    seen = window_of((0.0, 50, 1.0), (55.0, 40, 0.1))
    speed = seen.speed(now=at)
    assert (speed.samples, speed.q50) == (samples, within(median))


@pytest.mark.parametrize(
    ("at", "samples", "median"),
    [(61.0, 40, 0.1), (299.0, 40, 0.1), (301.0, 0, 1.0)],
)
def test_a_quiet_tier_keeps_its_own_past_for_five_minutes_before_it_falls_back_on_the_prior(at, samples, median):
    speed = window_of((0.0, 40, 0.1), prior=1.0).speed(now=at)
    assert speed.samples == samples
    assert speed.q50 == pytest.approx(median, rel=0.05)


def test_older_samples_are_added_only_until_there_are_enough():
    seen = window_of((0.0, 40, 9.0), (100.0, 20, 1.0), (200.0, 20, 0.1))
    speed = seen.speed(now=205.0)
    assert speed.samples == 40
    assert speed.q99 == within(1.0)


def test_figures_are_computed_anew_when_a_twentieth_of_the_samples_is_new():
    seen = window_of((0.0, 100, 0.1))
    before = seen.speed(now=0.0)
    for _ in range(5):
        seen.answered(9.0, now=0.0)
    assert seen.speed(now=0.0) == before
    seen.answered(9.0, now=0.0)
    assert seen.speed(now=0.0).q99 == within(9.0)


def test_a_guess_is_outvoted_by_five_calls():
    found = LatencyWindow(1.0, prior_samples=GUESS_SAMPLES)
    for _ in range(4):
        found.answered(0.02, now=1.0)
    assert found.speed(now=1.0).q99 > 0.5
    found.answered(0.02, now=1.0)
    assert found.speed(now=1.0).q99 == pytest.approx(0.02, rel=0.02)


# What the fleet has measured.


def profile_of(*, answers: int = 0, seconds: float = 0.2, cut: int = 0, window_seconds: float = 2.0) -> Profile:
    found = Profile()
    for _ in range(answers):
        found.answers.add(seconds)
    for _ in range(cut):
        found.cut.add(window_seconds)
    return found


@pytest.mark.parametrize("prior", [0.02, 5.0])
def test_before_own_calls_the_fleets_profile_counts_and_not_the_authors_word(prior):
    found = LatencyWindow(prior)
    found.fleet_seen(profile_of(answers=500))
    speed = found.speed(now=0.0)
    assert speed.samples == 0
    assert (speed.mean, speed.q50, speed.q95, speed.q99) == (within(0.2),) * 4


def test_what_the_fleet_saw_cut_counts_where_being_in_time_is_asked_and_not_as_an_answer():
    found = LatencyWindow(1.0)
    found.fleet_seen(profile_of(answers=40, cut=60))
    speed = found.speed(now=0.0)
    assert (speed.q50, speed.q95) == (within(2.0),) * 2
    assert (speed.mean, speed.q99) == (within(0.2),) * 2


def test_a_fleet_that_has_answered_nothing_leaves_the_authors_word_on_answers():
    found = LatencyWindow(1.0)
    found.fleet_seen(profile_of(cut=60))
    assert found.speed(now=0.0).q50 == within(2.0)
    assert found.speed(now=0.0).mean == within(LatencyWindow(1.0).speed(now=0.0).mean)


@pytest.mark.parametrize("fleets", [10, 5_000])
def test_thirty_own_calls_outvote_the_fleet_however_many_calls_it_speaks_of(fleets):
    found = window_of((0.0, ENOUGH_SAMPLES, 0.05))
    found.fleet_seen(profile_of(answers=fleets))
    assert found.speed(now=0.0).q99 == within(0.05)


def test_a_profile_of_a_few_calls_is_filled_up_from_the_authors_word():
    found = LatencyWindow(1.0)
    found.fleet_seen(profile_of(answers=10, seconds=0.01))
    assert found.speed(now=0.0) == replace(window_of((0.0, 10, 0.01)).speed(now=0.0), samples=0)


def test_the_last_profile_holds():
    found = LatencyWindow(1.0)
    found.fleet_seen(profile_of(answers=500, seconds=0.2))
    assert found.speed(now=0.0).q50 == within(0.2)
    found.fleet_seen(profile_of(answers=500, seconds=0.4))
    assert found.speed(now=0.0).q50 == within(0.4)


def test_what_is_told_is_what_was_recorded_since_it_was_last_asked():
    found = window_of((0.0, 3, 0.1))
    assert found.take_untold() == Profile(), "nobody had asked before"
    found.answered(0.2, now=1.0)
    found.cut(2.0, now=1.0)
    assert found.take_untold() == profile_of(answers=1, cut=1)
    assert found.take_untold() == Profile()


def test_what_all_workers_tell_adds_up_to_what_one_would_have_seen():
    rng = Random(1)
    calls = [rng.lognormvariate(-1.0, 0.5) for _ in range(300)]
    whole, parts, fleet = LatencyWindow(1.0), [LatencyWindow(1.0) for _ in range(3)], Profile()
    for window in (whole, *parts):
        window.take_untold()
    for number, seconds in enumerate(calls):
        whole.answered(seconds, now=0.0)
        parts[number % 3].answered(seconds, now=0.0)
    for part in parts:
        fleet.merge(part.take_untold())
    cold = LatencyWindow(5.0)
    cold.fleet_seen(fleet)
    assert cold.speed(now=0.0).q95 == whole.speed(now=0.0).q95


def late_share(*, is_measured: bool, seed: int) -> float:
    """Of requests given to the best of two tiers whose q95 fits into what remains; from half time on p99 is three times as long.

    Args:
        is_measured: the figures go on being measured; else those of the first half stay.
        seed: of budgets and calls.
    """
    rng = Random(seed)
    medians, usual, wide = (2.0, 0.6), 0.35, 0.35 + math.log(3) / 2.326
    windows = [LatencyWindow(median) for median in medians]
    speeds = [window.speed(now=0.0) for window in windows]
    running: list[tuple[float, int, float]] = []
    late = 0
    for now in range(1_000):
        while running and running[0][0] <= now:
            ended_at, tier, seconds = heapq.heappop(running)
            windows[tier].answered(seconds, now=ended_at)
        if is_measured or now < 500:
            speeds = [window.speed(now=now) for window in windows]
        for remaining in (rng.uniform(1.2, 4.0), rng.uniform(3.6, 12.0)):
            fitting = [tier for tier in (0, 1) if speeds[tier].q95 <= remaining]
            if not fitting:
                continue
            tier = fitting[0]
            seconds = medians[tier] * math.exp((usual if now < 500 else wide) * rng.gauss(0, 1))
            late += seconds > remaining
            heapq.heappush(running, (now + seconds, tier, seconds))
    return late / 2_000


def test_when_latency_widens_at_most_a_third_as_many_are_late_by_what_is_measured_as_by_the_figures_of_before():
    before = fmean(late_share(is_measured=False, seed=seed) for seed in range(3))
    measured = fmean(late_share(is_measured=True, seed=seed) for seed in range(3))
    assert before == pytest.approx(0.05, abs=0.01)
    assert measured <= before / 3
