from statistics import median

import pytest

from failsoft.simulation.fuzz import drawn_plan
from failsoft.simulation.workload import poisson
from tests.simulation.worlds import HALF, broken_in_block, dice_of


@pytest.mark.parametrize("first", HALF)
def test_no_invariant_breaks_in_random_worlds(first):
    assert broken_in_block(first) == {}


def test_half_of_all_worlds_are_large_and_ill():
    plans = [drawn_plan(dice_of(seed)("plan")) for seed in range(1, 301)]
    requests = [
        len(poisson(plan.phases, plan.mix, dice_of(seed)("arrivals"), plan.contents))
        for seed, plan in enumerate(plans, start=1)
    ]
    assert median(requests) >= 1_000
    assert median(plan.hosts for plan in plans) >= 3
    assert median(len(plan.faults) for plan in plans) >= 5
