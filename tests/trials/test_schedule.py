"""When which fault strikes."""

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.trials.faults.schedule import LANES, SINGLE_FILE, Kind, Planned, Schedule, draw_schedule

SEEDS = st.integers(0, 10_000)
LENGTHS = st.floats(60.0, 3600.0)


def by_lane(schedule: Schedule) -> dict[str, list[Planned]]:
    return {lane: [fault for fault in schedule.faults if fault.lane == lane] for lane in [*LANES, SINGLE_FILE]}


@given(seed=SEEDS, seconds=LENGTHS)
def test_the_same_seed_draws_the_same_and_another_one_draws_otherwise(seed: int, seconds: float):
    assert draw_schedule(seconds, seed=seed) == draw_schedule(seconds, seed=seed)
    if seconds > 300:
        assert draw_schedule(seconds, seed=seed) != draw_schedule(seconds, seed=seed + 1)


@given(seed=SEEDS, seconds=LENGTHS)
def test_every_fault_is_over_before_its_burst_is_and_the_quiet_is_three_tenths(seed: int, seconds: float):
    schedule = draw_schedule(seconds, seed=seed)
    for fault in schedule.faults:
        assert any(
            each.begins <= fault.at_seconds and fault.at_seconds + fault.seconds <= each.ends
            for each in schedule.bursts
        )
    struck = sum(burst.ends - burst.begins for burst in schedule.bursts)
    assert seconds - struck == pytest.approx(0.3 * seconds)


@given(seed=SEEDS, seconds=LENGTHS)
def test_in_a_lane_one_fault_is_over_before_the_next_begins(seed: int, seconds: float):
    for faults in by_lane(draw_schedule(seconds, seed=seed)).values():
        for one, other in itertools.pairwise(faults):
            assert one.at_seconds + one.seconds <= other.at_seconds


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_twenty_minutes_have_every_kind_a_hundred_faults_and_five_quiet_minutes(seed: int):
    schedule = draw_schedule(1200.0, seed=seed)
    counts = Counter(fault.kind for fault in schedule.faults)
    assert set(counts) == set(Kind)
    assert len(schedule.faults) >= 100
    quiet = [after.begins - before.ends for before, after in zip(schedule.bursts, schedule.bursts[1:], strict=False)]
    assert sum(quiet) + schedule.seconds - schedule.bursts[-1].ends >= 300.0


def test_every_second_burst_is_single_file():
    schedule = draw_schedule(1200.0, seed=1)
    for number, burst in enumerate(schedule.bursts):
        lanes = {fault.lane for fault in schedule.faults if burst.begins <= fault.at_seconds < burst.ends}
        assert lanes == ({SINGLE_FILE} if number % 2 else set(LANES))


def test_a_smoke_has_each_kind_once():
    schedule = draw_schedule(120.0, seed=7, is_smoke=True)
    assert Counter(fault.kind for fault in schedule.faults) == dict.fromkeys(Kind, 1)
