"""Every touch of aiokafka's private parts, in one place, with a contract test that fails on upgrade.

aiokafka 0.14 lacks five things that correctness here rests on (research/kafka.md F1 to F4, measured on Kafka 4.4):

* ``commit()`` stamps offsets with whatever generation the member has at that moment, even none at all, and waits behind
  JoinGroup on the coordination connection. ``fenced_commit`` sends the generation and member id that the work belongs to, on
  the member's default connection.
* a heartbeat that is answered with an error ends heartbeats for good; only ``request_rejoin`` brings them back.
* ``committed()`` asks for one partition a request, and not for stable offsets (:mod:`failsoft.kafka.committed`).
* ``stop()`` may wait for ever when the broker is gone; ``abandon_*`` give everything up in bounded time.
* a client that is given up while it connects forgets that connection, and leaves it open; one that is ``tidy`` does not.
"""

# ruff: noqa: SLF001 - private members are what this module is for

import asyncio
import inspect
import traceback
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from aiokafka import AIOKafkaClient, AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    KafkaConnectionError,
    NodeNotReadyError,
    NotCoordinatorForGroupError,
    RequestTimedOutError,
    for_code,
)
from aiokafka.protocol.commit import OffsetCommitRequest

C = TypeVar("C", AIOKafkaClient, AIOKafkaConsumer, AIOKafkaProducer, AIOKafkaAdminClient)

CANCEL_ROUNDS = 10
ROUND_SECONDS = 0.1
"""A task of aiokafka that is cancelled first waits for its children, so it is cancelled again: at most a second in all."""


@dataclass(frozen=True, slots=True)
class Fence:
    """What the broker checks a commit against: the member's name and the generation of the group."""

    generation: int
    member_id: str

    def follows(self, earlier: "Fence") -> bool:
        """Whether no generation lies between the two, so that nobody else can have owned what is in both."""
        return self.member_id == earlier.member_id and self.generation == earlier.generation + 1


def fence_of(consumer: AIOKafkaConsumer) -> Fence:
    """Return the membership that the consumer has now. Inside the assignment callback it is that of the assignment."""
    coordinator = consumer._coordinator
    return Fence(coordinator.generation, coordinator.member_id)


def request_rejoin(consumer: AIOKafkaConsumer) -> None:
    """Make the member join again: the only way out once its heartbeat task has ended on an error."""
    consumer._coordinator.request_rejoin()


async def fenced_commit(
    consumer: AIOKafkaConsumer, fence: Fence, offsets: Mapping[TopicPartition, tuple[int, str]]
) -> dict[TopicPartition, type[Exception] | None]:
    """Commit offsets, each with its metadata, as the given member of the given generation.

    Returns, per partition, the broker's objection; None for yes.
    """
    coordinator = consumer._coordinator
    node = coordinator.coordinator_id
    if node is None:
        raise GroupCoordinatorNotAvailableError
    by_topic = defaultdict(list)
    for partition, (offset, metadata) in offsets.items():
        by_topic[partition.topic].append((partition.partition, offset, metadata))
    retention = OffsetCommitRequest.DEFAULT_RETENTION_TIME
    request = OffsetCommitRequest(
        coordinator.group_id, fence.generation, fence.member_id, retention, list(by_topic.items())
    )
    response = await consumer._client.send(node, request)
    codes = {TopicPartition(topic, number): code for topic, parts in response.topics for number, code in parts}
    answers = {partition: for_code(code) if code else None for partition, code in codes.items()}
    if NotCoordinatorForGroupError in answers.values():
        coordinator.coordinator_dead()  # it moved; the coordination task looks it up again
    return answers


async def fetch_committed(
    consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, tuple[int, str]]:
    """Return the committed offset, and the metadata beside it, of those partitions that have one, as far as replicas share it."""
    committed = await consumer._coordinator.fetch_committed_offsets(list(partitions))
    return {partition: (found.offset, found.metadata) for partition, found in committed.items()}


def group_of(consumer: AIOKafkaConsumer) -> str:
    """Return the group that the consumer is a member of."""
    return str(consumer._coordinator.group_id)


async def ask_coordinator(consumer: AIOKafkaConsumer, request: Any) -> Any:
    """Send the coordinator of the consumer's group a request that aiokafka has no method for.

    On the member's default connection, which no JoinGroup can block.
    """
    await consumer._coordinator.ensure_coordinator_known()
    node = consumer._coordinator.coordinator_id
    if node is None:  # it is closing
        raise GroupCoordinatorNotAvailableError
    try:
        return await consumer._client.send(node, request)
    except (KafkaConnectionError, NodeNotReadyError, RequestTimedOutError):
        coordinator_moved(consumer)
        raise


def coordinator_moved(consumer: AIOKafkaConsumer) -> None:
    """Have the coordination task look up who coordinates the group now."""
    consumer._coordinator.coordinator_dead()


async def ask(admin: AIOKafkaAdminClient, node: int, request: Any) -> Any:
    """Send one node a request that aiokafka has no method for."""
    return await admin._client.send(node, request)


async def ask_any(consumer: AIOKafkaConsumer, request: Any) -> Any:
    """Send a request that aiokafka has no method for to one broker of the cluster, whichever."""
    node = consumer._client.get_random_node()
    if node is None:
        raise NodeNotReadyError
    return await consumer._client.send(node, request)


