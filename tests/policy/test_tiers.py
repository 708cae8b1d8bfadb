from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy import tiers
from failsoft.policy.scheduling import Lane
from failsoft.policy.speed import Speed
from failsoft.policy.tiers import Rung, Terms

LARGE = Speed(mean=0.22, q50=0.20, q70=0.24, q90=0.32, q95=0.36, q99=0.45, samples=100)
SMALL = Speed(mean=0.044, q50=0.04, q70=0.05, q90=0.06, q95=0.07, q99=0.09, samples=100)
TINY = Speed(mean=0.011, q50=0.01, q70=0.012, q90=0.016, q95=0.018, q99=0.022, samples=100)
LADDER = [Rung(LARGE, 4), Rung(SMALL, 8), Rung(TINY, 8)]
MARGIN = 0.05
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Due:
    deadline_at: float


def lane(*deadlines: float) -> Lane[Due]:
    found: Lane[Due] = Lane("standard", 3)
    for deadline in deadlines:
        found.push(Due(deadline))
    return found


def terms(allowed: int = 2, *, share: float = 0.5, budget: float = 10.0, full: Rung = LADDER[0]) -> Terms:
    return tiers.terms([full, *LADDER[1:]], allowed, share=share, budget_seconds=budget, margin_seconds=MARGIN)


def window(tier: int, allowed: int, remaining: float) -> float:
    return tiers.window_seconds(LADDER, tier, allowed, remaining_seconds=remaining, margin_seconds=MARGIN)


@pytest.mark.parametrize(
    ("tier", "allowed", "seconds"),
    [
        pytest.param(0, 3, 0.05 + 0.09, id="the next tier's q99 and the margin"),
        pytest.param(1, 3, 0.05 + 0.022, id="of a tier in the middle"),
        pytest.param(2, 3, 0.05, id="the last keeps the margin alone"),
        pytest.param(0, 1, 0.05, id="a tier below the floor is not reserved for"),
    ],
)
def test_a_call_leaves_time_for_the_next_tier_that_the_request_may_use(tier, allowed, seconds):
    assert tiers.reserve_seconds(LADDER, tier, allowed, MARGIN) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("allowed", "reserve", "safe", "edge"),
    [
        pytest.param(2, 0.14, 0.14 + 0.36, 0.14 + 0.24, id="with a lower tier the edge is at q70"),
        pytest.param(1, 0.05, 0.05 + 0.36, 0.05 + 0.20, id="with none below an even chance is taken"),
    ],
)
def test_the_full_tier_takes_the_earliest_that_is_safe_and_the_newest_at_the_edge(allowed, reserve, safe, edge):
    found = terms(allowed)
    assert (found.reserve, found.safe, found.edge) == pytest.approx((reserve, safe, edge))


@pytest.mark.parametrize(
    ("share", "budget", "permits", "seconds"),
    [
        pytest.param(0.5, 10, 4, 5.0, id="a share of the budget"),
        pytest.param(0.1, 2, 4, 0.2, id="of an urgent class"),
        pytest.param(0.95, 5, 4, 5 - 0.14 - 0.32, id="never beyond what the full tier needs"),
        pytest.param(0.1, 2, 1, 3 * 0.22, id="at least three turnovers"),
        pytest.param(0.5, 0.3, 4, 3 * 0.055, id="three turnovers, though the budget is shorter than the full tier"),
        pytest.param(0.0, 10, 4, 3 * 0.055, id="also where the class is not patient at all"),
    ],
)
def test_patience_is_a_share_of_the_budget_between_three_turnovers_and_the_last_moment(share, budget, permits, seconds):
    found = terms(share=share, budget=budget, full=Rung(LARGE, permits))
    assert found.patience == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("share", "permits", "limit"),
    [
        pytest.param(0.5, 4, 5.0 * 4 / 0.22, id="as many as it works off within the patience"),
        pytest.param(0.0, 4, 3.0, id="at least three"),
    ],
)
def test_more_may_not_wait_than_the_full_tier_works_off_within_the_patience(share, permits, limit):
    assert terms(share=share, full=Rung(LARGE, permits)).limit == pytest.approx(limit)


def test_who_could_not_outlast_a_probe_of_a_stalled_tier_does_not_wait_for_one():
    hurried = terms(share=0.01, full=Rung(LARGE, 4, is_stalled=True))
    assert (hurried.patience, hurried.limit) == (0.0, 0.0)
    patient = terms(share=0.5, full=Rung(LARGE, 4, is_stalled=True))
    assert patient == terms(share=0.5)


