"""A topic as it stands in the log, also where somebody has written what this client cannot read."""

import asyncio
import uuid

import pytest

from failsoft.kafka.raw import raw_records

from .conftest import create_topics
from .test_inbox import send_with_a_header_name_that_is_not_utf8

pytestmark = pytest.mark.kafka


@pytest.fixture
async def topic(kafka_bootstrap):
    name = f"raw-{uuid.uuid4().hex[:8]}"
    await create_topics(kafka_bootstrap, {name: 2})
    return name


async def test_every_record_comes_repeats_and_all_from_an_instant_on(connection, outbox, topic):
    first = await outbox.send(topic, key=b"k", value=b"1")
    await asyncio.sleep(0.01)
    second = await outbox.send(topic, key=b"k", value=b"2", headers=[("h", None)])
    await outbox.send(topic, key=b"k", value=b"2", headers=[("h", None)])
    found = [record async for record in raw_records(connection, topic, since=0.0)]
    assert [(record.value, record.headers) for record in found] == [
        (b"1", ()),
        (b"2", (("h", b""),)),
        (b"2", (("h", b""),)),
    ]
    later = [record.offset async for record in raw_records(connection, topic, since=second.appended_at)]
    assert later == [second.offset, second.offset + 1]
    assert first.offset == 0


@pytest.mark.parametrize("broken", [0, 1])
async def test_records_that_cannot_be_decoded_are_passed_over_and_nothing_else_is(connection, outbox, topic, broken):
    for number in range(3):
        await outbox.send(topic, key=None, value=b"%d" % number, partition=broken)
        await send_with_a_header_name_that_is_not_utf8(connection.bootstrap_servers, topic, broken)
    await outbox.send(topic, key=None, value=b"other", partition=1 - broken)
    async with asyncio.timeout(20):
        found = [record.value async for record in raw_records(connection, topic, since=0.0)]
    assert sorted(record or b"" for record in found) == [b"0", b"1", b"2", b"other"]
