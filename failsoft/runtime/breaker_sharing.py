"""The breakers of one process and the fleet: what this worker says, and what it hears, as far as the catalogue has topics for it.

Without a topic of breakers each worker goes by its own counts; without one of controls no operator can force a breaker. Nothing
else changes.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeAlias

import structlog

from failsoft.catalogue import pipeline_topic
from failsoft.kafka import ViewRecord
from failsoft.policy.actions import AnnounceRegister
from failsoft.policy.events import Event
from failsoft.runtime.announcer import Announcer
from failsoft.runtime.breaker_news import BreakerNews, SharedClock
from failsoft.runtime.metrics import Metrics
from failsoft.runtime.ports import OutboxPort, ViewPort

log = structlog.get_logger("failsoft.breakers")

READY_SECONDS = 5.0
"""How long a start waits for what was said: DESIGN §8. Ten thousand registers are read in half a second."""

Take: TypeAlias = Callable[[Sequence[ViewRecord]], None]


class BreakerSharing:
    """What one process says and hears.

    Args:
        pipeline: whose breakers.
        stages: which of its stages this process runs, and the one that comes after each, None after the last.
        kinds: of topics that the catalogue has.
        process: this worker's name, unlike any other's.
        outbox: the way to the broker.
        clock: what is known of the time.
        metrics: what is counted.
    """

    def __init__(
        self,
        pipeline: str,
        *,
        stages: Mapping[str, str | None],
        kinds: Collection[str],
        process: str,
        outbox: OutboxPort,
        clock: SharedClock,
        metrics: Metrics,
    ) -> None:
        self._news = BreakerNews(stages, clock=clock, heard=metrics.breaker_records_heard)
        self._monotonic = clock.monotonic
        self._read_seconds = metrics.breakers_read_seconds
        self._takes: dict[str, Take] = {}
        self._announcer: Announcer | None = None
        if "breakers" in kinds:
            topic = pipeline_topic(pipeline, "breakers")
            self._takes[topic] = self._news.registers
            self._announcer = Announcer(outbox, topic, process=process, said=metrics.registers_said)
        if "controls" in kinds:
            self._takes[pipeline_topic(pipeline, "controls")] = self._news.controls

    async def start(self, view_of: Callable[[str, Take], ViewPort]) -> None:
        """Read what has been said so far, but not for long. Reading goes on in any case.

        Args:
            view_of: makes a view of a topic, whose records go where is said. Whoever made it has to stop it.
        """
        began_at = self._monotonic()
        views = [view_of(topic, take) for topic, take in self._takes.items()]
        for view in views:
            await view.start()
        if not all(await asyncio.gather(*(view.caught_up(READY_SECONDS) for view in views))):
            log.warning("ready_before_all_breakers_were_read", seconds=READY_SECONDS)
        self._read_seconds.set(self._monotonic() - began_at)

    def attach(self, stage: str, feed: Callable[[Event], None]) -> None:
        """Tell a stage all that was heard for it, and what comes."""
        began_at = self._monotonic()
        self._news.tell(stage, feed)
        self._read_seconds.inc(self._monotonic() - began_at)

    def announce(self, action: AnnounceRegister) -> None:
        """Have the others know."""
        if self._announcer is not None:
            self._announcer.announce(action)

    async def keep_time(self) -> None:
        """Tell the stages of the time, for ever: a machine with nothing to do is not woken otherwise."""
        await self._news.keep_time()

    async def leave(self, breakers: Iterable[str]) -> None:
        """Take back what was said of these, and say no more."""
        if self._announcer is not None:
            await self._announcer.leave(breakers)

    async def close(self) -> None:
        """Say no more."""
        if self._announcer is not None:
            await self._announcer.close()
