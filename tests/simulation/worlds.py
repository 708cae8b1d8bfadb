"""Random worlds in blocks: the 300 of every test run are split over two files, because a core is given a file at a time."""

import random
from collections.abc import Callable

from failsoft.simulation.fuzz import Fuzzed, fuzz

BLOCK = 15
HALF = range(1, 151, BLOCK)
OTHER_HALF = range(151, 301, BLOCK)


def dice_of(seed: int) -> Callable[[str], random.Random]:
    """The dice that ``failsoft simulate --fuzz 1 --seed N`` would use."""
    return lambda part: random.Random(f"{seed} {part}")


def broken_in_block(first: int) -> dict[int, list[str]]:
    """Run a block of worlds; return what broke, by seed."""
    runs = [fuzz(seed, dice_of(seed)) for seed in range(first, first + BLOCK)]
    return {run.seed: list(map(str, run.broken)) for run in runs if run.broken} | _too_tame(runs)


def _too_tame(runs: list[Fuzzed]) -> dict[int, list[str]]:
    """Worlds in which nothing that was published is ever published again have no faults to speak of."""
    return {} if any(run.repeats_in_log for run in runs) else {runs[0].seed: ["no fault has shown in this block"]}
