"""A client that is given up while it connects leaves no connection behind: not to a server that stopped answering half way."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiokafka import AIOKafkaClient

from failsoft.kafka import private
from failsoft.kafka.clients import connected_consumer
from failsoft.kafka.connection import Connection
from failsoft.kafka.outbox import Outbox
from failsoft.kafka.probe import cluster_answers, cluster_is_whole
from failsoft.policy.errors import EnvironmentFailure

API_VERSIONS, METADATA = 18, 3


@dataclass
class HalfBroker:
    """Says which versions it understands, and answers nothing else."""

    port: int = 0
    silent: asyncio.Event = field(default_factory=asyncio.Event)  # set while somebody waits for what never comes
    open: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            while size := await reader.read(4):
                request = await reader.readexactly(struct.unpack(">i", size)[0])
                key, _, correlation = struct.unpack(">hhi", request[:8])
                if key == API_VERSIONS:
                    answer = struct.pack(">ihi", correlation, 0, 2)
                    answer += struct.pack(">hhh", API_VERSIONS, 0, 0) + struct.pack(">hhh", METADATA, 0, 1)
                    writer.write(struct.pack(">i", len(answer)) + answer)
                else:
                    self.silent.set()
        finally:
            self.open -= 1
            writer.close()

    async def is_left(self) -> bool:
        """Whether nobody is connected any more, some round trips later at most."""
        async with asyncio.timeout(5):
            while self.open:
                await asyncio.sleep(0.01)
        return True


@asynccontextmanager
async def half_broker() -> AsyncIterator[HalfBroker]:
    broker = HalfBroker()
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    broker.port = server.sockets[0].getsockname()[1]
    async with server:
        yield broker


async def test_a_probe_whose_time_is_over_leaves_no_connection():
    async with half_broker() as broker:
        connection = Connection(f"127.0.0.1:{broker.port}")
        assert not await cluster_answers(connection, timeout_seconds=0.3)
        assert not await cluster_is_whole(connection, [], timeout_seconds=0.3)
        assert broker.silent.is_set()
        assert await broker.is_left()


async def test_a_consumer_that_is_cancelled_while_it_connects_leaves_no_connection():
    async with half_broker() as broker:
        connecting = asyncio.create_task(connected_consumer(Connection(f"127.0.0.1:{broker.port}")))
        await broker.silent.wait()
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        assert await broker.is_left()


async def test_an_outbox_that_does_not_get_through_leaves_no_connection():
    async with half_broker() as broker:
        outbox = Outbox(Connection(f"127.0.0.1:{broker.port}"), attempt_seconds=0.3)
        with pytest.raises(EnvironmentFailure):
            await outbox.start()
        await outbox.close()
        assert broker.silent.is_set()
        assert await broker.is_left()


async def test_a_connection_that_comes_about_after_its_client_was_closed_is_closed_too(kafka_bootstrap):
    client = AIOKafkaClient(bootstrap_servers=kafka_bootstrap)
    private.tidy(client)
    await client.bootstrap()
    node = client.get_random_node()
    connecting = asyncio.create_task(client.ready(node))
    await asyncio.sleep(0)  # it is on its way now
    await client.close()
    assert await connecting is False
