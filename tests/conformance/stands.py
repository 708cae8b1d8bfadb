"""Two brokers behind one face: the one in memory, in virtual time, and a real Kafka. A test that both must pass sees neither.

Each test gets a stand of its own: one stage with two classes, topics that nobody else uses, and as many inboxes as it asks for.
Nothing here says what is right. A test that passes on one stand and fails on the other has found a difference between them.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

import pytest

from failsoft.catalogue import Catalogue, parse
from failsoft.kafka import Inbox, Outbox, ResultRecord, View, ViewRecord
from failsoft.kafka import private as privately
from failsoft.kafka.connection import Connection
from failsoft.kafka.results import ResultReader
from failsoft.policy.progress import Progress
from failsoft.policy.request import Partition
from failsoft.runtime.ports import InboxPort, OutboxPort, ViewPort
from failsoft.simulation.world import Answer
from failsoft.testing.memory import MemoryBroker, MemoryInbox, MemoryOutbox, MemoryResultReader, MemoryView
from failsoft.testing.virtual_clock import VirtualClock
from failsoft.testing.virtual_time import run_in_virtual_time
from tests.kafka.conftest import Listener, Stage, create_topics, until

BYTES_MAX = 1_048_588
"""``max.message.bytes`` of the topics, which is Kafka's own default."""
SESSION_SECONDS = 3.0
"""A crash costs a test so much; of virtual time the usual six."""

Fence: TypeAlias = tuple[str, int]
"""A member and a generation."""


class Stand(ABC):
    """One stage on one broker.

    Args:
        partitions: of each class.
    """

    def __init__(self, partitions: int) -> None:
        self.topics: Mapping[str, str] = {}
        self.results = ""
        self.everything = {Partition(name, number) for name in ("interactive", "batch") for number in range(partitions)}
        self.outbox: OutboxPort

    @abstractmethod
    def inbox(self, listener: Listener, *, topics: Mapping[str, str] | None = None) -> InboxPort:
        """One that has not been started."""

    @abstractmethod
    async def another_outbox(self) -> OutboxPort:
        """One that the test closes."""

    @abstractmethod
    async def close_outbox(self, outbox: OutboxPort) -> None:
        """Close it."""

    @abstractmethod
    async def committed(self) -> Mapping[Partition, int]:
        """What the group has."""

    @abstractmethod
    def fence_of(self, inbox: InboxPort) -> Fence:
        """As whom, and in which generation, an inbox owns what it owns."""

    @abstractmethod
    async def commits_as(self, inbox: InboxPort, fence: Fence, place: Partition, offset: int) -> bool:
        """Send a commit under this fence, past everything on our side that would hold it back; whether the group takes it."""

    @abstractmethod
    def reader(self, **options: Any) -> ResultReader | MemoryResultReader:
        """A reader of the results, which has not been started."""

    @abstractmethod
    def view(self, take: Callable[[Sequence[ViewRecord]], None], **options: Any) -> ViewPort:
        """A view of the topic of batch, which has not been started."""

    @abstractmethod
    def wall(self) -> float:
        """Epoch seconds."""

    async def join(self, listener: Listener) -> InboxPort:
        """Start an inbox for a listener."""
        inbox = self.inbox(listener)
        await inbox.start()
        return inbox

    async def owning(self, listener: Listener) -> InboxPort:
        """Start an inbox, and wait until it owns everything."""
        inbox = await self.join(listener)
        await until(lambda: listener.owned.keys() == self.everything)
        return inbox

    async def read(self, **options: Any) -> tuple[list[ResultRecord], int]:
        """The results that are visible now, and how many repeats of theirs were passed over."""
        reader = self.reader(until_end=True, **options)
        await reader.start()
        try:
            return [record async for record in reader.records()], reader.repeats
        finally:
            await reader.stop()


class MemoryStand(Stand):
    """On the broker in memory."""

    def __init__(self, partitions: int) -> None:
        super().__init__(partitions)
        self._clock = VirtualClock()
        self._broker = MemoryBroker(_catalogue(partitions), self._clock)
        self._inboxes: list[MemoryInbox] = []
        self.topics = _catalogue(partitions).stage_topics("memory", "stage")
        self.results = "memory.results"
        self.outbox = MemoryOutbox(self._broker)

    def inbox(self, listener: Listener, *, topics: Mapping[str, str] | None = None) -> MemoryInbox:
        inbox = MemoryInbox(
            self._broker,
            pipeline="memory",
            stage="stage" if topics is None else "other",
            topics=topics or self.topics,
            listener=listener,
        )
        self._inboxes.append(inbox)
        return inbox

    async def another_outbox(self) -> MemoryOutbox:
        return MemoryOutbox(self._broker)

    async def close_outbox(self, outbox: OutboxPort) -> None:
        assert isinstance(outbox, MemoryOutbox)
        await outbox.close()

    async def committed(self) -> Mapping[Partition, int]:
        return dict(self._coordinator.group.committed)

    def fence_of(self, inbox: InboxPort) -> Fence:
        assert isinstance(inbox, MemoryInbox)
        fence = inbox._member._fence
        assert fence is not None
        return fence.member, fence.generation

    async def commits_as(self, inbox: InboxPort, fence: Fence, place: Partition, offset: int) -> bool:
        return self._coordinator.commit(*fence, {place: Progress(offset)}) is Answer.OK

    def reader(self, **options: Any) -> MemoryResultReader:
        return MemoryResultReader(self._broker, self.results, **options)

    def view(self, take: Callable[[Sequence[ViewRecord]], None], **options: Any) -> MemoryView:
        return MemoryView(self._broker, self.topics["batch"], take=take, **options)

    def wall(self) -> float:
        return self._clock.wall()

    async def close(self) -> None:
        for inbox in self._inboxes:
            await inbox.stop()

    @property
    def _coordinator(self) -> Any:
        return self._broker.group("failsoft.memory.stage", self.topics)


