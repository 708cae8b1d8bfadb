"""Whether a cluster is there: it answers a metadata request and names at least one broker.

An open port proves less: a starting broker listens 0.4 to 1.1 s before it serves, and answers with no broker until it
has registered.
"""

import asyncio

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from failsoft.kafka.connection import Connection

POLL_SECONDS = 0.05


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
    client = AIOKafkaClient(**connection.client_options())
    try:
        await client.bootstrap()
        return len(client.cluster.brokers())
    except (KafkaError, OSError):
        return 0
    finally:
        await client.close()
