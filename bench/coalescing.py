"""How many calls does coalescing save, of those that could be saved? Against an oracle, over loads, repeats and deadlines.

    python bench/coalescing.py           # three minutes; a table, and bench/results/coalescing.json
    python bench/coalescing.py --quick   # one run of each case: one minute

The reference stage in virtual time, three workers, two minutes of arrivals: a full model, a small one, a canned answer, and loads
given as multiples of what the full model serves. So many of the requests are *repeats*: they ask one of 1,000 contents, drawn by
Zipf's law; all others ask what nobody else does. No answer is kept, so that only requests that meet in time can share. Budgets
are the usual ones (2, 10 and 60 s), or *short*: .5, 1 and 60 s, in front of a full model of the same median, .2 s, whose calls
spread more (sigma 1).

**Saved** is what was served by a model without a call of its own: requests that a model served - calls that served them.

**The oracle** knows all arrivals, and how every call will turn out. It goes through the calls that answered, in the order of
their starts, and strikes each whose waiters could all have been served by one that it has kept::

    same content    started no later    answered after each of them came and by each one's deadline    level <= each one's floor

What it strikes, coalescing missed. It looks at nothing else: it holds nobody back so that more may gather, and it keeps no
answer, for that is another pattern's business. But it takes any level that a request accepts, while the rule has a request that
may yet have the full model leave a running call of the small one alone; *same level* is the share by an oracle that strikes no
call for one of a lower level::

    share    saved / (saved + struck)

With short deadlines it is lower, because there the oracle lives on what nobody can know: that a call which is past its median
will end in time after all.

Judged at twice the load with a quarter of repeats, the mean of the seeds: the share is at least .95, and without coalescing it
is 0, so the oracle does find what there is; else exit 1.
"""

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from random import Random
from statistics import fmean
from typing import NamedTuple

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.report import Quick, save
from failsoft.cli.exits import Exit
from failsoft.policy.actions import Publish, StartCall
from failsoft.policy.coalescing import CoalescingConfig
from failsoft.policy.events import Arrived, Event, Verdict
from failsoft.policy.outcome import Outcome
from failsoft.policy.request import RecordId
from failsoft.policy.settings import StageSettings
from failsoft.simulation.endpoints import ModelEndpoint
from failsoft.simulation.engine import Engine
from failsoft.simulation.latency_law import Lognormal
from failsoft.simulation.pool import run_pool
from failsoft.simulation.scenarios import (
    BATCH,
    CAPACITY,
    FULL,
    FULL_LAW,
    FULL_SLOTS,
    INTERACTIVE,
    MIX,
    SETTINGS,
    SMALL,
    SMALL_LAW,
    STANDARD,
)
from failsoft.simulation.scenarios import SMALL_SLOTS as SLOTS_BELOW
from failsoft.simulation.shell import CallUnderWay, Shell
from failsoft.simulation.workload import Ask, ClassLoad, Phase, poisson

SHORT = (ClassLoad(INTERACTIVE, 0.5, 0.5), ClassLoad(STANDARD, 0.3, 1.0), ClassLoad(BATCH, 0.2, 60.0))
SHARE_LEAST = 0.95
CONTENTS = 1_000
SECONDS = 120.0
WORKERS = 3
PARTITIONS = 24


class Case(NamedTuple):
    """One row of the table."""

    load: float
    repeats: float
    is_short: bool = False
    coalesces: bool = True

    @property
    def settings(self) -> StageSettings:
        """The stage."""
        return replace(SETTINGS, coalescing=CoalescingConfig(enforce=self.coalesces))

    @property
    def name(self) -> str:
        """Beside load and repeats."""
        return " ".join([*["short"] * self.is_short, *["without coalescing"] * (not self.coalesces)])


JUDGED = Case(2.0, 0.25)
WITHOUT = Case(2.0, 0.25, coalesces=False)
CASES = (
    Case(0.7, 0.25),
    Case(1.0, 0.25),
    Case(2.0, 0.1),
    JUDGED,
    WITHOUT,
    Case(2.0, 0.5),
    Case(3.0, 0.25),
    Case(0.7, 0.25, is_short=True),
    Case(2.0, 0.25, is_short=True),
)


class Asked(NamedTuple):
    """One request, as far as sharing goes."""

    came_at: float
    deadline_at: float
    floor: int


@dataclass(slots=True)
class Answered:
    """One call that answered, and whom it served."""

    key: str
    level: int
    started_at: float
    ended_at: float
    waiters: list[Asked]

    def could_serve_all_of(self, other: "Answered", *, keeps_level: bool) -> bool:
        """Whether nobody who was served by another call of this content would have lost anything with this one.

        Args:
            other: it started no earlier.
            keeps_level: whether a lower level than it had counts as a loss.
        """
        level = other.level if keeps_level else 3
        return all(
            waiter.came_at < self.ended_at <= waiter.deadline_at and self.level <= min(level, waiter.floor)
            for waiter in other.waiters
        )


