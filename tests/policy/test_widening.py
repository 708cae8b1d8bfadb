"""A tail that grows is told from a slower model and from a hiccup, soon and without false alarms."""

import math
import random
import statistics
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.errors import ConfigurationError
from failsoft.policy.widening import Spread, Widening, WideningConfig

SIGMA = 0.5
WIDE_SIGMA = SIGMA + math.log(3) / 2.326
"""p99 x 3 at an equal median."""
CALLS_PER_SECOND = 10.0
ARMED_AFTER = 1_200
"""A baseline of 1,000 calls, and 200 that are too recent for it."""

Draw = Callable[[random.Random, int], float]


class Feed:
    """One endpoint under observation, ten calls a second."""

    def __init__(self, seed: int, config: WideningConfig | None = None) -> None:
        self.rng = random.Random(seed)
        self.widening = Widening(config)
        self.calls = 0

    @property
    def now(self) -> float:
        return self.calls / CALLS_PER_SECOND

    def one(self, draw: Draw, index: int = 0) -> Spread:
        self.calls += 1
        self.widening.answered(draw(self.rng, index), now=self.now)
        return self.widening.spread

    def many(self, draw: Draw, calls: int) -> Spread:
        for index in range(calls):
            self.one(draw, index)
        return self.widening.spread

    def until(self, draw: Draw, wanted: Spread, *, at_most: int) -> int:
        """How many calls it takes."""
        return next(index + 1 for index in range(at_most) if self.one(draw, index) is wanted)


def as_ever(rng: random.Random, index: int) -> float:
    return math.exp(SIGMA * rng.gauss(0, 1))


def widened(rng: random.Random, index: int) -> float:
    return math.exp(WIDE_SIGMA * rng.gauss(0, 1))


def a_tenth_times_four(rng: random.Random, index: int) -> float:
    return as_ever(rng, index) * (4 if rng.random() < 0.1 else 1)


def all_times_one_and_a_half(rng: random.Random, index: int) -> float:
    return as_ever(rng, index) * 1.5


def fifteen_times_six(rng: random.Random, index: int) -> float:
    return as_ever(rng, index) * (6 if index < 15 else 1)


def constant(rng: random.Random, index: int) -> float:
    return 0.0421


def nothing(rng: random.Random, index: int) -> float:
    return 0.0


def rare_times_twenty(rng: random.Random, index: int) -> float:
    return as_ever(rng, index) * (20 if rng.random() < 0.005 else 1)


def armed(seed: int, config: WideningConfig | None = None) -> Feed:
    feed = Feed(seed, config)
    feed.many(as_ever, ARMED_AFTER + 150)
    assert feed.widening.spread is Spread.NORMAL
    return feed


def first_alarm(feed: Feed, draw: Draw, *, at_most: int = 3_000) -> tuple[int, Spread]:
    for index in range(at_most):
        spread = feed.one(draw, index)
        if spread is not Spread.NORMAL:
            return index + 1, spread
    return at_most, Spread.NORMAL


@pytest.mark.parametrize(
    ("draw", "calls", "spread", "share_right"),
    [
        (widened, 81, Spread.WIDENING, 0.95),
        (a_tenth_times_four, 184, Spread.WIDENING, 0.92),
        (all_times_one_and_a_half, 73, Spread.SHIFT, 0.90),
        (fifteen_times_six, 11, Spread.SPIKE, 1.00),
    ],
)
def test_each_kind_of_change_is_noticed_soon_and_called_by_its_name(draw, calls, spread, share_right):
    alarms = [first_alarm(armed(seed), draw) for seed in range(100)]
    assert statistics.median(after for after, _ in alarms) == pytest.approx(calls, rel=0.3)
    assert Counter(kind for _, kind in alarms)[spread] / len(alarms) >= share_right - 0.05


def test_a_few_outliers_are_no_change_however_far_out():
    alarms = [first_alarm(armed(seed), rare_times_twenty) for seed in range(20)]
    assert sum(kind is not Spread.NORMAL for _, kind in alarms) <= 1


def test_less_than_one_false_alarm_in_ten_thousand_calls():
    alarms = 0
    for seed in range(60):
        feed = Feed(seed)
        before = feed.many(as_ever, ARMED_AFTER)
        for _ in range(10_000):
            after = feed.one(as_ever)
            alarms += before is Spread.NORMAL and after is not Spread.NORMAL
            before = after
    assert alarms < 60


def test_nothing_is_compared_before_there_is_a_baseline():
    feed = Feed(1)
    feed.many(as_ever, ARMED_AFTER - 1)
    assert feed.many(fifteen_times_six, 1) is Spread.NORMAL
    assert Feed(1).many(widened, ARMED_AFTER) is Spread.NORMAL


