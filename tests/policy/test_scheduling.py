from dataclasses import dataclass
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.scheduling import SAFETY, Credits, Lane, spare_seconds

ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Due:
    """Waits; two with the same deadline are still two."""

    deadline_at: float


def lane(*deadlines: float) -> Lane[Due]:
    found: Lane[Due] = Lane("standard", 3)
    for deadline in deadlines:
        found.push(Due(deadline))
    return found


deadlines = st.lists(st.integers(0, 30).map(float), max_size=40)


@given(deadlines)
def test_the_earliest_deadline_comes_first_and_equal_ones_in_order_of_arrival(instants):
    entries = [Due(at) for at in instants]
    found: Lane[Due] = Lane("standard", 3)
    for entry in entries:
        found.push(entry)
    assert list(found) == sorted(entries, key=lambda entry: entry.deadline_at)
    assert len(found) == len(entries)


@given(st.data())
def test_whoever_is_taken_out_is_gone_and_nobody_else(data):
    found = lane(*data.draw(deadlines.filter(len)))
    left = list(found)
    while left:
        gone = left.pop(data.draw(st.integers(0, len(left) - 1)))
        found.remove(gone)
        assert list(found) == left


@given(deadlines.filter(len), st.integers(-1, 31).map(float))
def test_questions_of_rank_are_answered_as_by_looking_at_each(instants, at):
    found = lane(*instants)
    assert found.head.deadline_at == min(instants)
    assert found.newest.deadline_at == max(instants)
    assert found.count_due_by(at) == sum(deadline <= at for deadline in instants)
    first = found.first_due_from(at)
    assert first is next((entry for entry in found if entry.deadline_at >= at), None)


@pytest.mark.parametrize(("length", "ranks"), [(0, []), (1, [1]), (3, [1, 2]), (4, [1, 2, 4]), (9, [1, 2, 4, 8])])
def test_ranks_double(length, ranks):
    assert [entry.deadline_at for entry in lane(*range(1, length + 1)).at_doubling_ranks()] == ranks


def exact_spare(lanes: list[Lane[Due]], *, now: float, reserve: float, each: float) -> float:
    """By looking at every one that waits: whoever is due by then has to be worked off before."""
    everybody = [entry.deadline_at for waiting in lanes for entry in waiting]
    return min((at - now - reserve - each * sum(other <= at for other in everybody) for at in everybody), default=inf)


def spare(lanes: list[Lane[Due]], *, now: float = 0.0, reserve: float = 0.5, each: float = 0.25) -> float:
    return spare_seconds(lanes, now=now, reserve_seconds=reserve, seconds_each=each)


crowded = st.lists(
    st.lists(st.floats(0.5, 20), max_size=30).map(lambda instants: lane(*instants)), min_size=1, max_size=3
)


@given(crowded, st.floats(0, 1), st.floats(0.01, 1))
def test_no_more_spare_time_is_promised_than_there_is_and_none_is_denied_beyond_the_safety(lanes, reserve, each):
    found = spare(lanes, reserve=reserve, each=each)
    assert found <= exact_spare(lanes, now=0.0, reserve=reserve, each=each) + ROUNDING
    assert found >= exact_spare(lanes, now=0.0, reserve=reserve, each=SAFETY * each) - ROUNDING


def test_a_crowd_between_two_ranks_is_seen():
    """The third of three is late, and the ranks looked at are the first and the second."""
    assert spare([lane(2.0, 2.6, 2.9)], reserve=0.0, each=1.0) <= 0


@given(crowded, st.integers(0, 2), st.floats(0.5, 20))
def test_one_more_arrival_takes_no_more_than_its_service_from_the_spare_time_of_the_others(lanes, index, deadline):
    before = spare(lanes)
    lanes[index % len(lanes)].push(Due(deadline))
    own = deadline - 0.5 - 0.25 * sum(map(len, lanes))
    assert exact_spare(lanes, now=0.0, reserve=0.5, each=0.25) >= min(before - SAFETY * 0.25, own) - ROUNDING


@pytest.mark.parametrize(
    ("lanes", "seconds"),
    [
        pytest.param([], inf, id="nobody waits"),
        pytest.param([lane()], inf, id="an empty lane"),
        pytest.param([lane(10.0)], 10 - 0.5 - SAFETY * 0.25, id="one"),
        pytest.param([lane(10.0, 10.0), lane(0.9)], 0.9 - 0.5 - SAFETY * 0.25, id="the most urgent of two lanes"),
        pytest.param([lane(*[10.0] * 8)], 10 - 0.5 - SAFETY * 0.25 * 8, id="a crowd"),
        pytest.param([lane(*[10.0] * 4), lane(*[10.0] * 4)], 10 - 0.5 - SAFETY * 0.25 * 8, id="a crowd in two lanes"),
        pytest.param([lane(0.2)], 0.2 - 0.5 - SAFETY * 0.25, id="too late already"),
    ],
)
def test_the_last_responsible_moment_is_of_one_that_waits_or_of_a_crowd(lanes, seconds):
    assert spare(lanes) == pytest.approx(seconds)


def test_spare_time_is_used_up_by_waiting():
    assert spare([lane(10.0)], now=3.0) == pytest.approx(spare([lane(10.0)]) - 3.0)


def test_a_class_is_charged_its_service_over_its_weight():
    credits_ = Credits({"interactive": 8, "batch": 1})
    credits_.charge("interactive", 4.0)
    credits_.charge("batch", 1.0)
    credits_.charge("batch", 0.5)
    assert (credits_.charged("interactive"), credits_.charged("batch")) == (0.5, 1.5)


def test_a_class_that_begins_to_wait_has_no_claim_saved_up():
    credits_ = Credits({"interactive": 1, "standard": 1, "batch": 1})
    credits_.charge("interactive", 5.0)
    credits_.charge("standard", 3.0)
    credits_.begin_waiting("batch", ["interactive", "standard"])
    assert credits_.charged("batch") == 3.0


def test_a_class_that_begins_to_wait_keeps_its_debt():
    credits_ = Credits({"interactive": 1, "batch": 1})
    credits_.charge("batch", 5.0)
    credits_.begin_waiting("batch", ["interactive"])
    assert credits_.charged("batch") == 5.0


def test_what_others_were_served_while_nobody_waited_is_no_claim_of_a_class_that_was_not_there():
    """Else an hour of standard alone would keep it out for half an hour of a flood of interactive."""
    credits_ = Credits({"interactive": 1, "standard": 1})
    for _ in range(3):
        credits_.begin_waiting("standard", [])
        credits_.charge("standard", 5.0)
    credits_.begin_waiting("interactive", [])
    assert credits_.charged("interactive") == 10.0
    assert credits_.charged("standard") == 15.0


@given(st.lists(st.floats(0.01, 5.0), min_size=10, max_size=200), st.tuples(*[st.floats(0.5, 16.0)] * 3))
def test_while_all_wait_their_shares_of_the_service_follow_the_weights_to_within_one_service(services, weights):
    """Served by the least charge, as those who have nearly waited out their patience are."""
    credits_ = Credits(dict(zip("abc", weights, strict=True)))
    served = dict.fromkeys("abc", 0.0)
    for seconds in services:
        chosen = min("abc", key=credits_.charged)
        credits_.charge(chosen, seconds)
        served[chosen] += seconds
        turns = {name: served[name] / weight for name, weight in zip("abc", weights, strict=True)}
        assert max(turns.values()) - min(turns.values()) <= max(services) / min(weights) + ROUNDING
