"""Plays the second act: two regions of models, workers of both stages, an index that becomes empty, and an operator.

A request belongs to the scene that it was sent in. What a scene did to a region is told by the region's own account of its calls,
what became of a request by its result. Before the first scene the endpoint is taken home, where another demo has left it away.
"""

import asyncio
import contextlib
import math
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from failsoft.catalogue import Catalogue, results_topic
from failsoft.failover.gate import where
from failsoft.failover.kafka_book import KafkaBook
from failsoft.failover.run import Run
from failsoft.kafka import Connection, Outbox
from failsoft.kafka.results import ResultReader
from failsoft.policy.outcome import Reason
from failsoft.trials.arrivals import Arrivals
from failsoft.trials.audience import Audience, Now, time_told
from failsoft.trials.beside import beside
from failsoft.trials.demo import LOOK_SECONDS, WORKERS, DemoSettings
from failsoft.trials.deployment import apply_topics, catalogue_option, pipeline_target, read_log, worker_command
from failsoft.trials.fleet import Fleet
from failsoft.trials.ledger import Ledger, Verdict
from failsoft.trials.load import Arrival, OpenLoop, draw_load
from failsoft.trials.rest import is_at_rest, waiting
from failsoft.trials.scenario import ASKING, LARGE
from failsoft.trials.second_act.command import FailoverCommand
from failsoft.trials.second_act.judgement import Expectation, Shown, expectations
from failsoft.trials.second_act.questions import Questions
from failsoft.trials.second_act.runbook import write_runbook
from failsoft.trials.second_act.script import AWAY, ENDPOINT, HOME, PIPELINE, REGION, SCENES, Scene, Verb
from failsoft.trials.served_models import ServedModels
from failsoft.wire import Result

SLICE_SECONDS = 1.0
"""In a scene with a command the load is sent in pieces: it ends with the piece in which the command does."""


@dataclass(frozen=True, slots=True)
class SecondAct:
    """What the second act has shown.

    Attributes:
        verdict: over all its requests.
        scenes: in order.
        runs: drills and failovers, as the book has them.
        expected: everything that had to be shown.
    """

    verdict: Verdict
    scenes: Sequence[Shown]
    runs: Sequence[Run]
    expected: Sequence[Expectation]

    @property
    def is_kept(self) -> bool:
        """Whether all of it was."""
        return all(each.is_met for each in self.expected)


@dataclass(frozen=True, slots=True)
class _Played:
    """A scene that is over; its requests may still wait."""

    scene: Scene
    seconds: float
    calls: Mapping[str, int]
    exit_code: int | None


async def run_second_act(
    connection: Connection, catalogue: Catalogue, settings: DemoSettings, audience: Audience
) -> SecondAct:
    """Play it and judge it.

    Raises:
        ConfigurationError: the catalogue has no such classes, or its topics need a person.
        EnvironmentFailure: the broker is missing, or a process ended by itself.
    """
    await apply_topics(connection, catalogue, PIPELINE)
    audience.step("second act: the topics of two stages are as the catalogue wants them")
    run = uuid4().hex[:12]
    load = draw_load(run, SCENES, seed=settings.seed, asker=Questions)
    ledger = Ledger({each.result_id: each.asked for each in load}, classes=[asking.request_class for asking in ASKING])
    async with _stage(connection, catalogue, settings, run=run, ledger=ledger, audience=audience) as stage:
        await stage.go_home()
        played = [
            await stage.play(scene, [each for each in load if each.asked.phase == scene.name]) for scene in SCENES
        ]
    audience.step("all workers have stopped; reading the log")
    await read_log(connection, ledger, PIPELINE)
    runs = [each for each in await KafkaBook(connection, PIPELINE).read() if run in each.why]
    verdict = ledger.verdict()
    scenes = [_shown(each, verdict, ledger) for each in played]
    return SecondAct(verdict, scenes, runs, list(expectations(verdict, scenes, runs)))


@contextlib.asynccontextmanager
async def _stage(
    connection: Connection,
    catalogue: Catalogue,
    settings: DemoSettings,
    *,
    run: str,
    ledger: Ledger,
    audience: Audience,
) -> AsyncIterator["_Stage"]:
    """Everything runs inside, and nothing after."""
    target = pipeline_target(PIPELINE)
    async with contextlib.AsyncExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="failsoft-demo-")))
        outbox = Outbox(connection)
        await outbox.start()
        closing.push_async_callback(outbox.close)
        models = {
            name: await closing.enter_async_context(_region(name, folder, settings.seed)) for name in (HOME, AWAY)
        }
        regions = ",".join(f"{name}={served.url}" for name, served in models.items())
        audience.step(f"a model server in each region: {regions}")
        pages = folder / "pages.txt"
        command = worker_command(
            target,
            connection,
            launcher=settings.launcher,
            session_seconds=settings.session_seconds,
            catalogue_path=settings.catalogue_path,
            environment={"MODEL_SERVER_URLS": regions, "SUPPORT_PAGES": str(pages)},
        )
        fleet = await closing.enter_async_context(Fleet(command, size=WORKERS, folder=folder))
        audience.step(f"{WORKERS} workers take requests, each for both stages")
        reader = ResultReader(connection, results_topic(PIPELINE), start="end")
        options = ["--pipeline", target, "--bootstrap", connection.bootstrap_servers]
        yield _Stage(
            fleet=fleet,
            models=models,
            pages=pages,
            sender=OpenLoop(outbox, catalogue, ledger, pipeline=PIPELINE),
            arrivals=await closing.enter_async_context(Arrivals(reader, ledger.asked)),
            ledger=ledger,
            operator=FailoverCommand(
                write_runbook(folder),
                regions=regions,
                options=[*options, *catalogue_option(settings.catalogue_path)],
                why=f"demo {run}",
                tell=audience.step,
            ),
            book=KafkaBook(connection, PIPELINE),
            audience=audience,
        )


