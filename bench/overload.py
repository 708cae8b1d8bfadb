"""What overload and a sick model cost: failsoft, a careful worker and a plain one, asked the same, on the same broker and models.

    python -m bench.overload             # 25 minutes; tables, bench/results/overload.json, and overload-<contender>.svg
    python -m bench.overload --quick     # 4 minutes, into bench/results/quick

Open loop, Poisson: a fifth interactive (2 s), half standard (10 s), the rest batch (30 s). The large model has 6 slots and a
median of .4 s, the small one 12 and .04 s, both lognormal with sigma .35; what the large one can serve, 14 a second, is load 1.
Each load lasts 16 s from an idle stage, and what waits at the end is worked off. All questions differ; in *repeats*, at load 3, a
quarter asks one of the last fifty again. At load .7 the large model *hangs* for 30 s, breaks all connections for 20 s (*outage*),
or for 14 s takes five times as long (*slow*) or has four times the 99th percentile at the same median (*widening*).

Who the contenders are is in contest.py, what the figures mean in figures.py. The ceiling is the blind bound of *calls*: where
questions repeat, shared calls may beat it.

Judged of failsoft: at every load .98 in time, value .95 of the ceiling, less than .05 of the models' seconds wasted; after every
fault level 1 back within 10 s. Else exit 1.
"""

import asyncio
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.contest import CAPACITY, CONTENDERS, MIX, Case, Measured, Trouble, at_home, contest
from bench.figures import as_predicted, ceiling, report
from bench.report import Quick, save
from failsoft.cli.exits import Exit, explained_errors
from failsoft.simulation.plot import load_chart
from failsoft.simulation.workload import Ask, Phase, poisson
from failsoft.testing import EmbeddedKafka
from failsoft.testing.model_server import Faults

LOADS, SECONDS = (0.3, 0.7, 1.0, 2.0, 3.0, 5.0, 10.0), 16.0
QUICK_LOADS, QUICK_SECONDS = (0.7, 5.0), 10.0
REPEATS_LOAD, REPEATS, RECENT = 3.0, 0.25, 50
SICK_LOAD = 0.7
HEALTHY_SECONDS = 6.0
SICKNESSES = {
    "hang": (Faults(hang=True), 30.0, 20.0),
    "outage": (Faults(outage=True), 20.0, 20.0),
    "slow": (Faults(slow=5.0), 14.0, 8.0),
    "widening": (Faults(widen=4.0), 14.0, 8.0),
}
"""What is wrong, for how many seconds, and how long arrivals go on after it. A breaker opens in the first two: a hang of half the
time is over before ten calls have failed."""
QUICK_SICKNESSES = {"hang": (Faults(hang=True), 6.0, 10.0)}

IN_TIME_LEAST, OF_CEILING_LEAST, WASTED_MOST, RECOVERY_MOST = 0.98, 0.95, 0.05, 10.0

Results = dict[str, dict[str, Any]]
"""Contender -> its figures."""


def main(
    seed: Annotated[int, typer.Option(help="Of arrivals and service times.")] = 0,
    only: Annotated[
        list[str] | None, typer.Option(help="Cases: loads, repeats, hang, outage, slow, widening. Default: all.")
    ] = None,
    contender: Annotated[list[str] | None, typer.Option(help="Who is asked. Default: all.")] = None,
    *,
    quick: Quick = False,
) -> None:
    """Measure, print, write, and judge."""
    started_at = time.time()
    at_home()
    contenders = contender or list(CONTENDERS)
    cases = [case for case in _cases(seed, is_quick=quick) if not only or case.name in only]
    with explained_errors(), EmbeddedKafka() as kafka, tempfile.TemporaryDirectory(prefix="failsoft-bench-") as folder:
        runs = asyncio.run(run_all(kafka.bootstrap_servers, cases, contenders, Path(folder), seed=seed))
    results = {case.name: runs_of(runs[case.name], ceiling(case)) for case in cases}
    missed = [line for case in cases if (line := _missed(case, results[case.name].get("failsoft"))) is not None]
    for line in missed:
        print(f"missed: {line}")
    found = {case.name: {"ceiling": round(ceiling(case), 4), **results[case.name]} for case in cases}
    result = {"capacity_per_second": round(CAPACITY, 3), "cases": found, "missed": missed, "is_kept": not missed}
    path = save("overload", started_at=started_at, seed=seed, result=result, is_quick=quick)
    for name in contenders:
        _draw(path.with_name(f"overload-{name}.svg"), name, cases, runs)
    raise typer.Exit(Exit.BROKEN_PROMISE if missed else Exit.OK)


async def run_all(
    bootstrap: str,
    cases: Sequence[Case],
    contenders: Sequence[str],
    folder: Path,
    *,
    seed: int,
    possible: Callable[[Case], float] = ceiling,
) -> dict[str, dict[str, Measured]]:
    """Case -> contender -> what it made of it, printed as it comes."""
    found: dict[str, dict[str, Measured]] = {}
    for row, case in enumerate(cases):
        found[case.name] = {}
        for name in contenders:
            run = f"bench-{row}-{name}"
            (folder / run).mkdir()
            found[case.name][name] = await contest(bootstrap, name, case, run=run, folder=folder / run, seed=seed)
        print_case(case.name, len(case.asks), runs_of(found[case.name], possible(case)))
    return found


