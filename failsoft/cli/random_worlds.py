"""Random worlds on all cores: what ``failsoft simulate --fuzz N`` runs, tells meanwhile, and says of the seeds that failed.

A world is a function of its seed, so the cores share nothing; results come in the order of the seeds, whoever ran them.
"""

import gc
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median

from rich.box import SIMPLE_HEAD
from rich.table import Table

from failsoft.cli.dice import dice_of
from failsoft.simulation.fuzz import Fuzzed, fuzz

CHUNK = 8
"""Worlds that a core takes at a time: seconds of work, so that handing them out costs nothing."""
SAID_SECONDS = 10.0
BROKEN_SHOWN = 10
"""Breaches of one world that are spelled out; the rest is counted."""


def run_worlds(seeds: Sequence[int]) -> Iterator[Fuzzed]:
    """Run the worlds of these seeds; a few of them here, where a debugger reaches them."""
    if len(seeds) <= CHUNK:
        yield from map(_world, seeds)
        return
    with ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=_begin) as pool:
        yield from pool.map(_world_alone, seeds, chunksize=CHUNK)


def told(runs: Iterator[Fuzzed], total: int) -> Iterator[Fuzzed]:
    """Pass the runs on, and say on standard error what broke and, now and then, how far they are."""
    began_at = said_at = time.monotonic()
    broken = 0
    for done, run in enumerate(runs, start=1):
        broken += bool(run.broken)
        for line in failure_lines(run):
            print(line, file=sys.stderr, flush=True)
        if done % CHUNK == 0 and time.monotonic() - said_at >= SAID_SECONDS:
            said_at = time.monotonic()
            left = (said_at - began_at) * (total - done) / done
            print(f"{done} of {total} worlds, {broken} broken, about {left:.0f} s left", file=sys.stderr, flush=True)
        yield run


def failure_lines(run: Fuzzed) -> Iterator[str]:
    """What broke in a world, and the command that replays it."""
    for breach in run.broken[:BROKEN_SHOWN]:
        yield f"BROKEN in seed {run.seed}: {breach}"
    if run.broken:
        yield f"  {len(run.broken)} in all; again with: failsoft simulate --fuzz 1 --seed {run.seed}"


def figures(runs: Sequence[Fuzzed]) -> dict[str, Mapping[str, float]]:
    """How large and ill the worlds were: least, median and most of each figure."""
    return {
        "requests": _spread([run.requests for run in runs]),
        "hosts": _spread([run.hosts for run in runs]),
        "faults": _spread([run.faults for run in runs]),
        "virtual_seconds": _spread([run.virtual_seconds for run in runs]),
        "repeats_in_log": _spread([run.repeats_in_log for run in runs]),
    }


def distribution(runs: Sequence[Fuzzed]) -> Table:
    """The figures, for people."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("per world")
    for heading in ("least", "median", "most"):
        table.add_column(heading, justify="right")
    for name, spread in figures(runs).items():
        table.add_row(name.replace("_", " "), *(f"{figure:g}" for figure in spread.values()))
    return table


def _world(seed: int) -> Fuzzed:
    return fuzz(seed, dice_of(seed))


def _world_alone(seed: int) -> Fuzzed:
    """A world that is thrown away whole: what it leaves is looked for once after it, not a hundred times in it."""
    run = _world(seed)
    gc.collect()
    return run


def _begin() -> None:
    """Ctrl-C is for who waits for the worlds; it lets those under way end and starts no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    gc.disable()


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"min": min(values), "median": median(values), "max": max(values)}
