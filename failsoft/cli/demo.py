"""`failsoft demo`: two pipelines on a real Kafka while models, workers, a retrieval and a region fail; all is accounted for."""

import asyncio
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table

from failsoft.catalogue import load
from failsoft.cli.broker import show_fetch
from failsoft.cli.exits import Exit, explained_errors
from failsoft.cli.report import JsonOption, write_json
from failsoft.policy.durations import parse_duration
from failsoft.testing.cluster import a_broker
from failsoft.trials.audience import Audience, Now
from failsoft.trials.demo import PIPELINE, PYTHON_M_FAILSOFT, STAGES, DemoOutcome, DemoSettings, run_demo
from failsoft.trials.deployment import has_pipeline, require_listed
from failsoft.trials.report import LEVELS, verdict_json, verdict_lines, verdict_table
from failsoft.trials.scenario import FULL, QUICK
from failsoft.trials.second_act import script
from failsoft.trials.second_act.act import SecondAct, run_second_act
from failsoft.trials.second_act.report import act_json, act_lines, act_table

LINE_EVERY_SECONDS = 5.0
PHASE_WIDTH, FIGURE_WIDTH = 9, 7
"""So that the live view stands still."""


def demo(
    *,
    json: JsonOption = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Only one phase of the first act: twice the load, and a worker killed. Half a minute."
        ),
    ] = False,
    seed: Annotated[
        int, typer.Option(help="Of the load, of the models' service times, and of which worker is killed.")
    ] = 0,
    bootstrap: Annotated[
        str | None,
        typer.Option(metavar="SERVERS", help="Default: KAFKA_BOOTSTRAP_SERVERS, else a Kafka of its own."),
    ] = None,
    catalogue: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Default: ./topics.yaml, else the one that comes with failsoft."),
    ] = None,
    session_timeout: Annotated[
        str, typer.Option(help="After how long others take over from the killed worker; the broker must allow it.")
    ] = "3s",
    launcher: Annotated[
        list[str] | None, typer.Option(hidden=True, help="Stands in for failsoft, a word each.")
    ] = None,
) -> None:
    """Show what is promised, in two acts, and account for every request.

    First: digits are read while a model drowns, slows down and hangs and a worker is killed.

    Second: questions are answered while retrieval silently finds nothing, then while a region fails and is left.

    Exits 0 when nothing was lost, seen twice or came unasked, and the second act has shown all that it must; else 1.
    """
    started_at = time.time()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # an orderly end as with Ctrl-C: workers and broker stop
    with explained_errors():
        settings = DemoSettings(
            session_seconds=parse_duration(session_timeout, field="--session-timeout"),
            phases=QUICK if quick else FULL,
            catalogue_path=catalogue,
            seed=seed,
            launcher=launcher or PYTHON_M_FAILSOFT,
        )
        known = load(catalogue)
        has_second = not quick and has_pipeline(script.PIPELINE)
        require_listed(known, PIPELINE, STAGES)
        if has_second:
            require_listed(known, script.PIPELINE, script.STAGES)
        with a_broker(bootstrap, progress=show_fetch) as connection, _audience() as audience:
            audience.step(f"Kafka answers at {connection.bootstrap_servers}")
            if not (quick or has_second):
                audience.step(f"no workers/{script.PIPELINE}.py here, so there is no second act")
            shown = asyncio.run(run_demo(connection, known, settings, audience))
            second = asyncio.run(run_second_act(connection, known, settings, audience)) if has_second else None
    if json != "-":
        _print(shown, second)
    if json is not None:
        result = verdict_json(shown) | {"second_act": None if second is None else act_json(second)}
        write_json(json, command="demo", started_at=started_at, seed=seed, result=result)
    is_kept = shown.verdict.is_kept and (second is None or second.is_kept)
    raise typer.Exit(Exit.OK if is_kept else Exit.BROKEN_PROMISE)


def _print(shown: DemoOutcome, second: SecondAct | None) -> None:
    _print_part(verdict_table(shown.verdict), verdict_lines(shown))
    if second is not None:
        _print_part(act_table(second), act_lines(second))


def _print_part(table: Table, lines: Iterator[str]) -> None:
    console = Console()
    console.print(table)
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False)


@contextmanager
def _audience() -> Iterator[Audience]:
    """People at a terminal see it live, logs get lines; both on standard error."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield _View(live)


class _Lines:
    """Plain lines, with the seconds since the start."""

    def __init__(self) -> None:
        self._began_at = self._shown_at = time.monotonic()

    def step(self, text: str) -> None:
        print(f"{time.monotonic() - self._began_at:5.1f} s  {text}", file=sys.stderr, flush=True)

    def show(self, now: Now) -> None:
        if time.monotonic() - self._shown_at >= LINE_EVERY_SECONDS:
            self._shown_at = time.monotonic()
            self.step("  ".join(f"{name} {value}" for name, value in _figures(now)))


class _View:
    """The story, and below it how things stand."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._began_at = time.monotonic()

    def step(self, text: str) -> None:
        self._live.console.print(f"{time.monotonic() - self._began_at:5.1f} s  {text}", highlight=False)

    def show(self, now: Now) -> None:
        table = Table(box=SIMPLE_HEAD, padding=0)
        table.add_column("phase", min_width=PHASE_WIDTH)
        for name, _ in _figures(now):
            table.add_column(name, justify="right", min_width=FIGURE_WIDTH)
        table.add_row(now.phase, *(value for _, value in _figures(now)))
        self._live.update(table, refresh=True)


def _figures(now: Now) -> Iterator[tuple[str, str]]:
    """How things stand, of what came in the last seconds, each with its name."""
    recent = now.recent
    yield "time", now.time
    yield "results/s", f"{recent.per_second:.0f}"
    for level in LEVELS:
        yield f"level {level}", _share(recent.levels[level], recent.count)
    yield "in time", _share(recent.in_time, recent.count)
    yield "open", str(now.waiting)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "-"
