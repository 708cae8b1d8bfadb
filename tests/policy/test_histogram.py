import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.histogram import ACCURACY, LEAST_SECONDS, MOST_SECONDS, LogHistogram

RANKS = (0.5, 0.7, 0.9, 0.95, 0.99)
values = st.lists(st.floats(LEAST_SECONDS, MOST_SECONDS), min_size=1, max_size=200)


def within(seconds: float) -> object:
    """Equal up to the accuracy that the histogram promises."""
    return pytest.approx(seconds, rel=ACCURACY * 1.001)


def histogram(seen: list[float]) -> LogHistogram:
    found = LogHistogram()
    for seconds in seen:
        found.add(seconds)
    return found


@given(values)
def test_every_quantile_is_within_one_percent_of_the_exact_one(seen):
    exact = sorted(seen)
    ranked = [next(value for at, value in enumerate(exact, 1) if at >= rank * len(exact)) for rank in RANKS]
    assert histogram(seen).quantiles(RANKS) == [within(value) for value in ranked]


@given(values, values)
def test_merging_two_histograms_is_counting_all_their_values_in_one(some, others):
    merged, together = histogram(some), histogram(some + others)
    merged.merge(histogram(others))
    assert merged.counts == together.counts
    assert merged.count == together.count
    assert merged.mean() == pytest.approx(together.mean())


@given(values)
def test_the_mean_is_exact(seen):
    assert histogram(seen).mean() == pytest.approx(math.fsum(seen) / len(seen))


def test_nothing_seen_is_nothing_known():
    assert (LogHistogram().mean(), LogHistogram().quantiles(RANKS)) == (0.0, [0.0] * len(RANKS))


@pytest.mark.parametrize(("seconds", "counted"), [(0.0, LEAST_SECONDS), (-1.0, LEAST_SECONDS), (1e9, MOST_SECONDS)])
def test_values_beyond_the_range_count_at_its_ends(seconds, counted):
    found = histogram([seconds])
    assert (found.mean(), found.quantiles([0.5])) == (counted, [within(counted)])


def test_memory_is_bounded_whatever_is_seen():
    assert len(histogram([1.003**power for power in range(-10_000, 10_000)]).counts) <= 760
