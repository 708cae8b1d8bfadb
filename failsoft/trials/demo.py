"""The story of `failsoft demo`: real models behind a real Kafka, a worker killed in the middle, and every request accounted for.

Topics are applied, two workers of one pipeline start, and images are submitted as OpenAI batch files: a flow of small ones in
the most urgent class, one large one in each other. When a third of the results is there, one worker is killed (SIGKILL) and
another started; what it held comes back to the others after the session timeout. When all results are there the workers are
stopped in order, so that nothing more can come, and only then the log is read and judged. Where results are missing, the
trial has come to rest when none has come for 10 s, at most 120 s after the last request was sent and all workers were up.
"""

import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, TypeVar
from uuid import uuid4

from failsoft.catalogue import Catalogue, results_topic
from failsoft.kafka import Connection, admin
from failsoft.kafka.raw import raw_records
from failsoft.kafka.results import ResultReader
from failsoft.policy.errors import ConfigurationError
from failsoft.trials.arrivals import Arrivals
from failsoft.trials.digits import Job, accuracy, digit_questions, write_batch_files
from failsoft.trials.fleet import Fleet
from failsoft.trials.ledger import Asked, Ledger, Verdict
from failsoft.trials.sending import send_jobs

PIPELINE = "digits"
WORKERS = 2
KILL_AT_SHARE = 1 / 3
QUIET_SECONDS = 10.0
"""A crash costs the session timeout and about a second before somebody else takes over: nothing for 10 s means nothing more."""
PATIENCE_SECONDS = 120.0
DRAIN_SECONDS = 10.0
"""A worker ends within this and five seconds more, which is when the fleet would kill it."""
LOOK_SECONDS = 0.1
PYTHON_M_FAILSOFT = (sys.executable, "-m", "failsoft")

T = TypeVar("T")


class Audience(Protocol):
    """Who is told how it goes."""

    def step(self, text: str) -> None:
        """Take what happens next."""

    def progress(self, ended: int, total: int) -> None:
        """Take how many of all requests have a result."""


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """How a demo runs.

    Attributes:
        session_seconds: after how long the group gives a killed worker up.
        catalogue_path: of the catalogue, for the workers; None where they find it themselves.
        seed: which images in which classes, and which worker is killed.
        images: how many are asked about; None for all.
        launcher: what stands in for ``failsoft`` when a worker is started.
    """

    session_seconds: float
    catalogue_path: Path | None = None
    seed: int = 0
    images: int | None = None
    launcher: Sequence[str] = PYTHON_M_FAILSOFT


@dataclass(frozen=True, slots=True)
class DemoOutcome:
    """What a demo has shown.

    Attributes:
        verdict: over all requests.
        accuracy: tier -> share of right answers.
    """

    verdict: Verdict
    accuracy: dict[str, float]


async def run_demo(
    connection: Connection, catalogue: Catalogue, settings: DemoSettings, audience: Audience
) -> DemoOutcome:
    """Play the story and judge it.

    Raises:
        ConfigurationError: the catalogue has no such pipeline, or its topics need a person.
        EnvironmentFailure: scikit-learn or the broker is missing, or a worker ended by itself.
    """
    await _apply_topics(connection, catalogue)
    audience.step("topics are as the catalogue wants them")
    run, classes = uuid4().hex[:12], list(catalogue.classes)
    questions = digit_questions(run, classes=classes, images=settings.images, seed=settings.seed)
    with tempfile.TemporaryDirectory(prefix="failsoft-demo-") as name:
        folder = Path(name)
        jobs = write_batch_files(questions, folder)
        ledger = Ledger({id_: asked for job in jobs for id_, asked in _asked(job, catalogue).items()})
        command = _worker_command(connection, settings)
        async with Fleet(command, size=WORKERS, folder=folder) as fleet:
            audience.step(f"{WORKERS} workers have trained their models and take requests")
            reader = ResultReader(connection, results_topic(PIPELINE), start="end")
            async with (
                Arrivals(reader, ledger.asked) as arrivals,
                _meanwhile(send_jobs(connection, catalogue, jobs, ledger, pipeline=PIPELINE)) as sent,
            ):
                story = _Story(fleet, arrivals, sent, audience)
                await story.play(victim=random.Random(settings.seed).randint(1, WORKERS))
        for complaint in fleet.complaints:
            audience.step(complaint)
        audience.step("all workers have stopped; reading the log")
        await _read_log(connection, ledger)
    verdict = ledger.verdict()
    asked = {id_: question for job in jobs for id_, question in job.questions.items()}
    return DemoOutcome(verdict, accuracy(verdict.results, asked))


