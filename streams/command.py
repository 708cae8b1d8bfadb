"""The command line of an app: ``python -m streams.latency --pipeline digits``. `failsoft streams` calls it so."""

import argparse
import asyncio
import logging
import sys
import tempfile
from collections.abc import Callable
from typing import Any, NoReturn

import faust

from failsoft.catalogue import pipeline_topic
from failsoft.kafka import Connection, partition_counts
from failsoft.policy.errors import ConfigurationError, EnvironmentFailure
from failsoft.runtime.health import HealthServer
from failsoft.runtime.log import configure_log
from streams.app import App, Model
from streams.metrics import Metrics

USAGE, ENVIRONMENT = 2, 3
"""Exit codes, those of failsoft.cli.exits."""


def main(name: str, new_model: Callable[[], Model]) -> NoReturn:
    """Run an app until a signal comes, and exit: 0 after SIGTERM, 1 after an error, 5 if it stood still."""
    said = _arguments(name)
    configure_log(said.log_format)
    for loud in ("faust", "mode"):
        logging.getLogger(loud).setLevel(logging.WARNING)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        connection = Connection.from_environment(said.bootstrap)
        topics = [pipeline_topic(said.pipeline, kind) for kind in ("outcomes", name)]
        loop.run_until_complete(partition_counts(connection, topics))
    except ConfigurationError as error:
        _refuse(error, USAGE)
    except EnvironmentFailure as error:
        _refuse(error, ENVIRONMENT)
    with tempfile.TemporaryDirectory() as folder:
        metrics = Metrics(name)
        app = App(name, new_model, connection=connection, pipeline=said.pipeline, metrics=metrics, folder=folder)
        _serve(app, metrics, said.host, said.port)
        worker = faust.Worker(
            app.faust, loop=loop, loglevel="WARNING", override_logging=False, redirect_stdouts=False, quiet=True
        )
        worker.spinner = None  # it would write to standard output
        worker.execute_from_commandline()


def _serve(app: App, metrics: Metrics, host: str, port: int) -> None:
    """Serve /metrics and /health as long as the app runs."""

    def health() -> dict[str, Any]:
        return {"ok": app.is_assigned}

    async def serve() -> None:
        async with HealthServer(metrics.registry, health, host=host, port=port) as server:
            print(f"listens: http://{host}:{server.port}/metrics and /health", flush=True)  # noqa: T201
            await app.faust.wait_until_stopped()

    app.faust.task(serve)


def _arguments(name: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m streams.{name}")
    parser.add_argument("--pipeline", required=True)
    parser.add_argument("--bootstrap")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log-format", default="console")
    return parser.parse_args()


def _refuse(error: Exception, code: int) -> NoReturn:
    print(f"failsoft: {error}", file=sys.stderr)  # noqa: T201
    sys.exit(code)