def runs_of(runs: Mapping[str, Measured], possible: float) -> Results:
    """The figures of all contenders in one case."""
    return {name: report(measured, possible) for name, measured in runs.items()}


def print_case(name: str, offered: int, results: Results) -> None:
    """One table a case, one row a contender."""
    table = Table(box=SIMPLE_HEAD, title=f"{name}: {offered} requests", title_justify="left")
    columns = (
        "in time %",
        "by class",
        "levels 1/2/3 %",
        "value",
        "of ceiling",
        "wasted %",
        "repeated",
        "p50 / p99 s",
        "back s",
        "busy %",
    )
    for column in ("", *columns):
        table.add_column(column, justify="right" if column else "left")
    for contender, found in results.items():
        total, classes = found["total"], [found[load.request_class] for load in MIX]
        table.add_row(
            contender,
            f"{_percent(total['in_time'], offered):.1f}",
            "/".join(f"{_percent(row['in_time'], row['offered']):.0f}" for row in classes),
            "/".join(f"{_percent(total['levels'].get(level, 0), offered):.0f}" for level in (1, 2, 3)),
            f"{total['value']:.3f}",
            f"{total['of_ceiling']:.3f}",
            f"{100 * total['wasted_work']:.1f}",
            str(total["repeated_calls"]),
            f"{classes[0]['p50_seconds']:.2f} / {classes[0]['p99_seconds']:.2f}",
            _recovery(total, classes),
            f"{100 * found['processors_busy_share']:.0f}",
        )
    Console(width=150).print(table)


def _recovery(total: Mapping[str, Any], classes: Iterable[Mapping[str, Any]]) -> str:
    """Of all, and of each class."""
    if "recovery_seconds" not in total:
        return ""
    each = [row["recovery_seconds"] for row in (total, *classes)]
    return " ".join("never" if seconds is None else f"{seconds:.1f}" for seconds in each)


def _percent(part: int, whole: int) -> float:
    return 100 * part / max(1, whole)


def _cases(seed: int, *, is_quick: bool) -> list[Case]:
    loads, seconds = (QUICK_LOADS, QUICK_SECONDS) if is_quick else (LOADS, SECONDS)
    cases = [Case(f"{load:g}", _asks(load, seconds, seed)) for load in loads]
    if not is_quick:
        cases.append(Case("repeats", _repeating(_asks(REPEATS_LOAD, SECONDS, seed), Random(f"repeats {seed}"))))
    for name, (faults, sick, after) in (QUICK_SICKNESSES if is_quick else SICKNESSES).items():
        trouble = Trouble(HEALTHY_SECONDS, HEALTHY_SECONDS + sick, faults)
        cases.append(Case(name, _asks(SICK_LOAD, trouble.ends_at + after, seed), trouble))
    return cases


def _asks(load: float, seconds: float, seed: int) -> list[Ask]:
    return poisson([Phase(load * CAPACITY, 0.0, seconds)], MIX, Random(f"arrivals {load} {seed}"))


def _repeating(asks: Iterable[Ask], dice: Random) -> list[Ask]:
    """The same, but a part asks again what one of the last has asked, in whatever class."""
    recent: deque[int] = deque(maxlen=RECENT)
    found = []
    for ask in asks:
        if recent and dice.random() < REPEATS:
            found.append(replace(ask, content=dice.choice(recent)))
        else:
            recent.append(ask.content)
            found.append(ask)
    return found


def _missed(case: Case, found: Mapping[str, Any] | None) -> str | None:
    """What failsoft has not kept in a case, in words."""
    if found is None:
        return None
    total = found["total"]
    if case.trouble is not None:
        seconds = total["recovery_seconds"]
        is_late = seconds is None or seconds > RECOVERY_MOST
        return f"{case.name}: back after {seconds} s of {RECOVERY_MOST:g}" if is_late else None
    in_time = total["in_time"] / total["offered"]
    aims = {
        f"in time {in_time:.3f} of {IN_TIME_LEAST}": in_time >= IN_TIME_LEAST,
        f"value {total['of_ceiling']:.3f} of {OF_CEILING_LEAST}": total["of_ceiling"] >= OF_CEILING_LEAST,
        f"wasted {total['wasted_work']:.3f} of {WASTED_MOST}": total["wasted_work"] < WASTED_MOST,
    }
    missed = [aim for aim, is_met in aims.items() if not is_met]
    return f"{case.name}: {', '.join(missed)}" if missed else None


def _draw(path: Path, contender: str, cases: Sequence[Case], runs: Mapping[str, Mapping[str, Measured]]) -> None:
    swept = [case for case in cases if case.name[0].isdigit()]
    found = [as_predicted(float(case.name), runs[case.name][contender]) for case in swept]
    path.write_text(load_chart(found, title=f"{contender}, measured on Kafka"))


if __name__ == "__main__":
    typer.run(main)
