"""Tells once a second what one stage of this worker has done: how requests ended, how long calls took.

What has happened is added up until it can be sent, one record at a time: while a broker is away a second becomes a minute, and
nothing piles up. Nothing waits for it: no offset and no result hangs on a roll-up, and one that its topic refuses is dropped, or
whose topic somebody has deleted.

Endings are counted when their result is acknowledged, where the metrics count them, and not by an action of the machine: how a
request really ended is known only then (an answer that fits no result makes it fail), and the ledger must agree with /metrics.
"""

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from failsoft.catalogue import pipeline_topic
from failsoft.kafka import OutboxClosed, RecordRefused
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.rollup import RollUp
from failsoft.runtime.ports import OutboxPort
from failsoft.wire.rollup import encode_rollup

log = structlog.get_logger("failsoft.rollups")

INTERVAL_SECONDS = 1.0
LAST_SECONDS = 0.5
"""For the last one, when all else is done. A broker that answers takes 30 ms; where none does, what was left to tell is lost."""


class RollUps:
    """The roll-ups of one stage of one worker.

    Args:
        pipeline: whose stage it is.
        process: this worker's name, unlike any other's.
        take: what has happened since it was last asked.
        outbox: where they go.
    """

    def __init__(self, *, pipeline: str, process: str, take: Callable[[], RollUp], outbox: OutboxPort) -> None:
        self._pipeline = pipeline
        self._process = process
        self._take = take
        self._outbox = outbox
        self._told = 0
        self._is_ending = asyncio.Event()
        self._telling: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to tell."""
        self._take()  # from here on
        self._telling = asyncio.create_task(self._tell_until_end())

    async def failed(self) -> None:
        """Wait until it ends on an error that is a bug, and raise it; brokers that are away are none."""
        if self._telling is None:
            raise ValueError("not started")
        await asyncio.wait({self._telling})
        if not self._telling.cancelled():
            self._telling.result()

    async def close(self) -> None:
        """Tell what is left, if a broker answers."""
        if self._telling is not None:
            self._is_ending.set()
            await asyncio.wait({self._telling}, timeout=LAST_SECONDS)
            self._telling.cancel()
            await asyncio.wait({self._telling})

    async def _tell_until_end(self) -> None:
        with contextlib.suppress(OutboxClosed):
            while not self._is_ending.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(INTERVAL_SECONDS):
                        await self._is_ending.wait()
                await self._tell()

    async def _tell(self) -> None:
        rollup = self._take()
        if not rollup.endings and not rollup.latency:
            return
        self._told += 1
        record = encode_rollup(rollup, pipeline=self._pipeline, id_=f"{self._process}-{rollup.stage}-{self._told}")
        topic = pipeline_topic(self._pipeline, "outcomes")
        try:
            await self._outbox.send(topic, key=record.key, value=record.value, headers=record.headers)
        except (RecordRefused, ConfigurationError) as error:
            log.warning("rollup_lost", topic=topic, error=str(error))