class Ledger:
    """Writes down who was served by which call."""

    def __init__(self) -> None:
        self._levels = {tier.name: tier.level for tier in SETTINGS.tiers}
        self._asked: dict[RecordId, tuple[str, Asked]] = {}
        self._calls: dict[tuple[str, int], Answered] = {}

    def call_started(self, shell: Shell, action: StartCall) -> None:
        """Only calls that answer count."""

    def call_ended(self, shell: Shell, call: CallUnderWay, verdict: Verdict) -> None:
        """Note one that answered."""
        action = call.action
        if verdict is Verdict.OK:
            key, _ = self._asked[action.record]
            answered = Answered(key, self._levels[action.tier], call.started_at, shell.now, [])
            self._calls[shell.name, action.call_id] = answered

    def decided(self, shell: Shell, action: Publish) -> None:
        """Note whom it served."""
        if action.call_id is not None and action.ending.outcome is Outcome.OK:
            self._calls[shell.name, action.call_id].waiters.append(self._asked[action.record][1])

    def handled(self, shell: Shell, event: Event) -> None:
        """Note who came. None is served by a call at the instant at which it comes."""
        if isinstance(event, Arrived):
            floor = SETTINGS.by_class[event.record.request_class].floor
            deadline_at = shell.now + (event.stamp.budget_seconds or 0.0)
            asked = Asked(shell.now, deadline_at, floor)
            self._asked[event.record] = (event.key or f"alone {event.record}", asked)

    @property
    def calls(self) -> list[Answered]:
        """Those that served somebody, in the order of their starts."""
        return sorted((call for call in self._calls.values() if call.waiters), key=lambda call: call.started_at)


def struck(calls: Iterable[Answered], *, keeps_level: bool) -> int:
    """How many of these calls the oracle does without."""
    kept: dict[str, list[Answered]] = defaultdict(list)
    missed = 0
    for call in calls:
        if any(other.could_serve_all_of(call, keeps_level=keeps_level) for other in kept[call.key]):
            missed += 1
        else:
            kept[call.key].append(call)
    return missed


def arrivals(case: Case, seed: int) -> list[Ask]:
    """Draw what is asked."""
    dice = Random(f"arrivals {case.load} {case.repeats} {seed}")
    asks = poisson([Phase(case.load * CAPACITY, 0, SECONDS)], SHORT if case.is_short else MIX, dice)
    return drawn(asks, case.repeats, dice)


def drawn(asks: Iterable[Ask], repeats: float, dice: Random) -> list[Ask]:
    """Make so many of these repeats, by Zipf's law; the others ask what nobody else does."""
    ranks = list(accumulate(1 / rank for rank in range(1, CONTENTS + 1)))

    def one(ask: Ask) -> Ask:
        if dice.random() >= repeats:
            return replace(ask, key=f"once {ask.number}")
        content = bisect_left(ranks, dice.random() * ranks[-1])
        return replace(ask, content=content, key=f"often {content}")

    return [one(ask) for ask in asks]


def measure(case: Case, seed: int) -> dict[str, float]:
    """One run, and what the oracle says to it."""
    engine, ledger = Engine(), Ledger()
    law = Lognormal(FULL_LAW.median_seconds, 1.0) if case.is_short else FULL_LAW
    models = {
        FULL: ModelEndpoint(engine, law, slots=FULL_SLOTS, rng=Random(f"{FULL} {seed}")),
        SMALL: ModelEndpoint(engine, SMALL_LAW, slots=SLOTS_BELOW, rng=Random(f"{SMALL} {seed}")),
    }
    asks, watches = arrivals(case, seed), [ledger]
    tally = run_pool(engine, case.settings, models, asks, workers=WORKERS, partitions=PARTITIONS, watches=watches)
    calls, summary = ledger.calls, tally.summary()
    saved = sum(len(call.waiters) for call in calls) - len(calls)
    missed, same_level = struck(calls, keeps_level=False), struck(calls, keeps_level=True)
    return {
        "requests": len(asks),
        "calls": len(calls),
        "saved": saved,
        "struck": missed,
        "share": saved / max(1, saved + missed),
        "same_level_share": saved / max(1, saved + same_level),
        "in_time_share": summary.in_time_share,
        "value": summary.value,
    }


def main(
    seeds: int = typer.Option(3, min=1, help="Runs of each case."),
    *,
    quick: Quick = False,
) -> None:
    """Measure, print, write bench/results/coalescing.json, and judge."""
    started_at = time.time()
    seeds = 1 if quick else seeds
    found = {case: _mean(case, seeds) for case in CASES}
    is_kept = found[JUDGED]["share"] >= SHARE_LEAST and found[WITHOUT]["share"] == 0 < found[WITHOUT]["struck"]
    _print(found)
    rows = [case._asdict() | row for case, row in found.items()]
    result = {"rows": rows, "share_least": SHARE_LEAST, "is_kept": is_kept, "seeds": seeds}
    save("coalescing", started_at=started_at, seed=None, result=result, is_quick=quick)
    raise typer.Exit(Exit.OK if is_kept else Exit.BROKEN_PROMISE)


def _mean(case: Case, seeds: int) -> dict[str, float]:
    runs = [measure(case, seed) for seed in range(seeds)]
    return {name: round(fmean(run[name] for run in runs), 4) for name in runs[0]}


def _print(found: Mapping[Case, dict[str, float]]) -> None:
    table = Table(box=SIMPLE_HEAD, title="calls saved by coalescing, of those that an oracle saves")
    for name in ("load", "repeats", "requests", "calls", "saved", "struck", "share", "same level", "value", ""):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for case, row in found.items():
        counts = [f"{row[name]:,.0f}" for name in ("requests", "calls", "saved", "struck")]
        shares = [f"{row[name]:.1%}" for name in ("share", "same_level_share", "value")]
        table.add_row(f"{case.load:g}", f"{case.repeats:.0%}", *counts, *shares, case.name)
    Console(width=120).print(table)


if __name__ == "__main__":
    typer.run(main)
