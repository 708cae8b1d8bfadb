"""The first act of `failsoft demo`: a pipeline under load while its model drowns, slows down and hangs, and a worker is killed.

Topics are applied; a model server and two workers start; the phases of the scenario are played one after another, each with
its load, its fault, and a pause until everything sent has its result. A killed worker is replaced at once, as an orchestrator
would; what it held comes back to the others after the session timeout. In the end the workers are stopped in order, so that
nothing more can come, and only then the log is read and judged.
"""

import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from failsoft.catalogue import Catalogue, results_topic
from failsoft.kafka import Connection, Outbox
from failsoft.kafka.results import ResultReader
from failsoft.policy.levels import FULL_LEVEL
from failsoft.trials.arrivals import Arrivals
from failsoft.trials.audience import Audience, Now, time_told
from failsoft.trials.beside import beside
from failsoft.trials.deployment import apply_topics, pipeline_target, read_log, worker_command
from failsoft.trials.digits import accuracy
from failsoft.trials.fleet import Fleet
from failsoft.trials.ledger import Ledger, Verdict
from failsoft.trials.load import Arrival, OpenLoop, draw_load
from failsoft.trials.rest import is_at_rest, waiting
from failsoft.trials.scenario import ASKING, FULL, LARGE, MODELS, NOTHING_WRONG, Phase
from failsoft.trials.served_models import ServedModels

PIPELINE, STAGES = "digits", ("classify",)
WORKERS = 2
LOOK_SECONDS = 0.1
PYTHON_M_FAILSOFT = (sys.executable, "-m", "failsoft")


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """How a demo runs.

    Attributes:
        session_seconds: after how long the group gives a killed worker up.
        phases: what happens.
        catalogue_path: of the catalogue, for the workers; None where they find it themselves.
        seed: of the load, of the models' service times, and of which worker is killed.
        launcher: what stands in for ``failsoft`` when a worker is started.
    """

    session_seconds: float
    phases: Sequence[Phase] = FULL
    catalogue_path: Path | None = None
    seed: int = 0
    launcher: Sequence[str] = PYTHON_M_FAILSOFT


@dataclass(frozen=True, slots=True)
class Played:
    """A phase that is over.

    Attributes:
        phase: which.
        level_1_per_second: answers of the best level that came while it was sending.
        pause_seconds: from the last request to the last result, which is no part of any phase.
    """

    phase: Phase
    level_1_per_second: float
    pause_seconds: float


@dataclass(frozen=True, slots=True)
class DemoOutcome:
    """What a demo has shown.

    Attributes:
        verdict: over all requests.
        played: the phases in order.
        accuracy: tier -> share of right answers.
        models: model -> its own account of its calls.
        late_seconds: how much after its time a request was sent at worst.
    """

    verdict: Verdict
    played: Sequence[Played]
    accuracy: Mapping[str, float]
    models: Mapping[str, Mapping[str, Any]]
    late_seconds: float


async def run_demo(
    connection: Connection, catalogue: Catalogue, settings: DemoSettings, audience: Audience
) -> DemoOutcome:
    """Play the story and judge it.

    Raises:
        ConfigurationError: the catalogue has no such classes, or its topics need a person.
        EnvironmentFailure: scikit-learn or the broker is missing, or a process ended by itself.
    """
    await apply_topics(connection, catalogue, PIPELINE)
    audience.step("topics are as the catalogue wants them")
    load = draw_load(uuid4().hex[:12], settings.phases, seed=settings.seed)
    ledger = Ledger({each.result_id: each.asked for each in load}, classes=[asking.request_class for asking in ASKING])
    async with contextlib.AsyncExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="failsoft-demo-")))
        outbox = Outbox(connection)
        await outbox.start()
        closing.push_async_callback(outbox.close)
        sender = OpenLoop(outbox, catalogue, ledger, pipeline=PIPELINE)
        models = await closing.enter_async_context(ServedModels(MODELS, seed=settings.seed, folder=folder))
        audience.step(f"the model server listens at {models.url}")
        async with Fleet(_worker(connection, settings, models.url), size=WORKERS, folder=folder) as fleet:
            audience.step(f"{WORKERS} workers take requests")
            reader = ResultReader(connection, results_topic(PIPELINE), start="end")
            async with Arrivals(reader, ledger.asked) as arrivals:
                stage = _Stage(fleet, models, sender, arrivals, ledger, audience)
                victim = random.Random(settings.seed).randint(1, WORKERS)
                pauses = [
                    await stage.play(phase, [each for each in load if each.asked.phase == phase.name], victim=victim)
                    for phase in settings.phases
                ]
            stats = await models.stats()
        for complaint in fleet.complaints:
            audience.step(complaint)
        audience.step("all workers have stopped; reading the log")
        await read_log(connection, ledger, PIPELINE)
    return _outcome(settings.phases, pauses, load, ledger, models=stats, late_seconds=sender.late_seconds)