class KafkaStand(Stand):
    """On a real one."""

    def __init__(self, bootstrap: str, partitions: int) -> None:
        super().__init__(partitions)
        self._stage = Stage(Connection(bootstrap), partitions)
        self.topics = self._stage.topics
        self.results = f"{self._stage.pipeline}.results"

    async def open(self) -> None:
        await self._stage.create()
        await create_topics(self._stage.connection.bootstrap_servers, {self.results: 1})
        self.outbox = await self.another_outbox()

    def inbox(self, listener: Listener, *, topics: Mapping[str, str] | None = None) -> InboxPort:
        inbox = Inbox(
            self._stage.connection,
            pipeline=self._stage.pipeline,
            stage="stage" if topics is None else "other",
            topics=topics or self.topics,
            listener=listener,
            session_timeout_seconds=SESSION_SECONDS,
            heartbeat_seconds=SESSION_SECONDS / 10,
        )
        self._stage.inboxes.append(inbox)
        return inbox

    async def another_outbox(self) -> Outbox:
        outbox = Outbox(self._stage.connection)
        await outbox.start()
        return outbox

    async def close_outbox(self, outbox: OutboxPort) -> None:
        assert isinstance(outbox, Outbox)
        await outbox.close()

    async def committed(self) -> Mapping[Partition, int]:
        return await self._stage.committed()

    def fence_of(self, inbox: InboxPort) -> Fence:
        fence = privately.fence_of(_consumer(inbox))
        return fence.member_id, fence.generation

    async def commits_as(self, inbox: InboxPort, fence: Fence, place: Partition, offset: int) -> bool:
        where = self._stage.place(place)
        member, generation = fence
        answers = await privately.fenced_commit(
            _consumer(inbox), privately.Fence(generation=generation, member_id=member), {where: (offset, "")}
        )
        return answers[where] is None

    def reader(self, **options: Any) -> ResultReader:
        return ResultReader(self._stage.connection, self.results, **options)

    def view(self, take: Callable[[Sequence[ViewRecord]], None], **options: Any) -> View:
        return View(self._stage.connection, self.topics["batch"], take=take, **options)

    def wall(self) -> float:
        return time.time()

    async def close(self) -> None:
        await asyncio.gather(*(inbox.stop() for inbox in self._stage.inboxes), self.close_outbox(self.outbox))


Test: TypeAlias = Callable[[Stand], Awaitable[None]]


def on_both(*, partitions: int = 1) -> Callable[[Test], Callable[..., None]]:
    """Run a test on either broker, each time on a stand of its own."""

    def decorate(test: Test) -> Callable[..., None]:
        @pytest.mark.parametrize("broker", ["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
        def run(broker: str, request: pytest.FixtureRequest) -> None:
            if broker == "memory":
                run_in_virtual_time(_in_memory(test, partitions))
            else:
                asyncio.run(_on_kafka(test, partitions, request.getfixturevalue("kafka_bootstrap")))

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return decorate


async def _in_memory(test: Test, partitions: int) -> None:
    stand = MemoryStand(partitions)
    try:
        await test(stand)
    finally:
        await stand.close()


async def _on_kafka(test: Test, partitions: int, bootstrap: str) -> None:
    stand = KafkaStand(bootstrap, partitions)
    await stand.open()
    try:
        await test(stand)
    finally:
        await stand.close()


def _consumer(inbox: InboxPort) -> Any:
    return inbox._membership._consumer  # type: ignore[attr-defined]  # of the real one


def _catalogue(partitions: int) -> Catalogue:
    return parse(f"""
version: 1
defaults:
  partitions: {partitions}
  replication: 1
  config: {{message.timestamp.type: LogAppendTime, max.message.bytes: {BYTES_MAX}}}
classes:
  interactive: {{weight: 8, deadline: 60s, deadline_max: 600s}}
  batch:       {{weight: 1, deadline: 1h, deadline_max: 2h}}
pipelines: {{memory: [stage]}}
topics:
  requests:     {{config: {{retention.ms: 7d}}}}
  results:      {{partitions: 1, config: {{retention.ms: 7d}}}}
  dead-letters: {{partitions: 1, config: {{retention.ms: 14d}}}}
""")