@dataclass(frozen=True, slots=True)
class _Story:
    """What happens between the first request and the last result."""

    fleet: Fleet
    arrivals: Arrivals
    sent: "asyncio.Task[float]"
    audience: Audience

    async def play(self, *, victim: int) -> None:
        """Kill a worker when a third of the results is there; return when all are, or no more come."""
        tell, arrivals = self.audience.step, self.arrivals
        tell(f"submitting {arrivals.total} requests as OpenAI batch files")
        await self._until(lambda: arrivals.count >= arrivals.total * KILL_AT_SHARE)
        self.fleet.kill(victim)
        tell(f"worker {victim} killed (SIGKILL) with {arrivals.count} results there; starting another")
        async with _meanwhile(self._start(victim)) as started:
            await self._until(lambda: arrivals.count >= arrivals.total, started)
            await started
        tell(f"{arrivals.count} of {arrivals.total} requests have a result")

    async def _start(self, number: int) -> float:
        await self.fleet.start(number)
        return time.monotonic()

    async def _until(self, condition: Callable[[], bool], *works: "asyncio.Task[float]") -> None:
        """Wait for it, or until no more results come; raise what went wrong meanwhile.

        Args:
            condition: what is waited for.
            works: what still stirs the trial, beside the sending; each returns when it ended.
        """
        while not condition() and not self._is_at_rest(self.sent, *works):
            self.audience.progress(self.arrivals.count, self.arrivals.total)
            self.arrivals.require_reading()
            self.fleet.require_running()
            await asyncio.sleep(LOOK_SECONDS)
        self.audience.progress(self.arrivals.count, self.arrivals.total)

    def _is_at_rest(self, *works: "asyncio.Task[float]") -> bool:
        """All works have ended and nothing has come for a while since; or it has been long enough."""
        if not all(work.done() for work in works):
            return False
        ended_at, now = max(work.result() for work in works), time.monotonic()
        return now - max(ended_at, self.arrivals.moved_at) > QUIET_SECONDS or now - ended_at > PATIENCE_SECONDS


def pipeline_target() -> str:
    """Find the pipeline of the demo: in a checkout the one to play with, else the copy that comes with failsoft.

    Raises:
        ConfigurationError: there is neither.
    """
    if Path("workers/digits.py").is_file():
        return "workers.digits:pipeline"
    if find_spec("failsoft.templates") and find_spec("failsoft.templates.digits"):
        return "failsoft.templates.digits:pipeline"
    raise ConfigurationError(
        "no workers/digits.py here: start the demo where it is, or install failsoft from its wheel"
    )


def _worker_command(connection: Connection, settings: DemoSettings) -> list[str]:
    catalogue = settings.catalogue_path
    return [
        *settings.launcher,
        *("worker", pipeline_target()),
        *("--bootstrap", connection.bootstrap_servers),
        *("--session-timeout", f"{settings.session_seconds:g}s"),
        *("--drain", f"{DRAIN_SECONDS:g}s"),
        *(() if catalogue is None else ("--catalogue", str(catalogue))),
    ]


async def _apply_topics(connection: Connection, catalogue: Catalogue) -> None:
    if PIPELINE not in catalogue.pipelines:
        raise ConfigurationError(
            f"the demo needs the pipeline {PIPELINE!r}; add `{PIPELINE}: [classify]` to topics.yaml"
        )
    applied = await admin.apply(connection, catalogue)
    if not applied.remaining.is_in_step:
        raise ConfigurationError("the topics cannot be brought into step with topics.yaml; see `failsoft topics plan`")


def _asked(job: Job, catalogue: Catalogue) -> dict[str, Asked]:
    """What the ledger has to know of the requests of one job."""
    budget = catalogue.classes[job.request_class].deadline_seconds
    return {
        id_: Asked(job.request_class, job.source, question.custom_id, budget) for id_, question in job.questions.items()
    }


async def _read_log(connection: Connection, ledger: Ledger) -> None:
    """Enter all that came: as it stands in the log, and as a reader of results is shown it."""
    topic, since = results_topic(PIPELINE), ledger.first_accepted_at
    async for record in raw_records(connection, topic, since=since):
        ledger.see_in_log(record)
    reader = ResultReader(connection, topic, start=since, until_end=True)
    await reader.start()
    try:
        async for record in reader.records():
            ledger.see_shown(record)
    finally:
        await reader.stop()


@contextlib.asynccontextmanager
async def _meanwhile(work: Coroutine[Any, Any, T]) -> AsyncIterator["asyncio.Task[T]"]:
    """Run something beside the block, and end it with the block."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})
