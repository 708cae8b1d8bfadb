"""Whether a cluster is there: it answers a metadata request and names at least one broker.

An open port proves less: a starting broker listens 0.4 to 1.1 s before it serves, and answers with no broker until it
has registered.
"""

import asyncio

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

POLL_SECONDS = 0.05


async def cluster_answers(bootstrap_servers: str, timeout_seconds: float) -> bool:
    """Return whether a broker answers in time; asks again until one does."""
    try:
        async with asyncio.timeout(timeout_seconds):
            await _answer(bootstrap_servers)
    except TimeoutError:
        return False
    return True


async def _answer(bootstrap_servers: str) -> None:
    while await _brokers(bootstrap_servers) == 0:  # noqa: ASYNC110 - what we wait for is in another process
        await asyncio.sleep(POLL_SECONDS)


async def _brokers(bootstrap_servers: str) -> int:
    """Return how many brokers the cluster names; none while it cannot be asked."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap_servers)
    try:
        await client.bootstrap()
        return len(client.cluster.brokers())
    except (KafkaError, OSError):
        return 0
    finally:
        await client.close()