def _region(name: str, folder: Path, seed: int) -> ServedModels:
    (folder / name).mkdir()
    return ServedModels(REGION, seed=seed, folder=folder / name, digits=False)


@dataclass(frozen=True, slots=True)
class _Stage:
    """Where the scenes are played."""

    fleet: Fleet
    models: Mapping[str, ServedModels]
    pages: Path
    sender: OpenLoop
    arrivals: Arrivals
    ledger: Ledger
    operator: FailoverCommand
    book: KafkaBook
    audience: Audience

    async def play(self, scene: Scene, load: Sequence[Arrival]) -> _Played:
        """Send a scene's load under what it does, then pause, unless the next scene is what its requests wait for."""
        self.audience.step(f"{scene.name}: {scene.tale}; {scene.requests_per_second:.0f} requests/s")
        self._set_pages(has_pages=scene.has_pages)
        await self.models[HOME].set_faults(LARGE, scene.home)
        before, began_at = await self._calls(), time.monotonic()
        async with beside(self._send(scene, load)) as sending:
            await self._until(sending.done, scene, began_at)
            exit_code = await sending
        ended_at = time.monotonic()
        if scene.comes_to_rest:
            await self._until(lambda: is_at_rest(self.ledger, self.arrivals, since=ended_at), scene, began_at)
        calls = {name: count - before[name] for name, count in (await self._calls()).items()}
        return _Played(scene, ended_at - began_at, calls, exit_code)

    async def go_home(self) -> None:
        """Take the endpoint back to where it belongs, if it is anywhere else."""
        held = (await self.book.read()).holder(ENDPOINT)
        is_open = held is not None and held.is_open
        if is_open or where(await self.book.route(ENDPOINT), (HOME, AWAY)) != HOME:
            await self.operator.give(Verb.ROLLBACK)

    async def _send(self, scene: Scene, load: Sequence[Arrival]) -> int | None:
        """Send as long as the scene takes; return the exit code of its command."""
        if scene.command is None:
            await self.sender.send(load, seconds=scene.seconds)
            return None
        async with beside(self.operator.give(scene.command)) as command:
            for piece in pieces(load, scene.seconds):
                await self.sender.send(piece, seconds=SLICE_SECONDS)
                if command.done():
                    break
            return await command

    async def _until(self, condition: Callable[[], bool], scene: Scene, began_at: float) -> None:
        """Wait for it, show how it stands, and raise what went wrong meanwhile."""
        while not condition():
            self.arrivals.require_reading()
            self.fleet.require_running()
            for served in self.models.values():
                served.require_running()
            told = time_told(time.monotonic() - began_at, scene.seconds)
            self.audience.show(Now(scene.name, told, waiting(self.ledger, self.arrivals), self.arrivals.recent()))
            await asyncio.sleep(LOOK_SECONDS)

    async def _calls(self) -> dict[str, int]:
        stats = {name: await served.stats() for name, served in self.models.items()}
        return {name: sum(model["calls"] for model in models.values()) for name, models in stats.items()}

    def _set_pages(self, *, has_pages: bool) -> None:
        """An empty file takes the place of the corpus; without one the corpus is what is searched."""
        if has_pages:
            self.pages.unlink(missing_ok=True)
        else:
            self.pages.touch()


def pieces(load: Sequence[Arrival], seconds: float) -> list[list[Arrival]]:
    """Cut a load up, each piece on a clock of its own."""
    cut: list[list[Arrival]] = [[] for _ in range(math.ceil(seconds / SLICE_SECONDS))]
    for arrival in load:
        number = int(arrival.at_seconds / SLICE_SECONDS)
        cut[number].append(replace(arrival, at_seconds=arrival.at_seconds - number * SLICE_SECONDS))
    return cut


def _shown(played: _Played, verdict: Verdict, ledger: Ledger) -> Shown:
    name = played.scene.name
    results: list[Result] = [each for id_, each in verdict.results.items() if ledger.asked[id_].phase == name]
    return Shown(
        scene=played.scene,
        classes=verdict.phases[name],
        reasons=Counter(each.reason for each in results if each.reason is not Reason.NONE),
        regions=Counter(each.region for each in results if each.region is not None),
        calls=played.calls,
        seconds=played.seconds,
        exit_code=played.exit_code,
    )
