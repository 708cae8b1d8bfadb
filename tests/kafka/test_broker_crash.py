"""What a crash of the broker costs: time, and nothing else. With a broker of its own, because it is killed."""

import asyncio
import time

import pytest

from failsoft.kafka.connection import Connection
from failsoft.kafka.outbox import Outbox, OutboxClosed
from failsoft.policy.request import Partition
from failsoft.testing import EmbeddedKafka

from .conftest import Listener, Stage, log_of, marks, until

pytestmark = pytest.mark.kafka


async def test_a_broker_that_is_killed_and_comes_back_loses_nothing_and_one_that_stays_away_hangs_nobody():
    with EmbeddedKafka() as kafka:
        stage = Stage(Connection(kafka.bootstrap_servers), partitions=2)
        await stage.create()
        topic, outbox, listener = stage.topics["batch"], Outbox(stage.connection), Listener()
        await outbox.start()
        inbox = await stage.join(listener)

        await asyncio.gather(*(outbox.send(topic, key=b"%d" % n, value=b"%d" % n) for n in range(100)))
        await asyncio.to_thread(kafka.kill)
        sends = [asyncio.create_task(outbox.send(topic, key=b"%d" % n, value=b"%d" % n)) for n in range(100, 200)]
        await asyncio.to_thread(kafka.restart)
        async with asyncio.timeout(40):
            answers = await asyncio.gather(*sends)
        log = await log_of(stage.connection, topic)
        assert set(log.values()) == {b"%d" % n for n in range(200)}
        assert all(log[answer.partition, answer.offset] == b"%d" % n for n, answer in enumerate(answers, start=100))

        await until(lambda: {fetched.value for fetched in listener.taken} == set(log.values()))
        place = Partition("batch", 0)
        await until(lambda: place in listener.owned)
        async with asyncio.timeout(20):
            while not await inbox.commit(marks({place: (listener.owned[place], 1)})):
                await asyncio.sleep(0.1)

        await asyncio.to_thread(kafka.kill)
        stuck = asyncio.create_task(outbox.send(topic, key=b"k", value=b"never"))
        began = time.monotonic()
        await asyncio.sleep(0)
        await asyncio.gather(outbox.close(timeout_seconds=1.0), inbox.stop())
        assert time.monotonic() - began < 10
        with pytest.raises(OutboxClosed):
            await stuck
