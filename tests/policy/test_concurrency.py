import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.concurrency import Permits


def permits(limit: int, part: float) -> int:
    found = Permits(limit)
    found.share(part)
    return found.count


@pytest.mark.parametrize(
    ("limit", "part", "count"),
    [(64, 1.0, 64), (64, 0.25, 16), (10, 1 / 3, 3), (8, 0.01, 1), (1, 0.001, 1), (64, 0.0, 0)],
)
def test_a_worker_holds_its_part_of_the_limit_and_one_at_least_while_it_owns_anything(limit, part, count):
    assert permits(limit, part) == count


@given(st.integers(1, 500), st.lists(st.integers(0, 24), min_size=1, max_size=20).filter(any))
def test_the_fleet_keeps_the_limit_within_half_a_permit_a_worker(limit, owned):
    """And one where a worker's part is less than one."""
    parts = [count / sum(owned) for count in owned if count]
    least = sum(limit * part < 0.5 for part in parts)
    held = sum(permits(limit, part) for part in parts)
    assert limit - len(parts) / 2 <= held <= limit + len(parts) / 2 + least / 2


def test_a_call_takes_a_permit_and_gives_it_back():
    found = Permits(2)
    found.share(1.0)
    found.take()
    assert found.has_free
    found.take()
    assert not found.has_free
    found.give_back()
    assert found.has_free


def test_who_loses_partitions_starts_nothing_until_enough_calls_are_over():
    found = Permits(4)
    found.share(1.0)
    for _ in range(4):
        found.take()
    found.share(0.5)
    for left, has_free in ((3, False), (2, False), (1, True)):
        found.give_back()
        assert (found.in_flight, found.has_free) == (left, has_free)


def test_a_worker_that_owns_nothing_may_not_call():
    assert not Permits(4).has_free