def position(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int | None:
    """Return the offset that the consumer reads next, past gaps and markers; None while it looks for a valid one."""
    state = consumer._subscription.subscription.assignment.state_value(partition)
    return state.position if state is not None and state.has_valid_position else None


async def know(consumer: AIOKafkaConsumer, topics: Iterable[str]) -> None:
    """Have the client look up who leads these topics' partitions.

    A new one knows none. Asked for offsets it only then begins to look, and asks again after ``retry_backoff_ms``: of the .6 s in
    which a view of 10,000 records was complete, .53 s were that wait.
    """
    for topic in set(topics):
        await consumer._client.add_topic(topic)


def undecodable(consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
    """Return where the decoding of fetched records has broken off: partition -> offset of the record that did it."""
    broken = {}
    for partition, result in consumer._fetcher._records.items():
        records = getattr(result, "_partition_records", None)  # an error stands there too, which has none
        if records is None or records._records_iterator is None:
            continue
        if inspect.getgeneratorstate(records._records_iterator) == inspect.GEN_CLOSED:
            broken[partition] = records.next_fetch_offset
    return broken


def sender_is_alive(producer: AIOKafkaProducer) -> bool:
    """Whether the producer still has the task that sends; without it every send waits for ever."""
    task = producer._sender.sender_task
    return task is not None and not task.done()


def api_versions(connection: AIOKafkaConnection) -> dict[int, tuple[int, int]]:
    """Return what the broker on this connection understands: key of a request -> oldest and newest version."""
    return dict(connection._versions)


def got_through(connection: AIOKafkaConnection) -> bool:
    """Whether there was a connection at all, whatever became of it: then it ends, some time, and closing it can be waited for."""
    return connection._protocol is not None


def forget_membership(consumer: AIOKafkaConsumer) -> None:
    """Make ``stop()`` go without a word: the group learns of it by the session timeout, as of a crash."""
    consumer._coordinator.generation = OffsetCommitRequest.DEFAULT_GENERATION_ID


async def end(tasks: Iterable["asyncio.Task[object]"]) -> None:
    """Cancel until they are done, and take their errors, which nobody else will."""
    tasks = set(tasks)
    pending = {task for task in tasks if not task.done()}
    for _ in range(CANCEL_ROUNDS):
        if not pending:
            break
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=ROUND_SECONDS)
    for task in tasks - pending:
        if not task.cancelled():
            task.exception()


async def abandon_consumer(consumer: AIOKafkaConsumer) -> None:
    """Give the consumer up: no commit, no farewell, all tasks ended and connections closed in about two seconds."""
    consumer._closed = True
    coordinator, fetcher = consumer._coordinator, consumer._fetcher
    names = ("_coordination_task", "_heartbeat_task", "_commit_refresh_task", "_reset_committed_task")
    tasks = [getattr(coordinator, name, None) for name in names]
    if fetcher is not None:
        tasks += [fetcher._fetch_task, *fetcher._pending_tasks]
    await end(task for task in tasks if task is not None)
    await _disconnect(consumer._client)


async def abandon_producer(producer: AIOKafkaProducer) -> None:
    """Give the producer up: what it has not sent is forgotten, all tasks ended and connections closed in about two seconds."""
    producer._closed = True
    task = producer._sender.sender_task
    await end([] if task is None else [task])
    await _disconnect(producer.client)


class _Tidy(AIOKafkaClient):  # type: ignore[misc]  # aiokafka has no types
    """Closes also what aiokafka loses sight of while it connects."""

    _is_closed = False

    async def bootstrap(self) -> None:
        """Until the cluster's answer is there, aiokafka holds the connection in a local variable only."""
        try:
            await super().bootstrap()
        except asyncio.CancelledError as cancelled:
            for frame, _ in traceback.walk_tb(cancelled.__traceback__):
                connection = frame.f_locals.get("bootstrap_conn")
                if connection is not None:
                    connection.close()
            raise

    async def close(self) -> None:
        self._is_closed = True
        await super().close()

    async def _get_conn(self, node_id: Any, **options: Any) -> AIOKafkaConnection | None:
        """Who asked before the client was closed may get a connection after it: that one is closed at once."""
        connection = await super()._get_conn(node_id, **options)
        if self._is_closed and connection is not None:
            connection.close()
            return None
        return connection


def tidy(client: C) -> C:
    """Make a client that is not connected yet leave no connection behind when it is given up half way; returns it."""
    match client:
        case AIOKafkaClient():
            inner = client
        case AIOKafkaProducer():
            inner = client.client
        case _:
            inner = client._client
    inner.__class__ = _Tidy
    return client


async def _disconnect(client: AIOKafkaClient) -> None:
    """Close the connections, and release whoever waits for metadata that will not come."""
    try:
        async with asyncio.timeout(CANCEL_ROUNDS * ROUND_SECONDS):
            await client.close()
    except TimeoutError:
        pass  # a frozen peer does not take our farewell; the sockets are closed all the same
    if client._md_update_fut is not None and not client._md_update_fut.done():
        client._md_update_fut.set_result(False)
