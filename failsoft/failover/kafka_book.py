"""The book on Kafka: ``<pipeline>.drills`` for runs, ``<pipeline>.controls`` for routes.

Each look reads a topic from the beginning to the end that it has then: they hold a few records per drill, and a run looks some
thirty times. A reader that was kept would have to be asked how far it is, and a claim hangs on that answer.
"""

import logging

from failsoft.catalogue import pipeline_topic
from failsoft.failover.logbook import Logbook
from failsoft.failover.record import decode_run, encode_run
from failsoft.failover.run import Run
from failsoft.kafka import Connection, Outbox
from failsoft.kafka.raw import raw_records
from failsoft.policy.errors import MalformedRecord
from failsoft.policy.routing import Route
from failsoft.wire.route import SaidRoute, decode_route, encode_route

log = logging.getLogger(__name__)


class KafkaBook:
    """The topics of one pipeline.

    Args:
        connection: where the cluster is.
        pipeline: whose.
        outbox: the way to the broker, for who writes.
    """

    def __init__(self, connection: Connection, pipeline: str, *, outbox: Outbox | None = None) -> None:
        self._connection = connection
        self._drills, self._controls = pipeline_topic(pipeline, "drills"), pipeline_topic(pipeline, "controls")
        self._outbox = outbox
        self._who = self._why = ""

    async def read(self) -> Logbook:
        """All runs, up to the end that the log has now."""
        logbook = Logbook()
        async for record in raw_records(self._connection, self._drills, since=0.0):
            try:
                word = decode_run(record.key, record.value, record.headers)
            except MalformedRecord as error:  # of a version to come, perhaps: the others hold all the same
                log.warning("%s: record %d is passed over: %s", self._drills, record.offset, error)
                continue
            logbook.heard(word.session, word.run)
        return logbook

    async def route(self, endpoint: str) -> Route | None:
        """What holds for an endpoint: of the words with the highest epoch the latest."""
        holds: Route | None = None
        async for record in raw_records(self._connection, self._controls, since=0.0):
            try:
                said = decode_route(record.value, record.headers)
            except MalformedRecord as error:
                log.warning("%s: record %d is passed over: %s", self._controls, record.offset, error)
                continue
            if (
                said is not None
                and said.route.endpoint == endpoint
                and (holds is None or said.route.epoch >= holds.epoch)
            ):
                holds = said.route
        return holds

    async def write(self, run: Run) -> None:
        """Write a session's word down; returns when the log has it."""
        self._who, self._why = run.by, run.why
        record = encode_run(run)
        await self._writing().send(self._drills, key=record.key, value=record.value, headers=record.headers)

    async def withdraw(self, run: Run) -> None:
        """Delete a session's word."""
        record = encode_run(run, is_deleted=True)
        await self._writing().send(self._drills, key=record.key, value=None, headers=record.headers)

    async def say(self, route: Route) -> None:
        """Tell all workers a route; returns when the log has it."""
        record = encode_route(SaidRoute(route, self._who, self._why))
        await self._writing().send(self._controls, key=record.key, value=record.value, headers=record.headers)

    def _writing(self) -> Outbox:
        if self._outbox is None:
            raise ValueError("this book was opened to read")
        return self._outbox
