import random
from statistics import quantiles

import pytest

from failsoft.simulation.latency_law import Batched, LatencyLaw, Lognormal, Measured

WELL = {"slow": 1.0, "widen": 1.0}


def percentiles(law: LatencyLaw, in_service: int = 1, **faults: float) -> tuple[float, float]:
    rng = random.Random(1)
    cuts = quantiles([law.seconds(rng, in_service, **{**WELL, **faults}) for _ in range(20_000)], n=100)
    return cuts[49], cuts[98]


def test_widening_multiplies_the_tail_and_leaves_the_median():
    median, tail = percentiles(Lognormal(0.2))
    widened_median, widened_tail = percentiles(Lognormal(0.2), widen=3.0)
    assert widened_median == pytest.approx(median, rel=0.02)
    assert widened_tail == pytest.approx(3 * tail, rel=0.05)


def test_slowness_multiplies_everything():
    median, tail = percentiles(Lognormal(0.2))
    assert percentiles(Lognormal(0.2), slow=5.0) == pytest.approx((5 * median, 5 * tail), rel=0.001)


def test_the_mean_is_that_of_the_law():
    law, rng = Lognormal(0.2, 0.8), random.Random(2)
    drawn = [law.seconds(rng, 1, **WELL) for _ in range(50_000)]
    assert sum(drawn) / len(drawn) == pytest.approx(law.mean_seconds, rel=0.02)


def test_a_batched_model_is_slower_the_more_it_serves():
    law = Batched(0.1, 0.01)
    assert [law.typical_seconds(count) for count in (1, 10)] == pytest.approx([0.11, 0.2])
    assert percentiles(law, in_service=10)[0] == pytest.approx(0.2, rel=0.02)


def test_measured_durations_are_drawn_again():
    law, rng = Measured((0.1, 0.2, 0.6)), random.Random(3)
    drawn = [law.seconds(rng, 1, **WELL) for _ in range(3_000)]
    assert set(drawn) == {0.1, 0.2, 0.6}
    assert sum(drawn) / len(drawn) == pytest.approx(law.mean_seconds, rel=0.05)
    assert law.typical_seconds(5) == 0.2


def test_measured_durations_widen_as_any_other():
    rng = random.Random(4)
    law = Measured(tuple(sorted(0.2 * rng.lognormvariate(0.0, 0.35) for _ in range(5_000))))
    median, tail = percentiles(law)
    assert percentiles(law, widen=3.0) == pytest.approx((median, 3 * tail), rel=0.1)
    assert percentiles(law, slow=5.0) == pytest.approx((5 * median, 5 * tail), rel=0.001)
    constant = Measured((0.2,))
    assert constant.seconds(rng, 1, slow=1.0, widen=3.0) == 0.2
