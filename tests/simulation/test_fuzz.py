import random
from collections.abc import Callable
from statistics import median

from failsoft.simulation.fuzz import fuzz

SEEDS = range(1, 13)


def dice_of(seed: int) -> Callable[[str], random.Random]:
    return lambda part: random.Random(f"{seed} {part}")


def test_no_invariant_breaks_in_random_worlds_that_are_large_and_ill_enough():
    runs = [fuzz(seed, dice_of(seed)) for seed in SEEDS]
    assert {run.seed: list(map(str, run.broken)) for run in runs if run.broken} == {}
    assert median(run.requests for run in runs) >= 1_000
    assert median(run.faults for run in runs) >= 5
    assert min(run.hosts for run in runs) >= 3
    assert sum(run.repeats_in_log for run in runs) > 0
