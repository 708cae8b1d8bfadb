"""What the acceptance tests share: a pipeline's topics on a real broker, a sender that remembers, a reader of everything."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

from failsoft.catalogue import Catalogue, dead_letters_topic, parse, requests_topic, results_topic
from failsoft.kafka import Connection, Inbox, Outbox, admin
from failsoft.kafka.results import ResultReader, ResultRecord
from failsoft.pipeline import Pipeline
from failsoft.runtime.clock import Clock
from failsoft.runtime.metrics import Metrics
from failsoft.runtime.runner import StageRunner
from failsoft.wire import Envelope, Headers, Identity, RequestLine, Result
from failsoft.wire.body import encode_request
from failsoft.wire.envelope import encode_request_headers
from failsoft.wire.identity import result_id
from failsoft.wire.result import decode_result

CATALOGUE = """
version: 1
defaults: {{partitions: {partitions}, replication: 1, config: {{message.timestamp.type: LogAppendTime}}}}
classes:
  interactive: {{weight: 8, deadline: 5s,  deadline_max: 60s}}
  standard:    {{weight: 3, deadline: 60s, deadline_max: 15m}}
  batch:       {{weight: 1, deadline: 24h, deadline_max: 72h}}
pipelines: {{{name}: [work]}}
topics:
  requests:     {{config: {{retention.ms: 7d, max.message.bytes: 1.25MiB}}}}
  results:      {{config: {{retention.ms: 7d, max.message.bytes: 4MiB}}}}
  dead-letters: {{config: {{retention.ms: 14d, max.message.bytes: 4MiB}}}}
  outcomes:     {{partitions: 1, config: {{retention.ms: 1h}}}}
"""
BUDGETS = {"interactive": 5.0, "standard": 60.0, "batch": 86_400.0}
PATIENCE_SECONDS = 30.0


@dataclass
class Cluster:
    """The topics of one pipeline that no other test uses."""

    connection: Connection
    pipeline: str
    text: str
    catalogue: Catalogue
    outbox: Outbox
    sent: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    """result id -> (class, partition, offset) of every acknowledged request"""

    async def send(
        self,
        request_class: str,
        id_: str,
        body: dict[str, object] | None = None,
        *,
        budget_seconds: float | None = None,
    ) -> str:
        """Send a request as a sender of ours does; return its result's id."""
        identity = Identity("/test", id_)
        budget = BUDGETS[request_class] if budget_seconds is None else budget_seconds
        headers = encode_request_headers(Envelope(identity), budget_seconds=budget, sent_at=time.time())
        value = encode_request(RequestLine(id_, "/v1/chat/completions", body or {"prompt": id_}))
        return await self.send_raw(request_class, result_id(identity), value, headers)

    async def send_raw(self, request_class: str, id_: str, value: bytes, headers: Headers) -> str:
        """Send any bytes."""
        topic = requests_topic(self.pipeline, "work", request_class)
        place = await self.outbox.send(topic, key=id_.encode(), value=value, headers=headers)
        self.sent[id_] = (request_class, place.partition, place.offset)
        return id_

    async def results(self) -> tuple[dict[str, Result], int]:
        """Every visible result that is in the log now, by id, and the raw repeats."""
        records, repeats = await self.read(results_topic(self.pipeline))
        return {
            (record.key or b"").decode(): decode_result(record.headers, record.value) for record in records
        }, repeats

    async def dead_letters(self) -> list[ResultRecord]:
        """Every dead letter that is in the log now."""
        return (await self.read(dead_letters_topic(self.pipeline)))[0]

    async def read(self, topic: str) -> tuple[list[ResultRecord], int]:
        reader = ResultReader(self.connection, topic, start="beginning", until_end=True)
        await reader.start()
        try:
            return [record async for record in reader.records()], reader.repeats
        finally:
            await reader.stop()

    async def results_of(self, ids: list[str]) -> dict[str, Result]:
        """Wait until these are answered."""
        found: dict[str, Result] = {}
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                found, _ = await self.results()
                if all(id_ in found for id_ in ids):
                    return found
                await asyncio.sleep(0.1)

    @asynccontextmanager
    async def worker(self, pipeline: Pipeline) -> AsyncIterator[StageRunner]:
        """Run the only stage of a pipeline in this process."""
        clock = Clock()
        runner = StageRunner(
            pipeline.stages["work"], catalogue=self.catalogue, outbox=self.outbox, clock=clock, metrics=Metrics()
        )
        inbox = Inbox(
            self.connection,
            pipeline=self.pipeline,
            stage="work",
            topics=self.catalogue.stage_topics(self.pipeline, "work"),
            listener=runner,
            session_timeout_seconds=3.0,
            wall_clock=clock.wall,
        )
        await runner.start(inbox)
        try:
            yield runner
            await runner.drain(10.0)
        finally:
            await runner.close()


@asynccontextmanager
async def new_cluster(bootstrap: str, *topics: str, partitions: int = 6) -> AsyncIterator[Cluster]:
    """Topics of their own, these lines of a catalogue among them, and a sender."""
    name = f"test-{uuid4().hex[:8]}"
    text = CATALOGUE.format(name=name, partitions=partitions) + "".join(f"  {topic}\n" for topic in topics)
    catalogue, connection = parse(text), Connection(bootstrap)
    await admin.apply(connection, catalogue)
    outbox = Outbox(connection)
    await outbox.start()
    try:
        yield Cluster(connection, name, text, catalogue, outbox)
    finally:
        await outbox.close()


async def until(condition: Callable[[], object], timeout_seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for something that a broker brings about."""
    async with asyncio.timeout(timeout_seconds):
        while not condition():
            await asyncio.sleep(0.01)
