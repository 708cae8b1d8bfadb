"""`failsoft worker`: run stages of a pipeline until a signal comes."""

import asyncio
import gc
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from failsoft.catalogue import load
from failsoft.cli.exits import Exit, explained_errors
from failsoft.kafka import Connection
from failsoft.pipeline import load_pipeline
from failsoft.policy.durations import parse_duration
from failsoft.runtime.log import configure_log
from failsoft.runtime.worker import WorkerSettings, chosen_stages, run_worker


def worker(
    pipeline: Annotated[str, typer.Argument(help="MODULE:NAME of a failsoft.Pipeline, e.g. workers.digits:pipeline")],
    *,
    stage: Annotated[
        list[str] | None, typer.Option(help="Run only this stage; may be given again. Default: all")
    ] = None,
    bootstrap: Annotated[
        str | None, typer.Option(help="HOST:PORT of the cluster; else KAFKA_BOOTSTRAP_SERVERS")
    ] = None,
    catalogue: Annotated[Path | None, typer.Option(help="The topic catalogue. Default: ./topics.yaml")] = None,
    drain: Annotated[str, typer.Option(help="For finishing what has begun, after SIGTERM")] = "20s",
    session_timeout: Annotated[str, typer.Option(help="After how long others take over from a dead worker")] = "6s",
    host: Annotated[str, typer.Option(help="Where /metrics and /health listen")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Their port; 0: any free one, printed")] = 0,
    log_format: Annotated[str, typer.Option(help="console or json")] = "console",
    history: Annotated[
        Path | None,
        typer.Option(hidden=True, exists=True, file_okay=False, help="A trial's folder to write history to"),
    ] = None,
) -> None:
    """Consume requests, run tiers, publish results.

    SIGTERM drains: exit 0 when all that had begun was finished, 4 when the drain budget ended first. A second signal
    exits at once; nothing is lost by that, only repeated. Exit 5: it stood still, and another one in its place may not.
    """
    with explained_errors():
        configure_log(log_format)
        loaded, known = load_pipeline(pipeline), load(catalogue)
        loaded.check(known)
        settings = WorkerSettings(
            drain_seconds=parse_duration(drain, field="--drain"),
            session_seconds=parse_duration(session_timeout, field="--session-timeout"),
            host=host,
            port=port,
            history=history,
        )
        is_drained = asyncio.run(
            run_worker(
                chosen_stages(loaded, stage or []),
                catalogue=known,
                connection=Connection.from_environment(bootstrap),
                settings=settings,
                on_ready=_ready,
            )
        )
    _leave(Exit.OK if is_drained else Exit.DRAINED_INCOMPLETELY)


def _ready(address: str) -> None:
    """Say so, and leave what starting has made out of garbage collection: nearly all of it stays until the end.

    A full collection would look at it every time: 96,000 objects, 54 ms in which no request moves.
    """
    gc.collect()
    gc.freeze()
    print(f"ready: {address}/metrics and {address}/health", flush=True)


def _leave(code: Exit) -> NoReturn:
    """End without the interpreter's farewell, which joins threads that compute for ever and takes its time on a busy machine.

    All that has to be done at the end of a worker was done before, and what is left of its five seconds is short.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