@pytest.mark.parametrize(
    ("deadlines", "chosen"),
    [
        pytest.param([], None, id="nobody waits"),
        pytest.param([3.0, 4.0], 3.0, id="the earliest"),
        pytest.param([0.45, 0.60, 4.0], 0.60, id="the earliest that is safe, past one that is not"),
        pytest.param([0.50, 4.0], 0.50, id="safe to the last digit"),
        pytest.param([0.39, 0.45], 0.45, id="nobody is safe: the newest at the edge"),
        pytest.param([0.30, 0.37], None, id="nobody is at the edge either"),
    ],
)
def test_the_full_tier_passes_over_a_head_that_it_cannot_serve_safely(deadlines, chosen):
    found = tiers.candidate(lane(*deadlines), terms(), now=0.0)
    assert (found and found.deadline_at) == chosen


@pytest.mark.parametrize(
    ("tier", "allowed", "remaining", "seconds"),
    [
        pytest.param(0, 2, 0.70, 0.70 - 0.14, id="what is left beside the reserve"),
        pytest.param(0, 2, 5.00, 2 * 0.45, id="at most twice q99: longer is stuck"),
        pytest.param(0, 1, 5.00, 5 * 0.45, id="the last may take five times q99"),
        pytest.param(1, 2, 0.30, 0.30 - 0.05, id="the last leaves the margin"),
        pytest.param(1, 2, 5.00, 5 * 0.09, id="the last of two is capped too"),
        pytest.param(1, 3, 0.20, 0.20 - 0.072, id="one in the middle leaves time for the last"),
        pytest.param(1, 3, 0.10, 0.10 - 0.05, id="unless its own chance would then be less than even"),
        pytest.param(0, 2, 0.20, 0.20 - 0.14, id="the full tier keeps the reserve also in a probe"),
        pytest.param(0, 2, 0.12, 0.12 - 0.05, id="unless nothing would be left: no lower tier could use it"),
    ],
)
def test_a_window_leaves_the_reserve_and_ends_what_is_stuck(tier, allowed, remaining, seconds):
    assert window(tier, allowed, remaining) == pytest.approx(seconds)


@pytest.mark.parametrize("others", [0, 1])
def test_a_tier_that_answers_at_once_has_a_quarter_of_a_second_so_that_a_late_loop_cuts_nobody(others):
    quick = Rung(Speed(mean=0.001, q50=0.001, q70=0.001, q90=0.002, q95=0.002, q99=0.003, samples=100), 8)
    rungs = [quick] * (1 + others)
    found = tiers.window_seconds(rungs, 0, len(rungs), remaining_seconds=5.0, margin_seconds=0.05)
    assert found == tiers.WINDOW_LEAST_SECONDS


@st.composite
def speeds(draw: st.DrawFn) -> Speed:
    q50, q70, q90, q95, q99 = sorted(draw(st.lists(st.floats(0.001, 60.0), min_size=5, max_size=5)))
    return Speed(mean=q70, q50=q50, q70=q70, q90=q90, q95=q95, q99=q99, samples=100)


ladders = st.lists(st.builds(Rung, speeds(), st.integers(1, 64)), min_size=1, max_size=4)


@given(ladders, st.data())
def test_window_reserve_and_margin_fit_into_what_remains_wherever_the_full_tier_takes_a_request(ladder, data):
    allowed = data.draw(st.integers(1, len(ladder)))
    budget = data.draw(st.floats(0.01, 600.0))
    found = tiers.terms(ladder, allowed, share=0.5, budget_seconds=budget, margin_seconds=MARGIN)
    remaining = data.draw(st.floats(found.edge, found.edge + 600))
    window_seconds = tiers.window_seconds(ladder, 0, allowed, remaining_seconds=remaining, margin_seconds=MARGIN)
    assert window_seconds > 0
    assert window_seconds + tiers.reserve_seconds(ladder, 0, allowed, MARGIN) <= remaining + ROUNDING


@given(ladders, st.data())
def test_whatever_tier_is_called_its_window_leaves_time_to_publish(ladder, data):
    allowed = data.draw(st.integers(1, len(ladder)))
    tier = data.draw(st.integers(0, allowed - 1))
    remaining = data.draw(st.floats(MARGIN, 600.0))
    found = tiers.window_seconds(ladder, tier, allowed, remaining_seconds=remaining, margin_seconds=MARGIN)
    assert found + MARGIN <= remaining + ROUNDING


def test_a_tier_works_a_queue_off_by_its_mean_over_its_permits():
    assert Rung(LARGE, 4).seconds_each == pytest.approx(0.055)
    assert Rung(LARGE, 0).seconds_each == pytest.approx(0.22)
