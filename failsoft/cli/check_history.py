"""`failsoft check-history DIR`: judge a trial by what was written down while faults struck."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from failsoft.cli.exits import Exit, explained_errors
from failsoft.cli.report import JsonOption, write_json
from failsoft.trials.checks import Judgement, judge
from failsoft.trials.checks.report import fault_table, invariant_table, judgement_json, judgement_lines
from failsoft.trials.history import load_history


def check_history(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A trial's history: what `failsoft faults --keep DIR` leaves behind.")
    ],
    *,
    json: JsonOption = None,
) -> None:
    """Hold a history against every invariant.

    Exit 0: all hold. 1: one is broken; its first breaches are shown. 2: the history cannot be judged; file and line are named.
    """
    started_at = time.time()
    with explained_errors():
        judgement = judge(load_history(folder))
    if json != "-":
        _show(judgement)
    if json is not None:
        write_json(json, command="check-history", started_at=started_at, result=judgement_json(judgement))
    if not judgement.is_kept:
        raise typer.Exit(Exit.BROKEN_PROMISE)


def _show(judgement: Judgement) -> None:
    console = Console()
    console.print(invariant_table(judgement))
    if judgement.faults:
        console.print(fault_table(judgement))
    for line in judgement_lines(judgement):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
