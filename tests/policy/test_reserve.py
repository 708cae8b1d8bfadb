"""How much of a request's time belongs to the stages to come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.reserve import reserve_seconds

seconds = st.floats(0, 1e5)


@pytest.mark.parametrize(
    ("left", "own", "later", "reserve"),
    [
        (5.0, 2.0, 1.0, 1.0),
        (3.0, 2.0, 1.0, 1.0),
        (1.5, 2.0, 1.0, 0.5),
        (5.0, 2.0, 0.0, 0.0),
        (5.0, 0.0, 9.0, 5.0),
        (0.0, 2.0, 1.0, 0.0),
        (-1.0, 2.0, 1.0, 0.0),
    ],
)
def test_later_stages_get_what_they_usually_take_or_their_part_of_what_there_is(left, own, later, reserve):
    assert reserve_seconds(left, own=own, later=later) == pytest.approx(reserve)


@pytest.mark.parametrize(("left", "reserve"), [(9.0, 5.0), (2.0, 1.5), (0.6, 0.1), (0.5, 0.0), (0.4, 0.0)])
def test_what_the_quickest_tier_takes_is_not_given_away(left, reserve):
    assert reserve_seconds(left, own=0.5, later=5.0, least=0.5) == pytest.approx(reserve)


@given(seconds, seconds, seconds)
def test_it_takes_neither_more_than_is_left_nor_more_than_they_need(left, own, later):
    assert 0 <= reserve_seconds(left, own=own, later=later) <= min(left, later) * (1 + 1e-9)


@given(seconds, seconds, seconds, seconds)
def test_with_more_time_it_never_takes_less(left, more, own, later):
    assert reserve_seconds(left, own=own, later=later) <= reserve_seconds(left + more, own=own, later=later) + 1e-6
