"""One worker of one stage on the broker in memory: the production runner between an inbox and an outbox that share a link."""

import asyncio

from failsoft.catalogue import Catalogue, pipeline_topic
from failsoft.pipeline import Stage
from failsoft.runtime.breaker_news import SharedClock
from failsoft.runtime.breaker_sharing import BreakerSharing, Take
from failsoft.runtime.later_stages import LAST_OFFSETS, LaterStages
from failsoft.runtime.metrics import Metrics
from failsoft.runtime.rollups import RollUps
from failsoft.runtime.runner import StageRunner
from failsoft.testing.memory.broker import MemoryBroker, MemoryLink
from failsoft.testing.memory.inbox import MemoryInbox
from failsoft.testing.memory.outbox import MemoryOutbox
from failsoft.testing.memory.view import MemoryView

DRAIN_SECONDS = 20.0
"""As workers have it."""


class MemoryWorker:
    """A worker, which may be stopped, killed, or cut off.

    Args:
        broker: where its topics are; its clock is the worker's too.
        stage: what it runs.
        catalogue: the stage's classes.
        name: of its process, unlike any other's on this broker.
    """

    def __init__(self, broker: MemoryBroker, stage: Stage, *, catalogue: Catalogue, name: str = "worker") -> None:
        self.link = MemoryLink()
        self.outbox = MemoryOutbox(broker, link=self.link)
        self._broker = broker
        self._views: list[MemoryView] = []
        self.metrics = metrics = Metrics()
        self.breakers = BreakerSharing(
            stage.pipeline,
            stages={stage.name: None if stage.successor is None else stage.successor.name},
            kinds=catalogue.topics,
            process=name,
            outbox=self.outbox,
            clock=SharedClock(broker.clock.monotonic, broker.clock.wall, float),
            metrics=metrics,
        )
        self.runner = StageRunner(
            stage,
            catalogue=catalogue,
            outbox=self.outbox,
            clock=broker.clock,
            metrics=metrics,
            process=name,
            announce=self.breakers.announce,
        )
        self.inbox = MemoryInbox(
            broker,
            pipeline=stage.pipeline,
            stage=stage.name,
            topics=catalogue.stage_topics(stage.pipeline, stage.name),
            listener=self.runner,
            link=self.link,
        )

        self.rollups: RollUps | None = None
        """What it tells of itself, where it belongs to a pipeline of several stages."""
        if stage.successor is not None or not stage.is_first:
            take = self.runner.take_rollup
            self.rollups = RollUps(pipeline=stage.pipeline, process=name, take=take, outbox=self.outbox)
        self.answers: MemoryView | None = None
        if stage.keeps_answers and "answers" in catalogue.topics:
            topic = pipeline_topic(stage.pipeline, "answers")
            self.answers = MemoryView(broker, topic, take=self.runner.answers_seen, numbers=(), link=self.link)

    async def start(self) -> None:
        """Hear what was said of breakers, join the group and take records."""
        await self.breakers.start(self._view)
        self.breakers.attach(self.runner.stage.name, self.runner.feed)
        await self.runner.start(self.inbox, answers=self.answers)
        await self._listen()

    async def stop(self) -> None:
        """Finish what has begun, leave the group, close."""
        await self.runner.drain(DRAIN_SECONDS)
        await self.breakers.leave(self.runner.words_to_take_back())
        await self.close()

    async def kill(self) -> None:
        """End as a process does that is killed: nobody is told, and the group finds out by its silence."""
        self.link.is_up = False
        await self.close()

    async def close(self) -> None:
        """Leave the group and let go of everything; what is under way is cut."""
        telling = [] if self.rollups is None else [self.rollups.close()]
        await asyncio.gather(self.breakers.close(), *telling, *(view.stop() for view in self._views))
        await self.runner.close()
        await self.outbox.close()

    async def _listen(self) -> None:
        """Tell how it does, and hear how those do that come after it."""
        if self.rollups is None:
            return
        later, stage = LaterStages(), self.runner.stage
        later.attach(stage, self.runner.feed)
        topic = pipeline_topic(stage.pipeline, "outcomes")
        if topic in self._broker.topics:
            self.rollups.start()
            view = MemoryView(self._broker, topic, take=later.take, last_offsets=LAST_OFFSETS, link=self.link)
            self._views.append(view)
            await view.start()

    def _view(self, topic: str, take: Take) -> MemoryView:
        view = MemoryView(self._broker, topic, take=take, link=self.link)
        self._views.append(view)
        return view
