"""What faults act on, and how one fault is told apart from another."""

import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from failsoft.catalogue import Catalogue, dead_letters_topic, results_topic
from failsoft.kafka import Connection, operations
from failsoft.policy.errors import EnvironmentFailure
from failsoft.testing.ensemble import Ensemble
from failsoft.trials.faults.callers import Callers
from failsoft.trials.faults.crew import Crew
from failsoft.trials.faults.names import NAME, STAGE
from failsoft.trials.history import Trial, Unreadable, dump_topic
from failsoft.trials.served_models import ServedModels

IN_SYNC_SECONDS = 30.0
PERSIST_SECONDS = 60.0
RETRY_SECONDS = 0.5
LOOK_SECONDS = 0.2


T = TypeVar("T")


class NotHere(Exception):  # noqa: N818 - a fact of the machine
    """This machine, or this build, cannot have the fault; says why."""


@dataclass(slots=True)
class Strike:
    """One fault while it lasts.

    Attributes:
        rng: of whatever it chooses.
        seconds: how long it lasts once it has begun.
        begins: called with the target, right before it strikes.
        unreadable: what it took away before it was read.
        recreated: topics that it made anew.
        forgot_offsets: whether the group's offsets went.
    """

    rng: random.Random
    seconds: float
    begins: Callable[[str], None]
    unreadable: Sequence[Unreadable] = ()
    recreated: Sequence[str] = ()
    forgot_offsets: bool = False

    async def lasts(self) -> None:
        """Wait as long as it lasts."""
        await asyncio.sleep(self.seconds)


@dataclass(slots=True)
class Site:
    """Everything that can be struck.

    Attributes:
        ensemble: the brokers and the proxies before them.
        crew: the workers.
        models: what they call.
        callers: who asks.
        catalogue: of the topics.
        trial: what was written down of it.
        folder: of the history.
        small_disk: the node whose records live on a small disk, and where that is; None where there is none.
        gives_killers_up: whether a record that kills its worker ends as a dead letter.
        incarnations: topic -> how often it was made anew.
        shown: ids of the results that readers have been shown so far.
    """

    ensemble: Ensemble
    crew: Crew
    models: ServedModels
    callers: Callers
    catalogue: Catalogue
    trial: Trial
    folder: Path
    shown: Callable[[], Collection[str]]
    small_disk: tuple[int, Path] | None = None
    gives_killers_up: bool = False
    incarnations: dict[str, int] = field(default_factory=dict)

    @property
    def connection(self) -> Connection:
        """Around all proxies."""
        return Connection(self.ensemble.direct)

    @property
    def topics(self) -> Mapping[str, str]:
        """Class -> topic of requests."""
        return self.catalogue.stage_topics(NAME, STAGE)

    @property
    def all_topics(self) -> Sequence[str]:
        """All that the trial's requests and results stand in."""
        return [*self.topics.values(), results_topic(NAME), dead_letters_topic(NAME)]

    async def in_sync(self) -> None:
        """Wait until every replica is in sync again, at most half a minute: two nodes down are an outage, no finding."""
        try:
            async with asyncio.timeout(IN_SYNC_SECONDS):
                while not await self._is_in_sync():  # noqa: ASYNC110 - what we wait for is in other processes
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            return  # the report shows what that does

    async def _is_in_sync(self) -> bool:
        try:
            return not await operations.lagging(self.connection, [*self.all_topics, "__consumer_offsets"])
        except EnvironmentFailure:
            return False

    async def dump(self, topic: str) -> None:
        """Write all records of a topic into the history, whole: what was begun and cut off is begun again."""
        incarnation = self.incarnations.get(topic, 0)

        async def attempt() -> None:
            with tempfile.TemporaryDirectory(prefix="dump-", dir=self.folder) as beside:
                await dump_topic(self.connection, Path(beside), self.trial, topic, incarnation=incarnation)
                _move_all(Path(beside), self.folder)

        await persist(attempt)


def _move_all(source: Path, target: Path) -> None:
    for file in source.iterdir():
        file.rename(target / file.name)


async def persist(attempt: Callable[[], Awaitable[T]]) -> T:
    """Do what an operator does, again until it works: another fault may be in its way.

    Raises:
        EnvironmentFailure: it has not worked for a minute.
    """
    ends_at = time.monotonic() + PERSIST_SECONDS
    while True:
        try:
            return await attempt()
        except EnvironmentFailure:
            if time.monotonic() > ends_at:
                raise
        await asyncio.sleep(RETRY_SECONDS)
