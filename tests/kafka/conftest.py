"""What the tests of the Kafka parts share: topics of their own, and a listener that keeps what it hears."""

import asyncio
import itertools
import shutil
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from failsoft.kafka.clients import close_consumer, connected_consumer
from failsoft.kafka.connection import Connection
from failsoft.kafka.inbox import Inbox
from failsoft.kafka.listener import Fetched
from failsoft.kafka.outbox import Outbox
from failsoft.policy.progress import Mark, Marks, Progress
from failsoft.policy.request import ClassName, Partition
from tests.kafka.authority import Authority

APPEND_TIME = {"message.timestamp.type": "LogAppendTime"}
PATIENCE_SECONDS = 30.0


async def create_topics(bootstrap: str, partitions: Mapping[str, int]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(n, p, 1, topic_configs=APPEND_TIME) for n, p in partitions.items()])
    finally:
        await admin.close()


def marks(offsets: Mapping[Partition, tuple[int, int]]) -> dict[Partition, Mark]:
    """Marks that say nothing but an assignment and an offset."""
    return {place: Mark(assignment, Progress(offset)) for place, (assignment, offset) in offsets.items()}


async def until(condition: Callable[[], object], timeout_seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for something that a broker brings about; fails with the condition's name when it does not come."""
    async with asyncio.timeout(timeout_seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def log_of(connection: Connection, topic: str) -> dict[tuple[int, int], bytes]:
    """What a plain reader finds in a topic of two partitions: (partition, offset) -> value."""
    consumer = await connected_consumer(connection)
    try:
        places = [TopicPartition(topic, number) for number in range(2)]
        ends = await consumer.end_offsets(places)
        consumer.assign(places)
        for place in places:
            consumer.seek(place, 0)
        found: dict[tuple[int, int], bytes] = {}
        while len(found) < sum(ends.values()):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found |= {(record.partition, record.offset): record.value for record in records}
        return found
    finally:
        await close_consumer(consumer)


@dataclass
class Listener:
    """Takes what comes, up to the room that the test gives, and keeps it."""

    rooms: dict[ClassName, int] = field(default_factory=dict)
    taken: list[Fetched] = field(default_factory=list)
    backlogs: dict[ClassName, tuple[int, float]] = field(default_factory=dict)
    owned: dict[Partition, int] = field(default_factory=dict)
    positions: dict[Partition, int] = field(default_factory=dict)
    share: float = 0.0
    calls: list[str] = field(default_factory=list)
    done: dict[Partition, tuple[int, int]] = field(default_factory=dict)

    def room(self, request_class: ClassName) -> int:
        return self.rooms.get(request_class, 1_000)

    def records(self, batch: Sequence[Fetched]) -> None:
        for fetched in batch:
            assert self.owned[fetched.record.partition] == fetched.assignment
        self.taken += batch
        if batch[0].record.request_class in self.rooms:
            self.rooms[batch[0].record.request_class] -= len(batch)

    def backlog(self, request_class: ClassName, records: int, oldest_age_seconds: float) -> None:
        self.backlogs[request_class] = (records, oldest_age_seconds)

    def assigned(self, positions: Mapping[Partition, Progress], assignment: int, share: float) -> None:
        self.calls.append("assigned")
        self.positions |= {partition: progress.offset for partition, progress in positions.items()}
        self.owned |= dict.fromkeys(positions, assignment)
        self.share = share

    def revoked(self, partitions: frozenset[Partition], share: float) -> None:
        self.calls.append("revoked")
        for partition in partitions:
            del self.owned[partition]
        self.share = share

    def marks_to_commit(self) -> Marks:
        return marks(self.done)

    def offsets(self, partition: Partition) -> list[int]:
        return [fetched.record.offset for fetched in self.taken if fetched.record.partition == partition]


@pytest.fixture
def connection(kafka_bootstrap: str) -> Connection:
    return Connection(kafka_bootstrap)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    if shutil.which("openssl") is None:
        pytest.skip("certificates for the test are made by the openssl command, which is not here")
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def outbox(connection: Connection) -> AsyncIterator[Outbox]:
    outbox = Outbox(connection)
    await outbox.start()
    yield outbox
    await outbox.close()


class Stage:
    """Topics of one stage that no other test uses, and as many inboxes on them as the test asks for."""

    def __init__(self, connection: Connection, partitions: int) -> None:
        self.connection = connection
        self.partitions = partitions
        self.pipeline = f"test-{uuid.uuid4().hex[:8]}"
        self.topics = {name: f"{self.pipeline}.stage.{name}" for name in ("interactive", "batch")}
        self.everything = {Partition(*pair) for pair in itertools.product(self.topics, range(partitions))}
        self.inboxes: list[Inbox] = []

    async def create(self) -> None:
        await create_topics(self.connection.bootstrap_servers, dict.fromkeys(self.topics.values(), self.partitions))

    async def committed(self) -> dict[Partition, int]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.connection.bootstrap_servers)
        await admin.start()
        try:
            found = await admin.list_consumer_group_offsets(f"failsoft.{self.pipeline}.stage")
        finally:
            await admin.close()
        names = {topic: name for name, topic in self.topics.items()}
        return {Partition(names[tp.topic], tp.partition): at.offset for tp, at in found.items() if at.offset >= 0}

    async def until_empty(self) -> None:
        """Wait until the broker has taken all members for dead."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.connection.bootstrap_servers)
        await admin.start()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    [answer] = await admin.describe_consumer_groups([f"failsoft.{self.pipeline}.stage"])
                    if answer.to_object()["groups"][0]["state"] == "Empty":
                        return
                    await asyncio.sleep(0.1)
        finally:
            await admin.close()

    def place(self, partition: Partition) -> TopicPartition:
        return TopicPartition(self.topics[partition.request_class], partition.number)

    async def join(self, listener: Listener, **options: Any) -> Inbox:
        settings: dict[str, Any] = {"session_timeout_seconds": 3.0, "heartbeat_seconds": 0.3} | options
        inbox = Inbox(
            self.connection, pipeline=self.pipeline, stage="stage", topics=self.topics, listener=listener, **settings
        )
        self.inboxes.append(inbox)
        await inbox.start()
        return inbox


@pytest.fixture
async def new_stage(connection: Connection) -> AsyncIterator[Callable[[int], Awaitable[Stage]]]:
    stages: list[Stage] = []

    async def new(partitions: int) -> Stage:
        stage = Stage(connection, partitions)
        await stage.create()
        stages.append(stage)
        return stage

    yield new
    await asyncio.gather(*(inbox.stop() for stage in stages for inbox in stage.inboxes))
