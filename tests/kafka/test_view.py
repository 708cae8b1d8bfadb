"""A view on a real broker: what the log does to it that the broker in memory cannot do (the rest is tests/conformance)."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic

from failsoft.kafka import operations
from failsoft.kafka.connection import Connection
from failsoft.kafka.outbox import Outbox
from failsoft.kafka.view import View, ViewRecord
from failsoft.testing import EmbeddedKafka

from .conftest import create_topics, until
from .test_inbox import send_with_a_header_name_that_is_not_utf8

pytestmark = pytest.mark.kafka

NO_BROKER = "127.0.0.1:1"
COMPACTED = {
    "message.timestamp.type": "LogAppendTime",
    "cleanup.policy": "compact",
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "0",
    "min.compaction.lag.ms": "0",
}


@pytest.fixture
async def topic(kafka_bootstrap: str) -> str:
    name = f"view-{uuid.uuid4().hex[:8]}"
    await create_topics(kafka_bootstrap, {name: 1})
    return name


@asynccontextmanager
async def viewing(connection: Connection, topic: str, heard: list[ViewRecord]) -> AsyncIterator[View]:
    view = View(connection, topic, take=heard.extend)
    await view.start()
    try:
        yield view
    finally:
        await view.stop()


def values(heard: list[ViewRecord]) -> list[bytes | None]:
    return [record.value for record in heard]


async def compacted(connection: Connection, topic: str, is_done: Callable[[list[ViewRecord]], bool]) -> None:
    """Wait for the cleaner, which runs every few seconds."""
    async with asyncio.timeout(60.0):
        while True:
            heard: list[ViewRecord] = []
            async with viewing(connection, topic, heard) as view:
                assert await view.caught_up(10.0)
            if is_done(heard):
                return
            await asyncio.sleep(0.5)


async def test_a_view_of_a_log_with_gaps_and_tombstones_only_is_complete_all_the_same():
    with EmbeddedKafka(properties={"log.cleaner.backoff.ms": "200"}) as kafka:
        connection, topic = Connection(kafka.bootstrap_servers), "compacted"
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
        await admin.start()
        await admin.create_topics([NewTopic(topic, 1, 1, topic_configs=COMPACTED)])
        await admin.close()
        outbox = Outbox(connection)
        await outbox.start()
        for n in range(50):
            await outbox.send(topic, key=b"%d" % (n % 5), value=b"%d" % n)
        for n in range(5):
            await outbox.send(topic, key=b"%d" % n, value=None)
        await asyncio.sleep(0.2)  # the segment is closed by the next record, and only then cleaned
        await outbox.send(topic, key=b"last", value=None)
        await compacted(connection, topic, lambda heard: len(heard) < 56)
        heard: list[ViewRecord] = []
        async with viewing(connection, topic, heard) as view:
            assert await view.caught_up(10.0)
        assert {record.key: record.value for record in heard}[b"last"] is None
        await outbox.close()


@pytest.mark.alone
async def test_a_view_of_ten_thousand_records_is_complete_within_a_second(connection, outbox, topic):
    await asyncio.gather(*(outbox.send(topic, key=b"%d" % n, value=b"x" * 200) for n in range(10_000)))
    heard: list[ViewRecord] = []
    began = time.monotonic()
    async with viewing(connection, topic, heard) as view:
        assert await view.caught_up(10.0)
        took = time.monotonic() - began
    assert len(heard) == 10_000
    print(f"10,000 records in {took:.3f} s")
    assert took < 1.0


async def test_a_view_goes_on_where_it_was_when_its_broker_comes_back():
    with EmbeddedKafka() as kafka:
        connection, topic, heard = Connection(kafka.bootstrap_servers), "view", list[ViewRecord]()
        await create_topics(kafka.bootstrap_servers, {topic: 1})
        outbox = Outbox(connection)
        await outbox.start()
        async with viewing(connection, topic, heard) as view:
            await outbox.send(topic, key=b"k", value=b"1")
            await until(lambda: values(heard) == [b"1"])
            await asyncio.to_thread(kafka.kill)
            assert view.is_caught_up
            await asyncio.to_thread(kafka.restart)
            await outbox.send(topic, key=b"k", value=b"2")
            await until(lambda: values(heard) == [b"1", b"2"])
            await asyncio.to_thread(kafka.kill)
            began = time.monotonic()
        assert time.monotonic() - began < 10
        await outbox.close(timeout_seconds=1.0)


async def test_without_a_broker_a_view_is_not_complete_and_its_start_does_not_wait_for_ever():
    heard: list[ViewRecord] = []
    async with viewing(Connection(NO_BROKER), "view", heard) as view:
        assert not await view.caught_up(0.5)
        assert not view.is_caught_up


async def test_a_topic_that_was_made_anew_is_read_from_its_beginning(connection, topic):
    heard: list[ViewRecord] = []
    async with viewing(connection, topic, heard):
        outbox = Outbox(connection)
        await outbox.start()
        for n in range(5):
            await outbox.send(topic, key=b"k", value=b"%d" % n)
        await until(lambda: len(heard) == 5)
        await outbox.close()
        await operations.delete_topic(connection, topic)
        await create_topics(connection.bootstrap_servers, {topic: 1})
        again = Outbox(connection)
        await again.start()
        await again.send(topic, key=b"k", value=b"new")
        await until(lambda: values(heard)[5:] == [b"new"])
        await again.close()


async def test_a_partition_that_is_added_is_read_too(connection, outbox, topic):
    heard: list[ViewRecord] = []
    async with viewing(connection, topic, heard) as view:
        assert await view.caught_up(10.0)
        admin = AIOKafkaAdminClient(bootstrap_servers=connection.bootstrap_servers)
        await admin.start()
        await admin.create_partitions({topic: NewPartitions(total_count=2)})
        await admin.close()
        other = Outbox(connection)  # one that knows the new partition at once
        await other.start()
        await other.send(topic, key=b"k", value=b"v", partition=1)
        await other.close()
        await view._consumer._client.force_metadata_update()  # else within a minute
        view._moved_at = -60.0  # so that it looks now, and not within seconds
        await until(lambda: values(heard) == [b"v"])


async def test_a_record_that_cannot_be_decoded_is_passed_over(connection, outbox, topic):
    heard: list[ViewRecord] = []
    await outbox.send(topic, key=b"k", value=b"0")
    await send_with_a_header_name_that_is_not_utf8(connection.bootstrap_servers, topic)
    await outbox.send(topic, key=b"k", value=b"2")
    async with viewing(connection, topic, heard) as view:
        assert await view.caught_up(10.0)
    assert values(heard) == [b"0", b"2"]


async def test_a_client_that_brings_nothing_is_replaced(connection, outbox, topic):
    heard: list[ViewRecord] = []
    async with viewing(connection, topic, heard) as view:
        await outbox.send(topic, key=b"k", value=b"1")
        await until(lambda: len(heard) == 1)
        deaf = view._consumer
        deaf._fetcher._fetch_task.cancel()  # as the open bug does: nothing comes, and nothing is said
        await asyncio.sleep(0.5)  # the fetch that was under way ends within 100 ms; no other is sent
        await outbox.send(topic, key=b"k", value=b"2")
        view._moved_at = -60.0  # so that it looks now, and not within seconds
        await until(lambda: values(heard) == [b"1", b"2"])
        assert view._consumer is not deaf