def test_the_width_ratio_says_how_much_wider_and_a_shift_leaves_it_alone():
    wide, shifted = armed(3), armed(3)
    wide.many(widened, 400)
    shifted.many(all_times_one_and_a_half, 400)
    assert wide.widening.width_ratio == pytest.approx(WIDE_SIGMA / SIGMA, rel=0.2)
    assert wide.widening.mean_ratio == pytest.approx(math.exp((WIDE_SIGMA**2 - SIGMA**2) / 2), rel=0.3)
    assert shifted.widening.width_ratio == pytest.approx(1.0, rel=0.2)
    assert shifted.widening.mean_ratio == pytest.approx(1.5, rel=0.2)


def test_a_spike_that_goes_on_is_called_by_its_name_one_window_later():
    feed = armed(4)
    calls, kind = first_alarm(feed, lambda rng, index: 5 * as_ever(rng, index))
    assert kind is Spread.SPIKE
    assert calls < 20
    assert feed.many(lambda rng, index: 5 * as_ever(rng, index), 100) is Spread.SHIFT


def test_a_spike_that_does_not_go_on_is_over_after_a_few_windows():
    feed = armed(5)
    assert feed.many(fifteen_times_six, 30) is Spread.SPIKE
    assert feed.until(as_ever, Spread.NORMAL, at_most=800) >= 200


@pytest.mark.parametrize("hours", [0.1, 0.5])
def test_an_alarm_ends_within_a_minute_of_its_cause_however_long_it_was_on(hours):
    feed = armed(6)
    assert feed.many(widened, int(hours * 3600 * CALLS_PER_SECOND)) is Spread.WIDENING
    assert 200 <= feed.until(as_ever, Spread.NORMAL, at_most=1_500) <= 600


def test_the_baseline_learns_nothing_from_an_alarm_so_the_next_one_is_noticed_as_soon():
    feed = armed(7)
    feed.many(widened, 5_000)
    feed.until(as_ever, Spread.NORMAL, at_most=1_500)
    feed.many(as_ever, 300)
    calls, kind = first_alarm(feed, widened)
    assert calls < 81 * 2
    assert kind is Spread.WIDENING


def test_a_shift_is_the_baseline_after_ten_minutes_and_no_sooner():
    feed = armed(8)
    feed.until(all_times_one_and_a_half, Spread.SHIFT, at_most=500)
    began_at = feed.now
    feed.until(all_times_one_and_a_half, Spread.NORMAL, at_most=10_000)
    assert 600 <= feed.now - began_at <= 620
    assert feed.many(all_times_one_and_a_half, 3_000) is Spread.NORMAL
    assert feed.widening.mean_ratio == pytest.approx(1.0, rel=0.2)


def test_a_widening_is_never_adopted():
    feed = armed(9)
    assert feed.many(widened, 15_000) is Spread.WIDENING


def test_longer_requests_are_no_slower_model_where_their_work_is_told():
    def longer(rng: random.Random, index: int) -> float:
        return 2 * as_ever(rng, index)

    untold, told = armed(10), armed(10)
    assert untold.many(longer, 500) is Spread.SHIFT
    for _ in range(5_000):
        told.calls += 1
        told.widening.answered(longer(told.rng, 0), now=told.now, work=2.0)
        assert told.widening.spread is Spread.NORMAL


def test_calls_that_are_cut_at_their_window_raise_the_alarm_but_not_if_cut_so_early_that_they_say_nothing():
    hung, hurried = armed(11), armed(11)
    for calls in range(1, 41):
        hung.widening.cut(10.0, now=hung.now + calls)
        hurried.widening.cut(0.5, now=hurried.now + calls)
    assert hung.widening.spread is Spread.SPIKE
    assert hurried.widening.spread is Spread.NORMAL


def test_an_endpoint_that_always_takes_the_same_time_is_normal():
    feed = Feed(12)
    assert feed.many(constant, 5_000) is Spread.NORMAL
    assert feed.widening.width_ratio == 0
    assert Feed(12).many(nothing, 5_000) is Spread.NORMAL


def test_a_quiet_endpoint_keeps_its_baseline_over_the_night():
    feed = armed(13)
    feed.calls += int(12 * 3600 * CALLS_PER_SECOND)
    feed.many(as_ever, 150)
    calls, kind = first_alarm(feed, widened)
    assert calls < 81 * 2
    assert kind is Spread.WIDENING


@given(st.lists(st.tuples(st.floats(0, 1e4), st.booleans(), st.floats(0, 30)), max_size=300), st.integers(0, 2**32))
def test_any_history_leaves_finite_figures(history, seed):
    config = WideningConfig(baseline_calls_min=20)
    feed = Feed(seed, config)
    feed.many(as_ever, 230)
    now = feed.now
    for seconds, is_cut, pause in history:
        now += pause
        (feed.widening.cut if is_cut else feed.widening.answered)(seconds, now=now)
    assert math.isfinite(feed.widening.width_ratio)
    assert feed.widening.mean_ratio >= 0
    assert feed.widening.width_ratio >= 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"exceed_normal": 0.2},
        {"exceed_normal": 0.0},
        {"exceed_changed": 1.0},
        {"alarm_at": 0.0},
        {"adopt_seconds": 0.0},
        {"baseline_calls_min": 0},
        {"half_life_seconds": 0.0},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(ConfigurationError, match="widening"):
        WideningConfig(**wrong)
