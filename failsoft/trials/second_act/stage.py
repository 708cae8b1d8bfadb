"""Where the second act is played: two regions of models, workers of both stages, an index that may become empty, an operator.

A request belongs to the scene that it was sent in. What a scene did to a region is told by the region's own account of its calls,
what became of a request by its result.
"""

import asyncio
import contextlib
import math
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from failsoft.catalogue import Catalogue, results_topic
from failsoft.failover.kafka_book import KafkaBook
from failsoft.failover.ports import BookPort
from failsoft.kafka import Connection, Outbox
from failsoft.kafka.results import ResultReader
from failsoft.trials.arrivals import Arrivals
from failsoft.trials.audience import Audience, Now, time_told
from failsoft.trials.beside import beside
from failsoft.trials.demo import LOOK_SECONDS, WORKERS, DemoSettings
from failsoft.trials.deployment import catalogue_option, pipeline_target, worker_command
from failsoft.trials.fleet import Fleet
from failsoft.trials.ledger import Ledger
from failsoft.trials.load import Arrival, OpenLoop
from failsoft.trials.rest import is_at_rest, waiting
from failsoft.trials.scenario import LARGE
from failsoft.trials.second_act.command import FailoverCommand
from failsoft.trials.second_act.home import go_home
from failsoft.trials.second_act.runbook import write_runbook
from failsoft.trials.second_act.script import AWAY, BACK, HOME, PIPELINE, REGION, Scene, Verb
from failsoft.trials.served_models import ServedModels

SLICE_SECONDS = 1.0
"""In a scene with a command the load is sent in pieces: it ends with the piece in which the command does."""


@dataclass(frozen=True, slots=True)
class Played:
    """A scene that is over; its requests may still wait.

    Attributes:
        scene: which.
        seconds: how long requests were sent.
        calls: region -> calls that came to its model server.
        exit_code: of the command; None where there was none.
    """

    scene: Scene
    seconds: float
    calls: Mapping[str, int]
    exit_code: int | None


@contextlib.asynccontextmanager
async def opened(
    connection: Connection, catalogue: Catalogue, settings: DemoSettings, ledger: Ledger, audience: Audience
) -> AsyncIterator["Stage"]:
    """Everything runs inside, and nothing after."""
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
        environment = {"MODEL_SERVER_URLS": regions, "SUPPORT_PAGES": str(pages)}
        async with Fleet(_worker(connection, settings, environment), size=WORKERS, folder=folder) as fleet:
            audience.step(f"{WORKERS} workers take requests, each for both stages")
            async with Arrivals(_reader(connection), ledger.asked) as arrivals:
                yield Stage(
                    fleet=fleet,
                    models=models,
                    pages=pages,
                    sender=OpenLoop(outbox, catalogue, ledger, pipeline=PIPELINE),
                    arrivals=arrivals,
                    ledger=ledger,
                    operator=_operator(write_runbook(folder), regions, connection, settings, audience),
                    book=KafkaBook(connection, PIPELINE),
                    audience=audience,
                )
        for complaint in fleet.complaints:
            audience.step(complaint)


def _region(name: str, folder: Path, seed: int) -> ServedModels:
    (folder / name).mkdir()
    return ServedModels(REGION, seed=seed, folder=folder / name, digits=False)


def _worker(connection: Connection, settings: DemoSettings, environment: Mapping[str, str]) -> list[str]:
    return worker_command(
        pipeline_target(PIPELINE),
        connection,
        launcher=settings.launcher,
        session_seconds=settings.session_seconds,
        catalogue_path=settings.catalogue_path,
        environment=environment,
    )


def _reader(connection: Connection) -> ResultReader:
    return ResultReader(connection, results_topic(PIPELINE), start="end")


def _operator(
    runbook: Path, regions: str, connection: Connection, settings: DemoSettings, audience: Audience
) -> FailoverCommand:
    options = ["--pipeline", pipeline_target(PIPELINE), "--bootstrap", connection.bootstrap_servers]
    options += catalogue_option(settings.catalogue_path)
    return FailoverCommand(runbook, regions=regions, options=options, tell=audience.step)


@dataclass(frozen=True, slots=True)
class Stage:
    """All that runs, while it runs."""

    fleet: Fleet
    models: Mapping[str, ServedModels]
    pages: Path
    sender: OpenLoop
    arrivals: Arrivals
    ledger: Ledger
    operator: FailoverCommand
    book: BookPort
    audience: Audience

    async def begin(self, load: Sequence[Arrival], *, why: str) -> None:
        """See to it that all requests are in eu and its large model has all its load, so that the first scene shows itself."""
        roll_back = partial(self.operator.give, Verb.ROLLBACK, why="an earlier demo has left it away")
        if await go_home(self.book, roll_back):
            await self.play(BACK, load, why=why)

    async def play(self, scene: Scene, load: Sequence[Arrival], *, why: str) -> Played:
        """Send a scene's load under what it does, then pause, unless the next scene is what its requests wait for.

        Args:
            scene: which.
            load: of it.
            why: of the command, if there is one.
        """
        self.audience.step(f"{scene.name}: {scene.tale}; {scene.requests_per_second:.0f} requests/s")
        self._set_pages(has_pages=scene.has_pages)
        await self.models[HOME].set_faults(LARGE, scene.home)
        before, began_at = await self._calls(), time.monotonic()
        async with beside(self._send(scene, load, why)) as sending:
            await self._until(sending.done, scene, began_at)
            exit_code = await sending
        ended_at = time.monotonic()
        if scene.comes_to_rest:
            await self._until(lambda: is_at_rest(self.ledger, self.arrivals, since=ended_at), scene, began_at)
        calls = {name: count - before[name] for name, count in (await self._calls()).items()}
        return Played(scene, ended_at - began_at, calls, exit_code)

    async def _send(self, scene: Scene, load: Sequence[Arrival], why: str) -> int | None:
        """Send as long as the scene takes; return the exit code of its command."""
        if scene.command is None:
            await self.sender.send(load, seconds=scene.seconds)
            return None
        async with beside(self.operator.give(scene.command, why=why)) as command:
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
