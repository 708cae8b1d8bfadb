"""A worker process: its stages, its signals, its drain, its exit.

SIGTERM or SIGINT: stop taking, finish or hand over within the drain budget, publish, commit, leave, close; each step is
bounded, so that the process ends within the budget and five seconds whatever the cluster does. A second signal ends it at
once: nothing is lost by that, only repeated.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import structlog

from failsoft.catalogue import Catalogue, dead_letters_topic, pipeline_topic, results_topic
from failsoft.kafka import Connection, Inbox, Outbox, partition_counts
from failsoft.pipeline import Pipeline, Stage
from failsoft.policy.errors import ConfigurationError
from failsoft.runtime.clock import Clock
from failsoft.runtime.clock_probe import measure_clock
from failsoft.runtime.configuration import configure, resize_endpoints
from failsoft.runtime.health import HealthServer
from failsoft.runtime.metrics import Metrics
from failsoft.runtime.observer import Observer
from failsoft.runtime.runner import StageRunner
from failsoft.runtime.worker_history import WorkerHistory

log = structlog.get_logger("failsoft.worker")

DRAIN_SECONDS = 20.0
"""To finish calls that have begun: most model calls end in it, and orchestrators kill after 30."""
SESSION_SECONDS = 6.0
"""After how long others take over from a worker that died."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How a worker runs.

    Attributes:
        drain_seconds: for finishing what has begun, after the first signal.
        session_seconds: after how long the group gives this worker up.
        host: where /metrics and /health listen.
        port: 0: any free one.
        history: the folder of a trial to which this worker writes what it does; None: of none.
    """

    drain_seconds: float = DRAIN_SECONDS
    session_seconds: float = SESSION_SECONDS
    host: str = "127.0.0.1"
    port: int = 0
    history: Path | None = None


def chosen_stages(pipeline: Pipeline, names: Sequence[str]) -> list[Stage]:
    """The stages that a worker runs: those named, or all."""
    for name in names:
        if name not in pipeline.stages:
            known = ", ".join(pipeline.stages)
            raise ConfigurationError(f"pipeline {pipeline.name} has no stage {name!r}; it has {known}")
    return [stage for name, stage in pipeline.stages.items() if not names or name in names]


async def run_worker(
    stages: Sequence[Stage],
    *,
    catalogue: Catalogue,
    connection: Connection,
    settings: WorkerSettings,
    environment: Mapping[str, str] = os.environ,
    on_ready: Callable[[str], None] = lambda _: None,
) -> bool:
    """Run these stages of one pipeline until a signal comes. True if everything that had begun was finished.

    Args:
        stages: at least one, all of one pipeline.
        catalogue: classes and topics.
        connection: the cluster.
        settings: how to run.
        environment: variables that override what the stages declare.
        on_ready: takes the address of /metrics and /health.
    """
    policies = [known.policy for known in configure(stages, catalogue, environment)]
    clock, metrics, process = Clock(), Metrics(), uuid4().hex
    stop = _first_signal()
    pipeline = stages[0].pipeline
    written = [results_topic(pipeline), dead_letters_topic(pipeline), pipeline_topic(pipeline, "outcomes")]
    await partition_counts(
        connection, [*written, *catalogue.reply_topics]
    )  # a send to a topic that is not there waits for ever
    async with contextlib.AsyncExitStack() as closing:
        outbox = Outbox(connection, wall_clock=clock.wall)
        await outbox.start()
        closing.push_async_callback(outbox.close)
        await measure_clock(outbox, written[-1])
        runners = []
        for stage, policy in zip(stages, policies, strict=True):
            resize_endpoints(stage, policy)
            runner = StageRunner(
                stage,
                catalogue=catalogue,
                outbox=outbox,
                clock=clock,
                metrics=metrics,
                settings=policy,
                process=process,
                observer=_observer(settings.history, process, stage, clock, outbox),
            )
            inbox = Inbox(
                connection,
                pipeline=stage.pipeline,
                stage=stage.name,
                topics=catalogue.stage_topics(stage.pipeline, stage.name),
                listener=runner,
                session_timeout_seconds=settings.session_seconds,
                wall_clock=lambda: clock.wall() + outbox.clock_offset.seconds,
            )
            closing.push_async_callback(runner.close)
            await runner.start(inbox)
            runners.append(runner)
        server = HealthServer(metrics.registry, lambda: _health(runners, stop), host=settings.host, port=settings.port)
        await closing.enter_async_context(server)
        on_ready(f"http://{settings.host}:{server.port}")
        await _stopped_or_failed(stop, runners)
        log.info("draining", seconds=settings.drain_seconds)
        drained = await asyncio.gather(*(runner.drain(settings.drain_seconds) for runner in runners))
    return all(drained)


def _observer(folder: Path | None, process: str, stage: Stage, clock: Clock, outbox: Outbox) -> Observer | None:
    if folder is None:
        return None
    return WorkerHistory(
        folder,
        process=process,
        pipeline=stage.pipeline,
        stage=stage.name,
        broker_clock=lambda: clock.wall() + outbox.clock_offset.seconds,
    )


async def _stopped_or_failed(stop: asyncio.Event, runners: Sequence[StageRunner]) -> None:
    """Wait for a signal; raise what broke a runner, which is a bug: a worker that goes on half-alive would hide it."""
    waits = [asyncio.ensure_future(stop.wait()), *(asyncio.ensure_future(runner.failed()) for runner in runners)]
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    for ended in done:
        ended.result()


def _first_signal() -> asyncio.Event:
    """Set at the first SIGTERM or SIGINT; the second one ends the process at once."""
    stop = asyncio.Event()

    def on_signal(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return stop


def _health(runners: Sequence[StageRunner], stop: asyncio.Event) -> dict[str, Any]:
    return {
        "ok": not stop.is_set(),
        "draining": stop.is_set(),
        "stages": {
            runner.stage.name: {
                "waiting": dict(runner.machine.waiting),
                "in_flight": {tier: busy for tier, (busy, _) in runner.machine.permits.items()},
            }
            for runner in runners
        },
    }
