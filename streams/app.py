"""The Faust app round a model: roll-ups come in, what they have changed goes out, once a second.

A roll-up is acknowledged only when what it has changed is published, so after a crash it is read again; a model passes over what
is in it already. What a model holds is read back from its own compacted topic whenever partitions come or go, before the first
roll-up is read (``on_rebalance_complete``: in ``on_partitions_assigned`` roll-ups come first). A roll-up that cannot be read is
counted and left out. Any other error ends the process: whoever started it starts it again, and nothing is lost by that.

Faust may pass over records that it has fetched: while a rebalance ended, sixty were seen to be dropped without a word, and what
came after them was counted. So each roll-up has to follow the one before it, the first of them what the group has committed;
else the process ends before it counts, and whoever comes next reads them.

A member that was frozen may publish what its successor has passed long ago. The successor says everything that is still open
again every ten seconds; whoever was frozen for longer than that can heal ends itself.
"""

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import structlog
from faust.types import TP, EventT

from failsoft.catalogue import pipeline_topic, streams_group_name
from failsoft.kafka import Connection, View, ViewRecord, cluster_is_whole
from failsoft.kafka.operations import committed
from failsoft.policy.degradation import CELL_SECONDS
from failsoft.policy.errors import EnvironmentFailure, MalformedRecord
from failsoft.policy.rollup import RollUp
from failsoft.wire import ForeignHeaders, Record
from failsoft.wire.rollup import decode_rollup
from streams.metrics import Metrics
from streams.reading import Reading
from streams.settings import new_app

log = structlog.get_logger("failsoft.streams")

PUBLISH_SECONDS = 1.0
REPEAT_ROUNDS = 10
"""After how many seconds everything that is open is said again."""
RESTORE_SECONDS = 30.0
"""A day of cells, 30,000 records, took about one on a busy machine."""
FROZEN_SECONDS = float(CELL_SECONDS)
"""What a successor says again reaches far enough back for one that was frozen for a minute (failsoft/policy/degradation.py)."""
LOOK_SECONDS = 5.0
ANSWER_SECONDS = 30.0
"""For Faust to say how far it is, which asks no broker: one that does not is ended as for any error."""
STUCK_SECONDS = 60.0
"""As long as a worker is given before a part of it is rebuilt."""
STUCK_EXIT_CODE = 5
"""As of ``failsoft worker``."""


class RollUpsMissing(Exception):  # noqa: N818 - they are
    """Roll-ups were passed over; they are still there to be read."""


class Model(Protocol):
    """What an app makes of roll-ups."""

    def restore(self, record: ViewRecord, partitions: frozenset[int]) -> None:
        """Take up what stands in the topic, as far as it is of these partitions of roll-ups."""

    def fold(self, rollup: RollUp, *, partition: int, offset: int, appended_at: float) -> None:
        """Add a roll-up."""

    def take_changed(self) -> list[Record]:
        """What roll-ups have changed since this was last asked."""

    def open(self) -> list[Record]:
        """What may still change."""


