"""The blind bound, where it can be worked out by hand."""

import math

import pytest

from failsoft.simulation.bound import Station, blind_bound
from failsoft.simulation.workload import Ask

pytest.importorskip("scipy")

SURE = 0.001
"""A sigma so small that a service time is its median."""


def asks(count: int, *, at: float = 0.0, budget: float = 1.0) -> list[Ask]:
    return [Ask(number, at, "interactive", budget, number) for number in range(count)]


def bound(asked: list[Ask], full: Station, lower: Station) -> float:
    return blind_bound(asked, full, lower, bin_seconds=1.0)


def test_what_both_models_cannot_serve_is_worth_a_canned_answer():
    full, lower = Station(1, 0.5, SURE), Station(1, 0.25, SURE)
    assert bound(asks(10), full, lower) == pytest.approx(2 * 1.0 + 4 * 0.7 + 4 * 0.2, rel=0.01)


def test_a_model_that_is_down_serves_nobody_meanwhile():
    full, lower = Station(1, 0.5, SURE, down=(0.0, 1.0)), Station(1, 0.25, SURE)
    assert bound(asks(10), full, lower) == pytest.approx(4 * 0.7 + 6 * 0.2, rel=0.01)


def test_a_model_that_is_slow_serves_fewer_and_what_it_cannot_end_in_time_goes_to_the_other():
    full, lower = Station(4, 0.25, SURE, slowed=(0.0, 1.0), slow=2.0), Station(1, 0.001, SURE)
    assert bound(asks(16), full, lower) == pytest.approx(8 * 1.0 + 8 * 0.7, rel=0.01)
    assert bound(asks(16, at=1.0), full, lower) == pytest.approx(16 * 1.0, rel=0.01)
    assert bound(asks(16, budget=0.4), full, lower) == pytest.approx(16 * 0.7, rel=0.01)


def test_a_call_that_may_be_cut_costs_its_mean_up_to_the_cut():
    station = Station(1, 1.0, 0.5)
    assert station.chance(1.0, 0.0) == pytest.approx(0.5)
    assert station.cost(1e6, 0.0) == pytest.approx(math.exp(0.125))
    assert 0.5 < station.cost(1.0, 0.0) < 1.0
