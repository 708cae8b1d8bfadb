import math
from itertools import pairwise

import pytest

from failsoft.policy.ramp import Ramp


def served(permits: int, call_seconds: float, until: float) -> list[float]:
    """The starts of all calls of a worker that always has a request, asks ten times a second, and begins a ramp at 0."""
    ramp = Ramp(0.1, 30.0)
    ramp.begin(now=0.0)
    ends: list[float] = []
    starts: list[float] = []
    now = 0.0
    while now < until:
        for end in sorted(end for end in ends if end <= now):
            ramp.account(permits, len(ends), now=end)
            ends.remove(end)
        ramp.account(permits, len(ends), now=now)
        while len(ends) < permits and ramp.allows_from(permits, len(ends), now=now) <= now:
            starts.append(now)
            ends.append(now + call_seconds)
        now = round(now + 0.1, 1)
    return starts


def share(permits: int, call_seconds: float, begin: float, end: float) -> float:
    """The part of the permits that was used from ``begin`` to ``end``."""
    used = [start for start in served(permits, call_seconds, end + 1) if begin <= start < end]
    return len(used) * call_seconds / (permits * (end - begin))


@pytest.mark.parametrize("permits", [1, 4, 50])
def test_the_load_grows_evenly_from_a_tenth_to_all_of_it_over_thirty_seconds(permits):
    for begin, expected in ((0.0, 0.25), (10.0, 0.55), (20.0, 0.85)):
        assert share(permits, 0.5, begin, begin + 10) == pytest.approx(expected, abs=0.06)
    assert share(permits, 0.5, 30.0, 40.0) == pytest.approx(1.0, abs=0.06)


def test_a_worker_with_one_permit_pauses_between_its_calls():
    starts = served(1, 1.0, 30.0)
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    assert pauses[0] > 3
    assert pauses[-1] < 1.5


def test_at_the_beginning_no_more_than_a_tenth_is_in_flight_at_once():
    assert len([start for start in served(50, 5.0, 0.1) if start == 0.0]) == 5


def test_it_tells_when_the_next_call_may_start():
    ramp = Ramp(0.1, 30.0)
    ramp.begin(now=0.0)
    assert ramp.allows_from(1, 0, now=0.0) == 0.0
    assert ramp.allows_from(1, 1, now=0.0) == math.inf
    ramp.account(1, 1, now=1.0)
    told = ramp.allows_from(1, 0, now=1.0)
    ramp.account(1, 0, now=told)
    assert told > 3
    assert ramp.allows_from(1, 0, now=told) <= told


def test_before_the_first_recovery_nothing_is_held_back():
    assert Ramp(0.1, 30.0).allows_from(4, 3, now=0.0) == 0.0


def test_who_asks_often_gets_no_more():
    ramp = Ramp(0.1, 30.0)
    ramp.begin(now=0.0)
    ramp.account(1, 1, now=2.0)
    assert all(ramp.allows_from(1, 0, now=2.0) > 2.0 for _ in range(1_000))
