"""A worker process: its stages, its signals, its drain, its exit.

SIGTERM or SIGINT: stop taking, finish or hand over within the drain budget, publish, commit, leave, close; each step is
bounded, and all of them together (:mod:`failsoft.runtime.ending`), so that the process ends within the budget and five seconds
whatever the cluster does. A second signal ends it at once: nothing is lost by that, only repeated.

A worker is **ready**, and begins to answer on /health, when the groups of all its stages have answered, even with no partition: a
standby is ready too, and a rolling restart does not take the next worker down before this one could take over. A group that
waits for a dead member answers late; after ten seconds the worker is ready all the same, and says so in its log.

What stands still is rebuilt, and ends the worker where that does not help (:mod:`failsoft.policy.watchdog`).
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import structlog

from failsoft.catalogue import Catalogue, dead_letters_topic, pipeline_topic, results_topic
from failsoft.kafka import Connection, Inbox, Outbox, View, cluster_is_whole, equal_partitions, partition_counts
from failsoft.pipeline import Pipeline, Stage
from failsoft.policy.answers import ENTRY_BYTES
from failsoft.policy.errors import ConfigurationError, WorkerStuck
from failsoft.policy.settings import StageSettings
from failsoft.policy.watchdog import WatchdogSettings
from failsoft.runtime.breaker_news import SharedClock
from failsoft.runtime.breaker_sharing import BreakerSharing, Take
from failsoft.runtime.broker_clock import BrokerClock
from failsoft.runtime.clock import Clock
from failsoft.runtime.clock_probe import measure_clock
from failsoft.runtime.configuration import configure, resize_endpoints
from failsoft.runtime.ending import DRAINED, UNFINISHED, Ending
from failsoft.runtime.fleet_prior import FleetPrior
from failsoft.runtime.health import HealthServer
from failsoft.runtime.later_stages import LAST_OFFSETS, LaterStages
from failsoft.runtime.loop_watch import EXIT_CODE, LoopWatch
from failsoft.runtime.metrics import Metrics
from failsoft.runtime.observer import Observer
from failsoft.runtime.rollups import RollUps
from failsoft.runtime.runner import StageRunner
from failsoft.runtime.watchdog import Watchdog
from failsoft.runtime.worker_history import WorkerHistory

log = structlog.get_logger("failsoft.worker")

DRAIN_SECONDS = 20.0
"""To finish calls that have begun: most model calls end in it, and orchestrators kill after 30."""
LAST_COMMIT_SECONDS = 1.0
"""Beyond the budget, for the commit of what was finished in it."""
LAST_ANSWER_SECONDS = 1.0
"""For acknowledgements that are still under way when all else is closed: what hangs on them has been given up by then."""
SESSION_SECONDS = 6.0
"""After how long others take over from a worker that died."""
JOIN_SECONDS = 10.0
"""A join waits for members that died, which takes a session timeout; longer than that it says nothing of this worker."""
SHARED_KINDS = ("breakers", "controls")
"""Topics that a worker wants if the catalogue has them."""
PROBE_SECONDS = 3.0
"""To ask whether the cluster is whole. One that takes longer is not."""


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
    ending = Ending(settings.drain_seconds)
    ending.listen()
    async with contextlib.AsyncExitStack() as closing:
        worker = _Worker(catalogue, connection, settings, ending, closing)
        address = await _unless_asked(worker.start(stages, policies), ending.asked)
        if address is not None:
            on_ready(address)
            try:
                await _asked_or_failed(ending.asked, worker.failures())
            except WorkerStuck:
                ending.close(EXIT_CODE)
                raise
        log.info("draining", seconds=settings.drain_seconds)
        is_drained = await _drained(worker.runners, settings.drain_seconds)
        ending.code = DRAINED if is_drained else UNFINISHED
        await asyncio.gather(worker.leave(), *(rollups.close() for rollups in worker.rollups))
    return is_drained


class _Worker:
    """What a worker is made of, as far as it has started."""

    def __init__(
        self,
        catalogue: Catalogue,
        connection: Connection,
        settings: WorkerSettings,
        ending: Ending,
        closing: contextlib.AsyncExitStack,
    ) -> None:
        self.runners: list[StageRunner] = []
        self.rollups: list[RollUps] = []
        self._catalogue = catalogue
        self._connection = connection
        self._settings = settings
        self._ending = ending
        self._closing = closing
        self._process = f"{socket.gethostname()}-{uuid4().hex[:12]}"
        self._clock, self._metrics = Clock(), Metrics()
        self._outbox = Outbox(connection, wall_clock=self._clock.wall)
        self._broker_clock = BrokerClock(self._clock.wall, self._outbox)
        self._made: list[StageRunner] = []
        """Runners that are to be closed, whether they have started or not."""
        self._inboxes: list[Inbox] = []
        self._views: list[View] = []
        self._watchdog: Watchdog | None = None
        self._breakers: BreakerSharing | None = None

    async def start(self, stages: Sequence[Stage], policies: Sequence[StageSettings]) -> str:
        """Start all, in the order in which one needs the other; return the address of /metrics and /health."""
        await self._begin_to_write(stages)
        shared = WatchdogSettings.strictest(policy.watchdog for policy in policies)
        watchdog = self._watchdog = Watchdog(self._metrics, is_cluster_whole=self._whole(stages))
        watchdog.watch([self._outbox.duty()], shared)
        breakers = self._breakers = self._sharing(stages)
        self._closing.push_async_callback(breakers.close)
        prior, _ = await asyncio.gather(self._fleet_prior(stages[0].pipeline), breakers.start(self._view))
        later = LaterStages()
        for stage, policy in zip(stages, policies, strict=True):
            runner = self._runner(stage, policy, breakers)
            prior.attach(stage, runner.feed)
            later.attach(stage, runner.feed)
            breakers.attach(stage.name, runner.feed)
            inbox = await self._begin_to_take(stage, policy, runner)
            watchdog.watch(inbox.duties(), policy.watchdog, stage=stage.name)
        if later.is_wanted:
            topic = pipeline_topic(stages[0].pipeline, "outcomes")
            await self._view(topic, later.take, last_offsets=LAST_OFFSETS).start()
        await self._closing.enter_async_context(
            LoopWatch(
                exit_seconds=shared.loop_seconds, enforce=shared.enforce, observe=self._metrics.loop_delay.observe
            )
        )
        await self._joined()
        return await self._listen()

    async def _begin_to_write(self, stages: Sequence[Stage]) -> None:
        """Check that all topics are there: a send to one that is not would wait for half a minute before it says so."""
        pipeline = stages[0].pipeline
        written = [results_topic(pipeline), dead_letters_topic(pipeline), pipeline_topic(pipeline, "outcomes")]
        shared = [pipeline_topic(pipeline, kind) for kind in SHARED_KINDS if kind in self._catalogue.topics]
        following = _next_topics(stages, self._catalogue)
        await partition_counts(self._connection, [*written, *following, *shared, *self._catalogue.reply_topics])
        await self._outbox.start()
        self._closing.push_async_callback(_close_all, self._outbox, self._made, self._views)
        await measure_clock(self._outbox, pipeline_topic(pipeline, "outcomes"))
        self._metrics.producers_replaced.read = lambda: self._outbox.replaced
        self._metrics.unacknowledged.set_function(lambda: self._outbox.waited_seconds)

    def _runner(self, stage: Stage, policy: StageSettings, breakers: BreakerSharing) -> StageRunner:
        resize_endpoints(stage, policy)
        runner = StageRunner(
            stage,
            catalogue=self._catalogue,
            outbox=self._outbox,
            clock=self._clock,
            metrics=self._metrics,
            settings=policy,
            process=self._process,
            observer=self._observer(stage),
            announce=breakers.announce,
        )
        self._made.append(runner)
        return runner

    async def _begin_to_take(self, stage: Stage, policy: StageSettings, runner: StageRunner) -> Inbox:
        rollups = RollUps(pipeline=stage.pipeline, process=self._process, take=runner.take_rollup, outbox=self._outbox)
        rollups.start()
        self.rollups.append(rollups)
        self._ending.code = UNFINISHED  # until it has drained
        inbox = self._inbox(stage, runner)
        await runner.start(inbox, answers=await self._answers(stage, policy, runner))
        self.runners.append(runner)
        self._inboxes.append(inbox)
        return inbox

    async def _listen(self) -> str:
        server = HealthServer(
            self._metrics.registry,
            lambda: _health(self._process, self.runners, self._ending.asked),
            host=self._settings.host,
            port=self._settings.port,
        )
        await self._closing.enter_async_context(server)
        return f"http://{self._settings.host}:{server.port}"

    def failures(self) -> list[Coroutine[None, None, None]]:
        """Each ends on what broke or stopped a part, and not before."""
        if self._watchdog is None or self._breakers is None:
            raise ValueError("not started")
        parts: list[StageRunner | RollUps | View] = [*self.runners, *self.rollups, *self._views]
        return [self._watchdog.run(), self._breakers.keep_time(), *(part.failed() for part in parts)]

    async def leave(self) -> None:
        """Take back what this worker has said of breakers, as far as others know as much."""
        if self._breakers is not None:
            await self._breakers.leave(name for runner in self.runners for name in runner.words_to_take_back())

    async def _joined(self) -> None:
        """Wait until the groups have answered, but not for long."""
        try:
            async with asyncio.timeout(JOIN_SECONDS):
                await asyncio.gather(*(inbox.joined() for inbox in self._inboxes))
        except TimeoutError:
            log.warning("ready_before_joined", seconds=JOIN_SECONDS)

    def _whole(self, stages: Sequence[Stage]) -> Callable[[], Awaitable[bool]]:
        """Asks for the topics on which a duty may wait."""
        topics = duty_topics(stages, self._catalogue)
        return lambda: cluster_is_whole(self._connection, topics, PROBE_SECONDS)

    def _sharing(self, stages: Sequence[Stage]) -> BreakerSharing:
        for kind in SHARED_KINDS:
            if kind not in self._catalogue.topics:
                log.info("breakers_are_not_shared_in_full", why=f"topics.yaml has no topic of {kind}")
        clock = self._broker_clock
        return BreakerSharing(
            stages[0].pipeline,
            stages={stage.name: None if stage.successor is None else stage.successor.name for stage in stages},
            kinds=self._catalogue.topics,
            process=self._process,
            outbox=self._outbox,
            clock=SharedClock(self._clock.monotonic, clock.wall, clock.uncertainty_seconds),
            metrics=self._metrics,
        )

    def _view(self, topic: str, take: Take, *, last_offsets: int | None = None) -> View:
        view = View(self._connection, topic, take=take, wall_clock=self._broker_clock.wall, last_offsets=last_offsets)
        self._views.append(view)
        return view

    async def _fleet_prior(self, pipeline: str) -> FleetPrior:
        """The fleet's latency, as far as it is read within a few seconds; without it stages know what they measure."""
        prior = FleetPrior()
        if "latency" in self._catalogue.topics:
            view = self._view(pipeline_topic(pipeline, "latency"), prior.take)
            await view.start()
            if not await view.caught_up():
                log.warning("latency_of_the_fleet_unknown", why="its topic cannot be read; it is taken in when it can")
        return prior

    async def _answers(self, stage: Stage, policy: StageSettings, runner: StageRunner) -> View | None:
        """The log of answers; None where none are kept, or the catalogue has no topic for them."""
        if policy.answers is None:
            return None
        if "answers" not in self._catalogue.topics:
            log.info("answers_stay_within_this_worker", stage=stage.name, why="topics.yaml has no topic of answers")
            return None
        topic = pipeline_topic(stage.pipeline, "answers")
        requests = self._catalogue.stage_topics(stage.pipeline, stage.name).values()
        await equal_partitions(self._connection, [topic, *requests])
        return View(
            self._connection,
            topic,
            take=runner.answers_seen,
            wall_clock=self._broker_clock.wall,
            numbers=(),
            last_offsets=policy.answers.bytes_max // ENTRY_BYTES,  # more of them could not be kept
        )

    def _inbox(self, stage: Stage, runner: StageRunner) -> Inbox:
        return Inbox(
            self._connection,
            pipeline=stage.pipeline,
            stage=stage.name,
            topics=self._catalogue.stage_topics(stage.pipeline, stage.name),
            listener=runner,
            session_timeout_seconds=self._settings.session_seconds,
            wall_clock=self._broker_clock.wall,
            on_deleted=lambda name, count: self._metrics.lost_by_operator.labels(stage.name, name).inc(count),
        )

    def _observer(self, stage: Stage) -> Observer | None:
        if self._settings.history is None:
            return None
        return WorkerHistory(
            self._settings.history,
            process=self._process,
            pipeline=stage.pipeline,
            stage=stage.name,
            broker_clock=self._broker_clock.wall,
        )


