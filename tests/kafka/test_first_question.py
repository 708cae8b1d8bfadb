"""What is asked of a client that was started a moment ago: aiokafka would wait between two attempts before it answers."""

import asyncio
import uuid

import pytest

from failsoft.kafka import connection as settings
from failsoft.kafka.connection import Connection
from failsoft.kafka.operations import log_bounds
from failsoft.kafka.outbox import Outbox
from failsoft.kafka.raw import raw_records
from failsoft.kafka.results import ResultReader
from failsoft.kafka.view import View, ViewRecord

from .conftest import create_topics

pytestmark = pytest.mark.kafka

PAUSE_MS = 60_000
"""Between two attempts; who waits for the second one misses the deadline of these tests by far."""
DEADLINE_SECONDS = 20.0


@pytest.fixture
async def topic(kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A topic with one record. Clients that connect after this pause for very long."""
    name = f"first-{uuid.uuid4().hex[:8]}"
    await create_topics(kafka_bootstrap, {name: 2})
    outbox = Outbox(Connection(kafka_bootstrap))
    await outbox.start()
    await outbox.send(name, key=b"k", value=b"v", partition=1)
    await outbox.close()
    monkeypatch.setattr(settings, "RETRY_BACKOFF_MS", PAUSE_MS)
    return name


async def test_a_view_is_complete_without_a_pause(connection, topic):
    heard: list[ViewRecord] = []
    view = View(connection, topic, take=heard.extend)
    await view.start()
    assert await view.caught_up(DEADLINE_SECONDS)
    await view.stop()
    assert [record.value for record in heard] == [b"v"]


async def test_a_reader_of_results_begins_without_a_pause(connection, topic):
    reader = ResultReader(connection, topic, start="beginning", until_end=True)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await reader.start()
        assert [record.value async for record in reader.records()] == [b"v"]
    await reader.stop()


async def test_a_topic_is_read_raw_without_a_pause(connection, topic):
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert [record.value async for record in raw_records(connection, topic, since=0.0)] == [b"v"]


async def test_the_bounds_of_a_log_are_told_without_a_pause(connection, topic):
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert await log_bounds(connection, {topic: 2}) == {(topic, 0): (0, 0), (topic, 1): (0, 1)}
