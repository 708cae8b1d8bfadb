"""`failsoft demo`: a pipeline on a real Kafka while its model drowns, slows down and hangs, and every request accounted for."""

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
from failsoft.trials.demo import PYTHON_M_FAILSOFT, Audience, DemoOutcome, DemoSettings, Now, run_demo
from failsoft.trials.report import LEVELS, verdict_json, verdict_lines, verdict_table
from failsoft.trials.scenario import FULL, QUICK

LINE_EVERY_SECONDS = 5.0
PHASE_WIDTH, FIGURE_WIDTH = 9, 7
"""So that the live view stands still."""


def demo(
    *,
    json: JsonOption = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Only one phase: twice the load, and a worker killed. Half a minute.")
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
    """Read handwritten digits while the large model drowns, slows down and hangs and a worker is killed; account for all.

    Exits 0 when no accepted request was lost, no result seen twice and none came unasked; else 1.
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
        with a_broker(bootstrap, progress=show_fetch) as connection, _audience() as audience:
            audience.step(f"Kafka answers at {connection.bootstrap_servers}")
            shown = asyncio.run(run_demo(connection, known, settings, audience))
    _report(shown, json, started_at, seed)
    raise typer.Exit(Exit.OK if shown.verdict.is_kept else Exit.BROKEN_PROMISE)


def _report(shown: DemoOutcome, json: str | None, started_at: float, seed: int) -> None:
    if json != "-":
        console = Console()
        console.print(verdict_table(shown.verdict))
        for line in verdict_lines(shown):
            console.print(line, soft_wrap=True, highlight=False)
    if json is not None:
        write_json(json, command="demo", started_at=started_at, seed=seed, result=verdict_json(shown))


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
        table.add_row(now.phase.name, *(value for _, value in _figures(now)))
        self._live.update(table, refresh=True)


def _figures(now: Now) -> Iterator[tuple[str, str]]:
    """How things stand, of what came in the last seconds, each with its name."""
    recent = now.recent
    yield "time", f"{now.seconds:.0f}/{now.phase.seconds:.0f} s" if now.seconds < now.phase.seconds else "pause"
    yield "results/s", f"{recent.per_second:.0f}"
    for level in LEVELS:
        yield f"level {level}", _share(recent.levels[level], recent.count)
    yield "in time", _share(recent.in_time, recent.count)
    yield "open", str(now.waiting)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "-"
