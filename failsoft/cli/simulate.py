"""``failsoft simulate``: the production machine in virtual time, in a named scenario or in random worlds.

Exits 0 when every expectation is met and no invariant broke, else 1.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from failsoft.cli.dice import dice_of
from failsoft.cli.exits import Exit, explained_errors
from failsoft.cli.random_worlds import BROKEN_SHOWN, distribution, figures, run_worlds, told
from failsoft.cli.report import JsonOption, PlotOption, write_json
from failsoft.policy.errors import ConfigurationError
from failsoft.simulation.fleet import Fleet
from failsoft.simulation.plot import level_chart
from failsoft.simulation.report import Summary
from failsoft.simulation.scenarios import SCENARIOS, Scenario, named


def simulate(
    scenario: Annotated[str | None, typer.Argument(help="Which; --list shows them all.")] = None,
    *,
    seed: Annotated[int, typer.Option(help="What is left to chance; with --fuzz, the first of the seeds.")] = 1,
    plot: PlotOption = None,
    json: JsonOption = None,
    show_list: Annotated[bool, typer.Option("--list", help="Show the scenarios.")] = False,
    worlds: Annotated[
        int | None, typer.Option("--fuzz", metavar="N", min=1, help="Run so many random worlds instead.")
    ] = None,
) -> None:
    """Run a scenario in virtual time and hold it against what must come out of it."""
    started_at = time.time()
    with explained_errors():
        if show_list:
            _show_list()
        elif worlds is not None:
            _fuzz(range(seed, seed + worlds), json, started_at)
        elif scenario is not None:
            _scenario(named(scenario), seed, plot, json, started_at)
        else:
            raise ConfigurationError("nothing to simulate: name a scenario (--list shows them), or ask for --fuzz N")


def _show_list() -> None:
    width = max(len(known.name) for known in SCENARIOS)
    for known in SCENARIOS:
        print(f"{known.name:{width}}  {known.says}")


def _scenario(scenario: Scenario, seed: int, plot: Path | None, json: str | None, started_at: float) -> None:
    fleet = Fleet(scenario.plan, dice_of(seed))
    fleet.run()
    is_kept = not fleet.invariants.broken and all(expected.is_met(fleet) for expected in scenario.expects)
    if plot is not None:
        spans = [(fault.begins_at, fault.begins_at + fault.seconds) for fault in scenario.plan.faults]
        plot.write_text(level_chart(fleet.tally, title=f"{scenario.name}: {scenario.says}", faults=spans))
    if json != "-":
        console = Console()
        console.print(f"{scenario.name}: {scenario.says}", highlight=False, soft_wrap=True)
        console.print(_table(_summaries(fleet)))
        for line in _verdict_lines(scenario, fleet):
            console.print(line, highlight=False, soft_wrap=True)
    if json is not None:
        write_json(json, command="simulate", started_at=started_at, seed=seed, result=_result(scenario, fleet))
    raise typer.Exit(Exit.OK if is_kept else Exit.BROKEN_PROMISE)


def _summaries(fleet: Fleet) -> dict[str, Summary]:
    return {**fleet.tally.by_class(), "total": fleet.tally.summary()}


def _table(summaries: Mapping[str, Summary]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("")
    for name in summaries:
        table.add_column(name, justify="right")
    found = list(summaries.values())
    for word, cells in (
        ("offered", [str(each.offered) for each in found]),
        ("in time", [str(each.in_time) for each in found]),
        *((f"level {level}", [str(each.levels.get(level, 0)) for each in found]) for level in (1, 2, 3)),
        ("value", [f"{each.value:.3f}" for each in found]),
        ("wasted work", [f"{each.wasted_work:.3f}" for each in found]),
        ("calls per request", [f"{each.calls_per_request:.2f}" for each in found]),
        ("p50", [f"{each.p50_seconds:.2f} s" for each in found]),
        ("p95", [f"{each.p95_seconds:.2f} s" for each in found]),
        ("p99", [f"{each.p99_seconds:.2f} s" for each in found]),
    ):
        table.add_row(word, *cells)
    return table


def _verdict_lines(scenario: Scenario, fleet: Fleet) -> Iterator[str]:
    for expected in scenario.expects:
        word = "met " if expected.is_met(fleet) else "MISSED"
        yield f"{word} {expected.says}: {expected.figure(fleet):.3f} (wanted {expected.bounds})"
    broken = fleet.invariants.broken
    for breach in broken[:BROKEN_SHOWN]:
        yield f"BROKEN {breach}"
    yield f"{len(broken)} invariants broken; {fleet.cluster.visible.repeats_in_log} repeats in the log that no reader is shown"


def _result(scenario: Scenario, fleet: Fleet) -> dict[str, Any]:
    return {
        "scenario": scenario.name,
        "classes": {name: asdict(each) for name, each in fleet.tally.by_class().items()},
        "total": asdict(fleet.tally.summary()),
        "expectations": [
            {"says": expected.says, "figure": expected.figure(fleet), "is_met": expected.is_met(fleet)}
            for expected in scenario.expects
        ],
        "virtual_seconds": fleet.engine.now,
        "repeats_in_log": fleet.cluster.visible.repeats_in_log,
        "invariants_broken": len(fleet.invariants.broken),
        "breaches": [str(breach) for breach in fleet.invariants.broken[:BROKEN_SHOWN]],
    }


def _fuzz(seeds: range, json: str | None, started_at: float) -> None:
    runs = list(told(run_worlds(seeds), len(seeds)))
    failing = [run.seed for run in runs if run.broken]
    if json != "-":
        Console().print(distribution(runs))
        print(f"{len(failing)} of {len(runs)} worlds broke an invariant.")
    if json is not None:
        result = {
            "worlds": len(runs),
            "invariants_broken": sum(len(run.broken) for run in runs),
            "failing_seeds": failing,
            "distribution": figures(runs),
        }
        write_json(json, command="simulate", started_at=started_at, seed=seeds.start, result=result)
    raise typer.Exit(Exit.BROKEN_PROMISE if failing else Exit.OK)