def _outcome(
    phases: Sequence[Phase],
    pauses: Sequence[float],
    load: Sequence[Arrival],
    ledger: Ledger,
    *,
    models: Mapping[str, Mapping[str, Any]],
    late_seconds: float,
) -> DemoOutcome:
    verdict = ledger.verdict()
    played = [
        Played(phase, ledger.served_per_second(phase.name, FULL_LEVEL, seconds=phase.seconds), pause)
        for phase, pause in zip(phases, pauses, strict=True)
    ]
    right = accuracy(verdict.results, {each.result_id: each.answer for each in load})
    return DemoOutcome(verdict, played, right, models, late_seconds)


@dataclass(frozen=True, slots=True)
class _Stage:
    """Where the phases are played."""

    fleet: Fleet
    models: ServedModels
    sender: OpenLoop
    arrivals: Arrivals
    ledger: Ledger
    audience: Audience

    async def play(self, phase: Phase, load: Sequence[Arrival], *, victim: int) -> float:
        """Send a phase's load under its fault, then pause until everything has its result; return how long that took."""
        self.audience.step(_told(phase))
        began_at = time.monotonic()
        await self.models.set_faults(LARGE, phase.large)
        async with (
            beside(self.sender.send(load, seconds=phase.seconds)) as sending,
            beside(self._replace(victim, phase.kill_after_seconds)) as replacing,
        ):
            await self._until(lambda: sending.done() and replacing.done(), phase, began_at)
            await asyncio.gather(sending, replacing)
        await self.models.set_faults(LARGE, NOTHING_WRONG)
        ended_at = time.monotonic()
        await self._until(lambda: is_at_rest(self.ledger, self.arrivals, since=ended_at), phase, began_at)
        return time.monotonic() - ended_at

    async def _replace(self, number: int, after_seconds: float | None) -> None:
        """Kill a worker and start another."""
        if after_seconds is None:
            return
        await asyncio.sleep(after_seconds)
        self.fleet.kill(number)
        self.audience.step(f"worker {number} killed (SIGKILL) with {self._waiting} requests open; starting another")
        await self.fleet.start(number)
        self.audience.step(f"worker {number} is back")

    async def _until(self, condition: Callable[[], bool], phase: Phase, began_at: float) -> None:
        """Wait for it, show how it stands, and raise what went wrong meanwhile."""
        while not condition():
            self.arrivals.require_reading()
            self.fleet.require_running()
            self.models.require_running()
            told = time_told(time.monotonic() - began_at, phase.seconds)
            self.audience.show(Now(phase.name, told, self._waiting, self.arrivals.recent()))
            await asyncio.sleep(LOOK_SECONDS)

    @property
    def _waiting(self) -> int:
        return waiting(self.ledger, self.arrivals)


def _told(phase: Phase) -> str:
    """What begins, in words."""
    faults = phase.large.model_dump(exclude_defaults=True)
    wrong = ", ".join(name if value is True else f"{name} {value:g} x" for name, value in faults.items())
    said = f"{phase.name}: {phase.requests_per_second:.0f} requests/s, {phase.load:g} x what the large model can serve"
    return f"{said}; its fault: {wrong}" if wrong else said


def _worker(connection: Connection, settings: DemoSettings, models_url: str) -> list[str]:
    return worker_command(
        pipeline_target("served"),
        connection,
        launcher=settings.launcher,
        session_seconds=settings.session_seconds,
        catalogue_path=settings.catalogue_path,
        environment={"MODEL_SERVER_URL": models_url},
    )