class App:
    """A Faust app, which has not been started.

    Args:
        name: the app's, and that of the topic of its model.
        new_model: makes a model that knows nothing.
        connection: the cluster.
        pipeline: whose roll-ups.
        metrics: what is counted.
        folder: where Faust may have its empty folders.
    """

    def __init__(
        self,
        name: str,
        new_model: Callable[[], Model],
        *,
        connection: Connection,
        pipeline: str,
        metrics: Metrics,
        folder: str,
    ) -> None:
        self.faust = new_app(streams_group_name(pipeline, name), connection, folder=folder)
        self.is_assigned = False
        self._connection = connection
        self._source = pipeline_topic(pipeline, "outcomes")
        self._target = pipeline_topic(pipeline, name)
        self._new_model = new_model
        self._model = new_model()
        self._metrics = metrics
        self._pending: list[EventT[bytes]] = []
        self._next: dict[int, int] = {}
        """Partition -> the offset that has to come next."""
        self._publishing = asyncio.Lock()
        self._rounds = 0
        self._published_at: float | None = None
        self._reading = Reading(now=time.monotonic())
        self._target_topic = self._topic(self._target)
        self._wire()

    def _topic(self, name: str) -> Any:
        raw: dict[str, Any] = {
            "key_type": bytes,
            "value_type": bytes,
            "key_serializer": "raw",
            "value_serializer": "raw",
        }
        return self.faust.topic(name, **raw)

    def _wire(self) -> None:
        """Tell Faust what to call. It keeps weak references to bound methods, so these are functions."""
        app = self.faust

        @app.agent(self._topic(self._source), concurrency=1)
        async def fold(stream: Any) -> None:
            async for event in stream.noack().events():
                self.take(event)

        async def publish() -> None:
            self.require_awake(time.monotonic())
            await self.publish()

        async def look() -> None:
            await self.look(time.monotonic())

        app.timer(PUBLISH_SECONDS)(publish)
        app.timer(LOOK_SECONDS)(look)

        @app.on_partitions_revoked.connect
        async def hand_over(*_: Any, **__: Any) -> None:
            await self.publish()

        @app.on_rebalance_complete.connect
        async def take_over(*_: Any, **__: Any) -> None:
            numbers = frozenset(place.partition for place in app.consumer.assignment() if place.topic == self._source)
            await self.restore(numbers)

    def take(self, event: EventT[bytes]) -> None:
        """Add a roll-up to the model, if it is one."""
        message = event.message
        self._require_next(message.partition, message.offset)
        self._pending.append(event)
        try:
            rollup = decode_rollup(message.value, _headers(message.headers))
        except MalformedRecord as error:
            self._metrics.malformed.inc()
            log.warning("malformed_rollup", partition=message.partition, offset=message.offset, error=str(error))
            return
        if rollup is not None:
            place = {"partition": message.partition, "offset": message.offset}
            self._model.fold(rollup, appended_at=message.timestamp, **place)
            self._metrics.folded.inc()

    def _require_next(self, partition: int, offset: int) -> None:
        """End before a roll-up is counted that does not follow the last one; one that comes again is none the worse for that."""
        expected = self._next.get(partition, offset)
        if offset > expected:
            raise RollUpsMissing(f"{self._source}-{partition}: {offset} came, and {expected} did not")
        self._next[partition] = offset + 1

    async def publish(self) -> None:
        """Publish what has changed, then acknowledge the roll-ups that have changed it."""
        async with self._publishing:
            pending, self._pending = self._pending, []
            records = self._model.take_changed()
            self._rounds += 1
            if self._rounds % REPEAT_ROUNDS == 0:
                records = list({record.key: record for record in (*self._model.open(), *records)}.values())
            await self._send(records)
            for event in pending:
                event.ack()
            self._published_at = time.monotonic()
            self._metrics.published.inc(len(records))

    async def _send(self, records: Sequence[Record]) -> None:
        """Hand all to the producer, so that they go in few batches, and wait for the broker's word on each."""
        sent = [
            await self._target_topic.send(key=record.key, value=record.value, headers=dict(record.headers))
            for record in records
        ]
        for acknowledged in sent:
            await acknowledged

    async def restore(self, partitions: frozenset[int]) -> None:
        """Begin anew with these partitions of roll-ups, from what stands in the topic. What is pending comes again."""
        async with self._publishing:
            self._pending, model = [], self._new_model()
            if partitions:
                await self._read_back(model, partitions)
                self._next = await self._first_offsets(partitions)
            self._model, self.is_assigned = model, True
            log.info("assigned", topic=self._source, partitions=sorted(partitions))

    async def _first_offsets(self, partitions: frozenset[int]) -> dict[int, int]:
        """Where reading has to begin: what the group has committed, or what retention has left."""
        places = [TP(self._source, number) for number in partitions]
        begins = await self.faust.consumer.earliest_offsets(*places)
        done = await committed(self._connection, self.faust.conf.id)
        offsets = {number: known.offset for (topic, number), known in done.items() if topic == self._source}
        return {place.partition: max(begins[place], offsets.get(place.partition, 0)) for place in places}

    async def _read_back(self, model: Model, partitions: frozenset[int]) -> None:
        def take(records: Sequence[ViewRecord]) -> None:
            for record in records:
                try:
                    model.restore(record, partitions)
                except MalformedRecord as error:
                    log.warning("malformed_record", topic=self._target, offset=record.offset, error=str(error))

        view = View(self._connection, self._target, take=take)
        await view.start()
        try:
            if not await view.caught_up(RESTORE_SECONDS):
                raise EnvironmentFailure(f"{self._target} could not be read back in {RESTORE_SECONDS:g} s")
        finally:
            await view.stop()

    def require_awake(self, now: float) -> None:
        """End a process that was frozen for so long that nobody would mend what it publishes now. One that waits was not."""
        if self._published_at is None or self._publishing.locked():
            return
        if now - self._published_at > FROZEN_SECONDS:
            raise EnvironmentFailure(f"stood still for {now - self._published_at:.0f} s; others may have gone on")

    async def look(self, now: float) -> None:
        """End a process that reads nothing although there is something, while the cluster is whole."""
        consumer = self.faust.consumer
        places = [place for place in consumer.assignment() if place.topic == self._source]
        async with asyncio.timeout(ANSWER_SECONDS):
            positions = {place.partition: await consumer.position(place) or 0 for place in places}
        ends = {place.partition: consumer.highwater(place) or 0 for place in places}
        seconds = self._reading.seen(positions, ends, now=now)
        self._metrics.lag.set(self._reading.lag)
        topics = [self._source, self._target]
        if seconds > STUCK_SECONDS and await cluster_is_whole(self._connection, topics, LOOK_SECONDS):
            log.error("stands_still", seconds=seconds, lag=self._reading.lag)
            os._exit(STUCK_EXIT_CODE)


def _headers(said: Any) -> ForeignHeaders:
    """Headers as they stand in the record; Faust's type allows a mapping, its driver hands over pairs."""
    return tuple(said.items() if isinstance(said, Mapping) else said or ())
