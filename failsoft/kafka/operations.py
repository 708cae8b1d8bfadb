"""What an operator does to a cluster, by intent or by mistake, and what a checker asks it: trials do it on purpose.

A topic is deleted and made anew; the offsets of a group are forgotten, as Kafka forgets those of a group that was away for
longer than ``offsets.retention.minutes``; somebody looks where a group is, how long the logs are and who leads a partition.

Kafka deletes offsets by partition with OffsetDelete (KIP-496), and only while the group has no members that read the topic.
aiokafka does not know that request, so it is written down here; its names are those of Kafka's own schema.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka import TopicPartition, errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int16, Int32, Schema, String

from failsoft.kafka import private
from failsoft.kafka.clients import close_consumer, connected_consumer
from failsoft.kafka.connection import Connection
from failsoft.kafka.logs import hold_back_aiokafka
from failsoft.policy.errors import EnvironmentFailure

ANSWER_SECONDS = 10.0
LOOK_SECONDS = 0.2

Place = tuple[str, int]
"""Topic and partition number."""


class _OffsetDeleteResponse(Response):  # type: ignore[misc]
    API_KEY = 47
    API_VERSION = 0
    SCHEMA = Schema(
        ("error_code", Int16),
        ("throttle_time_ms", Int32),
        (
            "topics",
            Array(("name", String("utf-8")), ("partitions", Array(("partition_index", Int32), ("error_code", Int16)))),
        ),
    )


class _OffsetDeleteRequestStruct(RequestStruct):  # type: ignore[misc]
    API_KEY = 47
    API_VERSION = 0
    RESPONSE_TYPE = _OffsetDeleteResponse
    SCHEMA = Schema(
        ("group_id", String("utf-8")),
        ("topics", Array(("name", String("utf-8")), ("partitions", Array(Int32)))),
    )


class _OffsetDeleteRequest(Request[_OffsetDeleteRequestStruct]):  # type: ignore[misc]
    API_KEY = 47

    def __init__(self, group: str, topics: list[tuple[str, list[int]]]) -> None:
        self._group, self._topics = group, topics

    def build(self, request_struct_class: type[_OffsetDeleteRequestStruct]) -> _OffsetDeleteRequestStruct:
        return request_struct_class(self._group, self._topics)


@dataclass(frozen=True, slots=True)
class Committed:
    """How far a group is in one partition, and what its member wrote beside it."""

    offset: int
    metadata: str


async def leaders(connection: Connection, topics: Collection[str]) -> dict[Place, int]:
    """Which node leads each partition; -1 while none does. A topic that does not exist is left out."""
    async with _admin(connection) as admin:
        described = await admin.describe_topics(sorted(topics))
        return {
            (topic["topic"], partition["partition"]): partition["leader"]
            for topic in described
            if not topic["error_code"]
            for partition in topic["partitions"]
        }


async def lagging(connection: Connection, topics: Collection[str]) -> set[Place]:
    """Which partitions have a replica that is not in sync, or no leader."""
    async with _admin(connection) as admin:
        described = await admin.describe_topics(sorted(topics))
        return {
            (topic["topic"], partition["partition"])
            for topic in described
            for partition in topic["partitions"]
            if partition["leader"] < 0 or len(partition["isr"]) < len(partition["replicas"])
        }


async def coordinator(connection: Connection, group: str) -> int:
    """Which node coordinates a group."""
    async with _admin(connection) as admin:
        found: int = await admin.find_coordinator(group)
        return found


async def committed(connection: Connection, group: str) -> dict[Place, Committed]:
    """All that a group has committed."""
    async with _admin(connection) as admin:
        found = await admin.list_consumer_group_offsets(group)
        return {(place.topic, place.partition): Committed(meta.offset, meta.metadata) for place, meta in found.items()}


async def log_bounds(connection: Connection, counts: Mapping[str, int]) -> dict[Place, tuple[int, int]]:
    """The first offset of each partition's log and the one after its last.

    Args:
        connection: where the cluster is.
        counts: topic -> how many partitions it has.
    """
    places = [TopicPartition(topic, number) for topic, count in counts.items() for number in range(count)]
    consumer = await connected_consumer(connection)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await private.know(consumer, counts)
            starts, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
    except (errors.KafkaError, TimeoutError) as error:
        raise EnvironmentFailure(f"the cluster does not tell the bounds of its logs: {error!r}") from error
    finally:
        await close_consumer(consumer)
    return {(place.topic, place.partition): (starts[place], ends[place]) for place in places}


async def delete_topic(connection: Connection, topic: str) -> None:
    """Delete a topic with all its records, and return when no broker that answers knows it any more."""
    async with _admin(connection) as admin:
        answer = await admin.delete_topics([topic])
        for _, code in answer.topic_error_codes:
            if code not in {0, errors.UnknownTopicOrPartitionError.errno}:
                raise errors.for_code(code)(f"{topic} was not deleted")
        while topic in await admin.list_topics():  # noqa: ASYNC110 - what we wait for is in another process
            await asyncio.sleep(LOOK_SECONDS)


async def forget_offsets(connection: Connection, group: str, places: Collection[Place]) -> None:
    """Delete what a group has committed for these partitions.

    Raises:
        EnvironmentFailure: the group has members that read them.
    """
    topics: dict[str, list[int]] = defaultdict(list)
    for topic, number in places:
        topics[topic].append(number)
    async with _admin(connection) as admin:
        node = await admin.find_coordinator(group)
        response = await private.ask(admin, node, _OffsetDeleteRequest(group, list(topics.items())))
        codes = [response.error_code, *(code for _, parts in response.topics for _, code in parts)]
    if refused := {code for code in codes if code}:
        names = ", ".join(f"error {code}" for code in sorted(refused))
        raise EnvironmentFailure(f"the offsets of {group} were not deleted ({names}): members of it read these topics")


@asynccontextmanager
async def _admin(connection: Connection) -> AsyncIterator[AIOKafkaAdminClient]:
    hold_back_aiokafka()
    admin = private.tidy(
        AIOKafkaAdminClient(**connection.client_options(), request_timeout_ms=int(ANSWER_SECONDS * 1000))
    )
    try:
        async with asyncio.timeout(2 * ANSWER_SECONDS):
            await admin.start()
            yield admin
    except (errors.KafkaError, TimeoutError, OSError) as error:
        raise EnvironmentFailure(f"the cluster at {connection.bootstrap_servers} did not do it: {error!r}") from error
    finally:
        await admin.close()
