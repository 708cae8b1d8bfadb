"""How clients of aiokafka are made and closed: with the settings that hold for all of them, and in bounded time.

Never auto-commit: it commits the client's own, stale position (research/kafka.md §2). Never the default ``latest``: an
expired offset would silently skip requests (reliability.md A34). Never (de)serialisers: one that raises blocks its
partition for ever (A13).
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
)

from failsoft.kafka import private
from failsoft.kafka.connection import Connection
from failsoft.kafka.logs import hold_back_aiokafka
from failsoft.policy.errors import ConfigurationError, EnvironmentFailure

CLOSE_SECONDS = 2.0
"""Enough for a farewell to a broker that answers. A worker has to end within five seconds of its drain budget, and
giving a client up takes another two where the broker is frozen."""
_DENIED = (TopicAuthorizationFailedError, GroupAuthorizationFailedError, ClusterAuthorizationFailedError)
MISSING_LOOKS, MISSING_LOOK_SECONDS = 8, 0.25
"""How often a topic that is not there is asked for again: brokers hear of a new one within milliseconds, loaded ones later."""


async def connected_consumer(connection: Connection, **options: Any) -> AIOKafkaConsumer:
    """Return a started consumer without topics; raises EnvironmentFailure when no broker answers."""
    hold_back_aiokafka()
    settings = connection.client_options() | {"enable_auto_commit": False, "auto_offset_reset": "earliest"} | options
    consumer = private.tidy(AIOKafkaConsumer(**settings))
    try:
        await consumer.start()
    except BaseException as error:
        await private.abandon_consumer(consumer)
        if isinstance(error, KafkaError):
            raise unreachable(connection, error) from error
        raise
    return consumer


async def close_consumer(consumer: AIOKafkaConsumer, *, timeout_seconds: float = CLOSE_SECONDS) -> None:
    """Stop a consumer, politely as long as there is time."""
    # In a task of its own: stop() passes on what its background tasks ended on, even that they were cancelled.
    stopping = asyncio.create_task(consumer.stop())
    try:
        await asyncio.wait({stopping}, timeout=timeout_seconds)
    finally:
        await private.end([stopping])
        await private.abandon_consumer(consumer)


async def partition_counts(connection: Connection, topics: Iterable[str]) -> dict[str, int]:
    """Return how many partitions each topic has; raises ConfigurationError for one that does not exist.

    A topic that was created a moment ago may not be known yet to the broker that answers, so a missing one is asked for again.
    """
    hold_back_aiokafka()
    wanted = sorted(set(topics))
    admin = private.tidy(AIOKafkaAdminClient(**connection.client_options()))
    try:
        await admin.start()
        counts = await _counts(admin, wanted)
        for _ in range(MISSING_LOOKS):
            if len(counts) == len(wanted):
                break
            await asyncio.sleep(MISSING_LOOK_SECONDS)
            counts = await _counts(admin, wanted)
    except KafkaError as error:
        raise unreachable(connection, error) from error
    finally:
        await admin.close()
    if missing := [topic for topic in wanted if topic not in counts]:
        raise ConfigurationError(f"topics that do not exist: {', '.join(missing)}; run `failsoft topics apply`")
    return counts


async def equal_partitions(connection: Connection, topics: Iterable[str]) -> int:
    """Return how many partitions each of the topics has that go together.

    Raises:
        ConfigurationError: one of them is missing, or they have unequal counts.
    """
    counts = await partition_counts(connection, topics)
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{topic} has {count}" for topic, count in sorted(counts.items()))
        raise ConfigurationError(
            f"topics of one stage need equal partition counts: {listed}; run `failsoft topics apply`"
        )
    return max(counts.values())


async def _counts(admin: AIOKafkaAdminClient, topics: list[str]) -> dict[str, int]:
    described = await admin.describe_topics(topics)
    denied = [topic["topic"] for topic in described if topic["error_code"] == TopicAuthorizationFailedError.errno]
    if denied:
        raise TopicAuthorizationFailedError(", ".join(denied))
    return {
        topic["topic"]: len(topic["partitions"])
        for topic in described
        if not topic["error_code"] and topic["partitions"]
    }


def unreachable(connection: Connection, error: Exception) -> EnvironmentFailure:
    """Say which broker does not answer, or does not allow what we want, and what to look at."""
    if isinstance(error, _DENIED):
        return EnvironmentFailure(
            f"Kafka at {connection.bootstrap_servers} does not allow it ({error}): "
            "ask for the rights of your role, which `failsoft topics acls` prints"
        )
    return EnvironmentFailure(
        f"no broker answers at {connection.bootstrap_servers} ({error}): is it running, and is the address right?"
    )
