import asyncio
import itertools
import time
import uuid
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from failsoft.kafka.connection import Connection
from failsoft.kafka.outbox import Outbox
from failsoft.kafka.results import FirstSeen, ResultReader, ResultRecord
from failsoft.policy.errors import ConfigurationError

from .conftest import create_topics, until
from .test_inbox import send_with_a_header_name_that_is_not_utf8


def appearances(seen: FirstSeen, *pairs: tuple[bytes, float]) -> list[bool]:
    return [seen.is_first(key, timestamp) for key, timestamp in pairs]


def test_the_first_of_an_id_counts_and_the_others_do_not():
    seen = FirstSeen(horizon_seconds=10, limit=100)
    assert appearances(seen, (b"a", 0), (b"b", 1), (b"a", 2), (b"b", 11)) == [True, True, False, False]


def test_an_id_is_forgotten_after_the_horizon_and_a_repeat_renews_it():
    assert appearances(FirstSeen(horizon_seconds=10, limit=100), (b"a", 0), (b"a", 11)) == [True, True]
    assert appearances(FirstSeen(horizon_seconds=10, limit=100), (b"a", 0), (b"a", 9), (b"a", 18)) == [
        True,
        False,
        False,
    ]


def test_a_reader_that_begins_late_agrees_on_a_chain_of_repeats():
    chain = [(b"a", float(at)) for at in (0, 9, 18, 27)]
    for begin in range(1, len(chain)):
        history = [pair for pair in chain[:begin] if pair[1] >= chain[begin][1] - 10]
        late = FirstSeen(horizon_seconds=10, limit=100)
        appearances(late, *history)
        assert appearances(late, *chain[begin:]) == [False] * (len(chain) - begin)


def test_no_more_ids_are_remembered_than_the_limit_and_the_oldest_go_first():
    seen = FirstSeen(horizon_seconds=10, limit=2)
    assert appearances(seen, (b"a", 0), (b"b", 0), (b"a", 0), (b"c", 0), (b"a", 0), (b"b", 0)) == [
        True, True, False, True, False, True,
    ]  # fmt: skip


@pytest.fixture
async def topic(kafka_bootstrap):
    name = f"results-{uuid.uuid4().hex[:8]}"
    await create_topics(kafka_bootstrap, {name: 3})
    return name


async def read(connection: Connection, topic: str, **options: Any) -> tuple[list[ResultRecord], ResultReader]:
    reader = ResultReader(connection, topic, until_end=True, **options)
    await reader.start()
    try:
        return [record async for record in reader.records()], reader
    finally:
        await reader.stop()


@pytest.mark.kafka
async def test_each_id_is_seen_once_and_the_repeats_are_counted(connection, outbox, topic):
    for value, n in itertools.product((b"first", b"again"), range(20)):
        await outbox.send(topic, key=b"id-%d" % n, value=value)
    records, reader = await read(connection, topic, start="beginning")
    assert sorted(record.key or b"" for record in records) == sorted(b"id-%d" % n for n in range(20))
    assert {record.value for record in records} == {b"first"}
    assert reader.repeats == 20


@pytest.mark.kafka
async def test_an_empty_topic_has_an_end_at_once(connection, topic):
    assert (await read(connection, topic, start="beginning"))[0] == []


@pytest.mark.kafka
async def test_a_reader_from_the_end_sees_all_that_is_sent_after_its_start_and_no_repeat_of_what_was(
    connection, outbox, topic
):
    await outbox.send(topic, key=b"old", value=b"before")
    reader = ResultReader(connection, topic)
    await reader.start()
    for key in (b"old", b"new", b"old", b"last"):
        await outbox.send(topic, key=key, value=b"after")
    seen = set()
    async for record in reader.records():
        seen.add((record.key, record.value))
        if {key for key, _ in seen} >= {b"new", b"last"}:
            break
    await reader.stop()
    assert seen == {(b"new", b"after"), (b"last", b"after")}


@pytest.mark.kafka
async def test_a_reader_from_an_instant_reads_the_horizon_before_it_in_silence(connection, outbox, topic):
    await outbox.send(topic, key=b"old", value=b"")
    first = await outbox.send(topic, key=b"new", value=b"", headers=[("h", b"1")])
    while time.time() <= first.appended_at + 0.002:
        pass
    begin = time.time()
    for key in (b"old", b"third"):
        await outbox.send(topic, key=key, value=b"")
    records, reader = await read(connection, topic, start=begin)
    assert [record.key for record in records] == [b"third"]
    assert reader.repeats == 1
    without_horizon, reader = await read(connection, topic, start=begin, horizon_seconds=0)
    assert sorted(record.key or b"" for record in without_horizon) == [b"old", b"third"]
    assert reader.repeats == 0


@pytest.mark.kafka
async def test_a_partition_that_is_added_is_gained_from_its_beginning_and_the_others_go_on(connection, outbox, topic):
    reader = ResultReader(connection, topic)
    await reader.start()
    seen: list[tuple[int, bytes | None]] = []

    async def read_on() -> None:
        async for record in reader.records():
            seen.append((record.partition, record.key))  # noqa: PERF401 - each is looked at when it comes

    reading = asyncio.create_task(read_on())
    await outbox.send(topic, key=b"a", value=b"", partition=0)
    await until(lambda: seen == [(0, b"a")])
    admin = AIOKafkaAdminClient(bootstrap_servers=connection.bootstrap_servers)
    await admin.start()
    await admin.create_partitions({topic: NewPartitions(total_count=4)})
    await admin.close()
    other = Outbox(connection)  # one that knows the new partition at once
    await other.start()
    await other.send(topic, key=b"b", value=b"", partition=3)
    await other.close()
    await reader._consumer._client.force_metadata_update()  # else within a minute
    await until(lambda: (3, b"b") in seen)
    await outbox.send(topic, key=b"c", value=b"", partition=0)
    await outbox.send(topic, key=b"a", value=b"", partition=0)
    await until(lambda: reader.repeats == 1)
    reading.cancel()
    await asyncio.wait({reading})
    await reader.stop()
    assert seen == [(0, b"a"), (3, b"b"), (0, b"c")]


@pytest.mark.kafka
async def test_until_end_is_the_end_that_was_when_the_reader_was_started(connection, outbox, topic):
    await outbox.send(topic, key=b"a", value=b"")
    reader = ResultReader(connection, topic, start="beginning", until_end=True)
    await reader.start()
    await outbox.send(topic, key=b"b", value=b"")
    assert [record.key async for record in reader.records()] == [b"a"]
    await reader.stop()


@pytest.mark.kafka
async def test_a_record_that_cannot_be_decoded_costs_nobody_a_result(connection, outbox, topic):
    for number in range(3):
        await outbox.send(topic, key=b"%d" % number, value=b"v", partition=number)
    await send_with_a_header_name_that_is_not_utf8(connection.bootstrap_servers, topic, 1)
    await outbox.send(topic, key=b"behind", value=b"v", partition=1)
    async with asyncio.timeout(20):
        found, _ = await read(connection, topic, start="beginning")
    assert sorted(record.key or b"" for record in found) == [b"0", b"1", b"2", b"behind"]


async def test_a_topic_that_does_not_exist_is_named(connection):
    with pytest.raises(ConfigurationError, match=r"no-such-topic; run `failsoft topics apply`"):
        await ResultReader(connection, "no-such-topic").start()
