"""Whether a cluster is there, and whether it is whole.

It is there when it answers a metadata request and names at least one broker.

An open port proves less: a starting broker listens 0.4 to 1.1 s before it serves, and answers with no broker until it
has registered. It is whole, as far as some topics go, when each of their partitions has a leader and all its replicas in
sync: then nothing of what its clients cannot do is its fault.
"""

import asyncio
from collections.abc import Collection
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from failsoft.kafka import private
from failsoft.kafka.connection import Connection

POLL_SECONDS = 0.05
COMMITS = "__consumer_offsets"
"""Where a group lives: without it members can neither join nor commit. Who may not look at it is not told of it."""


async def cluster_answers(connection: Connection, timeout_seconds: float) -> bool:
    """Return whether a broker answers in time; asks again until one does."""
    try:
        async with asyncio.timeout(timeout_seconds):
            await _answer(connection)
    except TimeoutError:
        return False
    return True


async def _answer(connection: Connection) -> None:
    while await _brokers(connection) == 0:  # noqa: ASYNC110 - what we wait for is in another process
        await asyncio.sleep(POLL_SECONDS)


async def _brokers(connection: Connection) -> int:
    """Return how many brokers the cluster names; none while it cannot be asked."""
    client = private.tidy(AIOKafkaClient(**connection.client_options()))
    try:
        await client.bootstrap()
        return len(client.cluster.brokers())
    except (KafkaError, OSError):
        return 0
    finally:
        await client.close()


async def cluster_is_whole(connection: Connection, topics: Collection[str], timeout_seconds: float) -> bool:
    """Return whether a broker answers in time, and every partition of these topics and of all commits is as it should be."""
    admin = private.tidy(AIOKafkaAdminClient(**connection.client_options()))
    try:
        async with asyncio.timeout(timeout_seconds):
            await admin.start()
            described = await admin.describe_topics(sorted({*topics, COMMITS}))
    except (KafkaError, OSError, TimeoutError):
        return False
    finally:
        await admin.close()
    found = {topic["topic"]: topic for topic in described if not topic["error_code"]}
    return found.keys() >= set(topics) and all(
        _is_sound(part) for topic in found.values() for part in topic["partitions"]
    )


def _is_sound(partition: dict[str, Any]) -> bool:
    is_in_sync = set(partition["isr"]) >= set(partition["replicas"])
    return not partition["error_code"] and partition["leader"] >= 0 and is_in_sync
