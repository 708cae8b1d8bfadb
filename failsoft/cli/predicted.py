"""A prediction as tables for people and as JSON for programs (DESIGN §11)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from failsoft.policy.durations import write_duration
from failsoft.simulation.latency_law import Lognormal, Measured
from failsoft.simulation.prediction import FULL_SHARE, Predicted, Question, degrades_from, outlasting
from failsoft.simulation.report import Summary


def show(title: str, question: Question, found: Sequence[Predicted]) -> None:
    """Print a table per class and one for all, and then what follows from them."""
    console = Console()

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    first = question.settings.tiers[0]
    say(
        f"{title}: load 1 is {question.capacity:.3g} requests/s, what {first.name} serves with {first.limit} calls at once"
    )
    for name in (load.request_class for load in question.mix):
        console.print(
            _table(name, question.seconds, [(each, each.classes[name]) for each in found if name in each.classes])
        )
    console.print(_table("all classes", question.seconds, [(each, each.total) for each in found]))
    for name, load in degrades_from(found).items():
        say(
            f"{name}: "
            + (
                "level 1 at all of these loads"
                if load is None
                else f"less than {FULL_SHARE:.0%} at level 1 from load {load:g}"
            )
        )
    for each in outlasting(question):
        say(
            f"{each.request_class}: its deadline of {write_duration(each.budget_seconds)} outlasts the "
            f"{question.seconds:.3g} s of each load, so it can wait for the end of an overload; --seconds makes it longer"
        )


def _table(title: str, seconds: float, rows: Sequence[tuple[Predicted, Summary]]) -> Table:
    """One class over load, narrow enough for 80 columns; what is left out is in the JSON."""
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False, padding=0)
    for heading in (
        "load",
        "asked/s",
        "in time",
        "level 1",
        "level 2",
        "level 3",
        "value",
        "wasted",
        "p50",
        "p95",
        "p99",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for at, each in rows:
        table.add_row(
            f"{at.load:g}",
            f"{each.offered / seconds:.3g}",
            f"{each.in_time_share:.1%}",
            *(f"{each.level_share(level):.1%}" for level in (1, 2, 3)),
            f"{each.value:.3f}",
            f"{each.wasted_work:.1%}",
            *(f"{figure:.3g}s" for figure in (each.p50_seconds, each.p95_seconds, each.p99_seconds)),
        )
    return table


def result_of(question: Question, found: Sequence[Predicted]) -> dict[str, Any]:
    """The same for `--json`."""
    return {
        "capacity_per_second": question.capacity,
        "arrivals": "recorded" if question.recorded else "poisson",
        "arrival_seconds": question.seconds,
        "workers": question.workers,
        "mix": {load.request_class: load.share for load in question.mix},
        "laws": {name: _law(law) for name, law in question.laws.items()},
        "loads": [
            {
                "load": each.load,
                "per_second": each.per_second,
                "classes": {name: asdict(figures) for name, figures in each.classes.items()},
                "total": asdict(each.total),
            }
            for each in found
        ],
        "degrades_from": degrades_from(found),
        "outlasting": [load.request_class for load in outlasting(question)],
        "invariants_broken": sum(each.invariants_broken for each in found),
    }


def _law(law: Lognormal | Measured) -> Mapping[str, Any]:
    if isinstance(law, Lognormal):
        return {"kind": "lognormal", "median_seconds": law.median_seconds, "sigma": law.sigma}
    return {
        "kind": "measured",
        "median_seconds": law.typical_seconds(1),
        "mean_seconds": law.mean_seconds,
        "samples": len(law.recorded),
    }
