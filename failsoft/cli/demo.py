"""`failsoft demo`: the main job on a real Kafka, with a worker killed on the way, and every request accounted for."""

import asyncio
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from failsoft.catalogue import load
from failsoft.cli.broker import show_fetch
from failsoft.cli.exits import Exit, explained_errors
from failsoft.cli.report import write_json
from failsoft.policy.durations import parse_duration
from failsoft.testing.cluster import a_broker
from failsoft.trials.demo import PYTHON_M_FAILSOFT, Audience, DemoOutcome, DemoSettings, run_demo
from failsoft.trials.report import verdict_json, verdict_lines, verdict_table

LINE_EVERY_SHARE = 0.1
"""Of all results, one plain line each."""
PHASE = "one worker killed"


def demo(
    *,
    json: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE", help="Also write a report, - for standard output instead of text."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Which images, in which classes, and which worker is killed.")] = 0,
    images: Annotated[
        int | None, typer.Option(min=1, help="How many images; each is asked in two classes. Default: all 898.")
    ] = None,
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
    """Classify 898 handwritten digits on real models, kill a worker, and account for every request.

    Exits 0 when no accepted request was lost, no result seen twice and none came unasked; else 1.
    """
    started_at = time.time()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # an orderly end as with Ctrl-C: workers and broker stop
    with explained_errors():
        settings = DemoSettings(
            session_seconds=parse_duration(session_timeout, field="--session-timeout"),
            catalogue_path=catalogue,
            seed=seed,
            images=images,
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
        for line in verdict_lines(shown.verdict, shown.accuracy):
            console.print(line, soft_wrap=True, highlight=False)
    if json is not None:
        result = verdict_json(shown.verdict, shown.accuracy, phase=PHASE)
        write_json(json, command="demo", started_at=started_at, seed=seed, result=result)


@contextmanager
def _audience() -> Iterator[Audience]:
    """People at a terminal see a bar, logs get lines; both on standard error."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (TextColumn("results"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        yield _Bar(bar)


class _Lines:
    """Plain lines, with the seconds since the start."""

    def __init__(self) -> None:
        self._began_at = time.monotonic()
        self._said = 0

    def step(self, text: str) -> None:
        print(f"{time.monotonic() - self._began_at:5.1f} s  {text}", file=sys.stderr, flush=True)

    def progress(self, ended: int, total: int) -> None:
        if ended - self._said >= total * LINE_EVERY_SHARE:
            self._said = ended
            self.step(f"{ended} of {total} results")


class _Bar:
    """A progress bar below the story."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("results", total=None)
        self._began_at = time.monotonic()

    def step(self, text: str) -> None:
        self._bar.console.print(f"{time.monotonic() - self._began_at:5.1f} s  {text}", highlight=False)

    def progress(self, ended: int, total: int) -> None:
        self._bar.update(self._task, completed=ended, total=total)