def duty_topics(stages: Sequence[Stage], catalogue: Catalogue) -> set[str]:
    """What a worker of these stages reads and writes without a bound on the time: while one of them is ill, it is not stuck.

    On the outcomes no request waits, but the producer does; all else that is only told (registers, answers, replies) is told in
    seconds or not at all.
    """
    pipeline = stages[0].pipeline
    topics = {results_topic(pipeline), dead_letters_topic(pipeline), pipeline_topic(pipeline, "outcomes")}
    topics |= {topic for stage in stages for topic in catalogue.stage_topics(pipeline, stage.name).values()}
    return topics.union(_next_topics(stages, catalogue))


def _next_topics(stages: Sequence[Stage], catalogue: Catalogue) -> list[str]:
    """Where the answers of stages go that have a next one."""
    following = [stage.successor for stage in stages if stage.successor is not None]
    return [topic for stage in following for topic in catalogue.stage_topics(stage.pipeline, stage.name).values()]


async def _drained(runners: Sequence[StageRunner], seconds: float) -> bool:
    """Finish what has begun, within the budget, and commit. A commit that is not answered is not waited for: it costs repeats."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds + LAST_COMMIT_SECONDS):
            await asyncio.gather(*(runner.drain(seconds) for runner in runners))
    return all(runner.machine.is_drained for runner in runners)


async def _close_all(outbox: Outbox, runners: Sequence[StageRunner], views: Sequence[View]) -> None:
    """At once, because each may have to wait for a broker that is gone. What is still being sent has been given up by now."""
    closing = [*(runner.close() for runner in runners), *(view.stop() for view in views)]
    await asyncio.gather(outbox.close(timeout_seconds=LAST_ANSWER_SECONDS), *closing)


async def _unless_asked(start: Coroutine[None, None, str], asked: asyncio.Event) -> str | None:
    """What starting returns; None where the worker was asked to end before: then what has not started does not."""
    starting, waiting = asyncio.create_task(start), asyncio.create_task(asked.wait())
    try:
        await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            return starting.result()
        log.info("asked to end before all had started")
        return None
    finally:
        waiting.cancel()
        starting.cancel()
        await asyncio.wait({starting})


async def _asked_or_failed(asked: asyncio.Event, failures: Sequence[Coroutine[None, None, None]]) -> None:
    """Wait for a signal; raise what broke or stopped a part: a worker that goes on half-alive would hide it."""
    waits = [asyncio.ensure_future(asked.wait()), *(asyncio.ensure_future(failure) for failure in failures)]
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    for ended in done:
        ended.result()


def _health(process: str, runners: Sequence[StageRunner], asked: asyncio.Event) -> dict[str, Any]:
    return {
        "ok": not asked.is_set(),
        "process": process,
        "draining": asked.is_set(),
        "stages": {
            runner.stage.name: {
                "waiting": dict(runner.machine.waiting),
                "in_flight": {tier: busy for tier, (busy, _) in runner.machine.permits.items()},
            }
            for runner in runners
        },
    }
