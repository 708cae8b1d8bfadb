import math
import random
from statistics import mean, median, quantiles

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from failsoft.testing.model_server.faults import Failure, Faults, Lot, broken_end, draw, refusal, service_seconds
from failsoft.testing.model_server.settings import ModelSettings

MODEL = ModelSettings(slots=1, queue=0, median_seconds=0.2, sigma=0.35)
LOTS = [draw(random.Random(f"{seed}/m")) for seed in range(20_000)]


def times(**faults: object) -> list[float]:
    return [service_seconds(lot, MODEL, Faults.model_validate(faults)) for lot in LOTS]


def share(kind: Failure, **faults: object) -> float:
    switched = Faults.model_validate(faults)
    return mean(kind in {refusal(lot, switched), broken_end(lot, switched)} for lot in LOTS)


def test_service_times_have_the_median_and_spread_that_were_asked_for():
    plain = times()
    assert median(plain) == pytest.approx(0.2, rel=0.02)
    assert quantiles(plain, n=100)[98] == pytest.approx(0.2 * math.exp(2.326 * 0.35), rel=0.04)


def test_widening_multiplies_the_99th_percentile_and_leaves_the_median():
    plain, wide = times(), times(widen=4)
    assert median(wide) == pytest.approx(median(plain), rel=0.01)
    assert quantiles(wide, n=100)[98] == pytest.approx(4 * quantiles(plain, n=100)[98], rel=0.06)


def test_slowing_multiplies_each_service_time():
    assert times(slow=3) == pytest.approx([3 * seconds for seconds in times()])


@pytest.mark.parametrize(
    ("kind", "faults"),
    [
        (Failure.ERROR, {"error_rate": 0.3}),
        (Failure.GARBAGE, {"error_rate": 0.2, "garbage": 0.3}),
        (Failure.RESET, {"error_rate": 0.2, "garbage": 0.1, "reset": 0.3}),
        (Failure.OVERLOAD, {"overload": 0.3, "rate_limit": {"share": 0.5}}),
        (Failure.RATE_LIMIT, {"overload": 0.5, "rate_limit": {"share": 0.3}}),
    ],
)
def test_each_fault_hits_its_share_of_the_calls(kind, faults):
    assert share(kind, **faults) == pytest.approx(0.3, abs=0.015)


@pytest.mark.parametrize("kind", ["error_rate", "garbage", "reset", "overload"])
def test_true_means_every_call_and_0_none(kind):
    failure = Failure.ERROR if kind == "error_rate" else Failure(kind)
    assert share(failure, **{kind: True}) == 1
    assert share(failure, **{kind: 0}) == 0


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True), st.floats(-8, 8))
def test_without_faults_nothing_fails_and_every_time_is_positive(entry, ending, spread):
    lot = Lot(entry, ending, spread)
    assert refusal(lot, Faults()) is None
    assert broken_end(lot, Faults()) is None
    assert 0 < service_seconds(lot, MODEL, Faults()) < math.inf


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ({"hangs": True}, "hangs"),
        ({"error_rate": 1.1}, "error_rate"),
        ({"slow": 0}, "slow"),
        ({"widen": 0.5}, "widen"),
        ({"rate_limit": {"share": 0.1, "retry_after_seconds": -1}}, "rate_limit.retry_after_seconds"),
        ({"error_rate": 0.6, "reset": 0.6}, "more than 1"),
        ({"overload": 0.6, "rate_limit": {"share": 0.6}}, "more than 1"),
    ],
)
def test_faults_that_cannot_be_are_refused_by_name(written, named):
    with pytest.raises(ValidationError, match=named):
        Faults.model_validate(written)
