"""`failsoft run`: a batch file from the first line to the last output line, with everything that it takes."""

import asyncio
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from failsoft.catalogue import Catalogue, catalogue_text, load
from failsoft.cli.broker import show_fetch
from failsoft.cli.exits import explained_errors
from failsoft.cli.report import JsonOption, write_json
from failsoft.cli.submit import opened
from failsoft.cli.topics import BootstrapOption, CatalogueOption
from failsoft.kafka import Connection
from failsoft.pipeline import Pipeline, load_pipeline
from failsoft.policy.durations import parse_duration
from failsoft.policy.errors import ConfigurationError
from failsoft.runtime.batch_file import BatchFile
from failsoft.runtime.journal import Journal
from failsoft.runtime.submission import choose_destination
from failsoft.testing.cluster import a_broker
from failsoft.trials.batch_run import BatchRun, Progress, run_batch, summary

INTERRUPTED = 130
LINE_EVERY_SECONDS = 5.0


def run(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="An OpenAI batch file, as it is; - reads standard input.")
    ],
    *,
    pipeline: Annotated[str, typer.Option(help="MODULE:NAME of a failsoft.Pipeline, e.g. workers.digits:pipeline")],
    out: Annotated[Path, typer.Option(help="Where output lines go. Run again with it to finish what is missing.")],
    workers: Annotated[int, typer.Option(min=1, help="Worker processes; they share the endpoints' limits.")] = 1,
    request_class: Annotated[
        str | None, typer.Option("--class", help="Urgency. Default: batch, or the least urgent class there is.")
    ] = None,
    deadline: Annotated[
        str | None, typer.Option(help="Of each request: 5s, 15m, 24h. Default: the class's own.")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Whose requests they are.")] = None,
    catalogue: CatalogueOption = None,
    bootstrap: BootstrapOption = None,
    json: JsonOption = None,
) -> None:
    """Run a batch file: start a broker unless one is named, start workers, send every line, wait for every result.

    There is one output line per input line, in the order in which they end. OUT is the journal: a line that stands in it is
    done, so the same command again finishes only what is missing. Ctrl-C finishes what has begun and exits 130.

    Exits 0 when every line has its output line, whatever their outcomes: each says how it ended.
    """
    started_at = time.time()
    with explained_errors():
        loaded = load_pipeline(pipeline)
        with _catalogue_of(loaded, catalogue) as (known, path), opened(file) as batch, Journal(out) as journal:
            destination = choose_destination(
                known,
                pipeline=loaded,
                request_class=request_class,
                deadline_seconds=None if deadline is None else parse_duration(deadline, field="--deadline"),
                tenant=tenant,
            )
            planned = BatchRun(pipeline, known, path, destination, workers)
            if journal.repaired_bytes:
                print(f"{out}: removed a cut last line of {journal.repaired_bytes} bytes", file=sys.stderr)
            with a_broker(bootstrap, progress=show_fetch) as connection, _shown() as on_progress:
                progress = asyncio.run(_run(connection, planned, batch, journal, on_progress))
    for line in summary(progress):
        print(line, file=sys.stderr)
    if json is not None:
        write_json(json, command="run", started_at=started_at, result=_result(progress))
    if not progress.is_complete:
        print(
            f"stopped; the same command goes on with the {progress.total - progress.done} lines left", file=sys.stderr
        )
        raise typer.Exit(INTERRUPTED)


async def _run(
    connection: Connection,
    planned: BatchRun,
    batch: BatchFile,
    journal: Journal,
    on_progress: Callable[[Progress], None],
) -> Progress:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return await run_batch(connection, planned, batch, journal, stop=stop, on_progress=on_progress)


@contextmanager
def _catalogue_of(pipeline: Pipeline, path: Path | None) -> Iterator[tuple[Catalogue, Path]]:
    """The catalogue with this pipeline, and a file of it for the workers.

    Where the catalogue does not list the pipeline and was not named either, its classes and topics are taken for it:
    somebody with a batch file and an endpoint need not write one.
    """
    text, source = catalogue_text(path)
    known = load(path)
    if pipeline.name not in known.pipelines:
        if path is not None:
            raise ConfigurationError(f"{path}: no pipeline {pipeline.name!r}; add it under pipelines:")
        document = yaml.safe_load(text)
        document["pipelines"] = {pipeline.name: list(pipeline.stages)}
        text, source = yaml.safe_dump(document, sort_keys=False), None
    with contextlib.ExitStack() as closing:
        if source is None:
            folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="failsoft-run-")))
            source = folder / "topics.yaml"
            source.write_text(text, encoding="utf-8")
        known = load(source)
        pipeline.check(known)
        yield known, source


def _result(progress: Progress) -> dict[str, object]:
    return {
        "requests": progress.total,
        "done": progress.done,
        "done_earlier": progress.earlier,
        "bad_lines": progress.bad_lines,
        "levels": dict(progress.levels),
        "reasons": {f"{outcome}, {reason}": count for (outcome, reason), count in progress.reasons.items()},
    }


@contextmanager
def _shown() -> Iterator[Callable[[Progress], None]]:
    """A bar with rate, levels and time left at a terminal; else a line now and then."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[now]}"), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, now="")

        def show(progress: Progress) -> None:
            bar.update(task, completed=progress.done, total=progress.total, now=_now(progress))

        yield show


class _Lines:
    def __init__(self) -> None:
        self._said_at = 0.0

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() - self._said_at < LINE_EVERY_SECONDS:
            return
        self._said_at = time.monotonic()
        left = progress.seconds_left
        rest = "" if left is None else f", about {left:.0f} s left"
        print(f"{progress.done} of {progress.total} lines, {_now(progress)}{rest}", file=sys.stderr, flush=True)


def _now(progress: Progress) -> str:
    levels = ", ".join(f"level {level}: {count}" for level, count in sorted(progress.levels.items()))
    return f"{progress.rate:.1f}/s" + (f", {levels}" if levels else "")
