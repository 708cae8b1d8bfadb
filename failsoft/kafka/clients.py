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
from aiokafka.errors import KafkaError

from failsoft.kafka import private
from failsoft.kafka.connection import Connection
from failsoft.kafka.logs import hold_back_aiokafka
from failsoft.policy.errors import ConfigurationError, EnvironmentFailure

CLOSE_SECONDS = 5.0
"""Enough for a farewell to a broker that answers; one that does not is not waited for."""


async def connected_consumer(connection: Connection, **options: Any) -> AIOKafkaConsumer:
    """Return a started consumer without topics; raises EnvironmentFailure when no broker answers."""
    hold_back_aiokafka()
    settings = connection.client_options() | {"enable_auto_commit": False, "auto_offset_reset": "earliest"} | options
    consumer = AIOKafkaConsumer(**settings)
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
    """Return how many partitions each topic has; raises ConfigurationError for one that does not exist."""
    hold_back_aiokafka()
    wanted = sorted(set(topics))
    admin = AIOKafkaAdminClient(**connection.client_options())
    try:
        await admin.start()
        described = await admin.describe_topics(wanted)
    except KafkaError as error:
        raise unreachable(connection, error) from error
    finally:
        await admin.close()
    counts = {topic["topic"]: len(topic["partitions"]) for topic in described if not topic["error_code"]}
    if missing := [topic for topic in wanted if not counts.get(topic)]:
        raise ConfigurationError(f"topics that do not exist: {', '.join(missing)}; run `failsoft topics apply`")
    return counts


def unreachable(connection: Connection, error: Exception) -> EnvironmentFailure:
    """Say which broker does not answer and what to look at."""
    return EnvironmentFailure(
        f"no broker answers at {connection.bootstrap_servers} ({error}): is it running, and is the address right?"
    )
