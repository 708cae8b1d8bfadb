"""The outbox against a real broker, and against one of its own that is killed."""

import asyncio
import time
import uuid
from typing import Any

import pytest
from aiokafka.errors import MessageSizeTooLargeError, OutOfOrderSequenceNumber, UnknownError

from failsoft.kafka.connection import Connection
from failsoft.kafka.outbox import Outbox, OutboxClosed, RecordRefused
from failsoft.policy.errors import EnvironmentFailure

from .conftest import create_topics, log_of, until

pytestmark = pytest.mark.kafka


@pytest.fixture
async def topic(kafka_bootstrap):
    name = f"outbox-{uuid.uuid4().hex[:8]}"
    await create_topics(kafka_bootstrap, {name: 2})
    return name


def producer_of(outbox: Outbox) -> Any:
    assert outbox._line is not None
    return outbox._line.producer


def awaited(outbox: Outbox) -> dict[Any, None]:
    assert outbox._line is not None
    return outbox._line.awaited


def refuse_one_batch_with(outbox: Outbox, error: type[Exception]) -> None:
    """Let the broker's answer to the next batch be this error; the batch is not written."""
    sender = producer_of(outbox)._sender
    send = sender._send_produce_req
    refused: list[Any] = []

    async def refuse_or_send(node, batches):
        if refused:
            await send(node, batches)
            return
        refused.append(batches)
        for place, batch in batches.items():
            batch.failure(exception=error())
            sender._muted_partitions.remove(place)
        sender._in_flight.remove(node)

    sender._send_produce_req = refuse_or_send


async def test_an_acknowledgement_tells_where_and_when_and_what_the_broker_s_clock_is(connection, outbox, topic):
    before = time.time()
    first = await outbox.send(topic, key=b"k", value=b"v", partition=1)
    second = await outbox.send(topic, key=b"k", value=b"w", partition=1)
    assert (first.partition, first.offset, second.offset) == (1, 0, 1)
    assert before - 0.01 <= first.appended_at <= time.time() + 0.01  # one machine, one clock
    assert abs(outbox.clock_offset.seconds) <= outbox.clock_offset.uncertainty_seconds < 5
    assert await log_of(connection, topic) == {(1, 0): b"v", (1, 1): b"w"}


async def test_the_broker_s_clock_is_measured_against_the_clock_that_this_process_goes_by(connection, topic):
    outbox = Outbox(connection, wall_clock=lambda: time.time() - 90.0)
    await outbox.start()
    await outbox.send(topic, key=b"k", value=b"v")
    await outbox.close()
    assert outbox.clock_offset.seconds == pytest.approx(90.0, abs=5.0)


async def test_a_partition_that_is_not_there_yet_is_waited_for(outbox, topic):
    await outbox.send(topic, key=b"k", value=b"v", partition=1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.5):
            await outbox.send(topic, key=b"k", value=b"v", partition=2)
    assert outbox.replaced == 0
    assert (await outbox.send(topic, key=b"k", value=b"w", partition=1)).offset == 1


@pytest.mark.parametrize("error", [OutOfOrderSequenceNumber, UnknownError])
async def test_after_an_error_that_the_producer_does_not_retry_the_next_one_sends(connection, outbox, topic, error):
    await outbox.send(topic, key=b"k", value=b"0", partition=0)
    failed = producer_of(outbox)
    refuse_one_batch_with(outbox, error)
    await asyncio.gather(*(outbox.send(topic, key=b"k", value=b"%d" % n, partition=0) for n in (1, 2, 3)))
    assert producer_of(outbox) is not failed
    assert set((await log_of(connection, topic)).values()) == {b"0", b"1", b"2", b"3"}


async def test_a_record_too_large_for_the_producer_is_refused_and_harms_nobody(outbox, topic):
    healthy = producer_of(outbox)
    with pytest.raises(RecordRefused, match=topic):
        await outbox.send(topic, key=b"k", value=b"x" * 4_300_000)
    await outbox.send(topic, key=b"k", value=b"v")
    assert producer_of(outbox) is healthy


async def test_a_record_too_large_for_the_topic_is_refused_and_the_next_one_is_sent(outbox, topic):
    with pytest.raises(RecordRefused, match=topic) as refusal:
        await outbox.send(topic, key=b"k", value=b"x" * 1_100_000, partition=0)
    assert isinstance(refusal.value.__cause__, MessageSizeTooLargeError)
    assert (await outbox.send(topic, key=b"k", value=b"v", partition=0)).offset == 0


async def test_a_producer_whose_sending_task_is_gone_is_replaced(connection, topic):
    outbox = Outbox(connection, attempt_seconds=0.5)
    await outbox.start()
    failed = producer_of(outbox)
    failed._sender.sender_task.cancel()
    await outbox.send(topic, key=b"k", value=b"v")
    assert producer_of(outbox) is not failed
    await outbox.close()


async def test_cancelling_a_send_harms_no_other(outbox, topic):
    sends = [asyncio.create_task(outbox.send(topic, key=b"k", value=b"%d" % n, partition=0)) for n in range(50)]
    await asyncio.sleep(0)
    for send in sends[::2]:
        send.cancel()
    answers = await asyncio.gather(*sends, return_exceptions=True)
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[::2])
    assert len({answer.offset for answer in answers if not isinstance(answer, BaseException)}) == 25


async def test_a_send_after_close_is_refused_and_closing_twice_is_no_error(connection, topic):
    outbox = Outbox(connection)
    await outbox.start()
    await outbox.close()
    await outbox.close()
    with pytest.raises(OutboxClosed):
        await outbox.send(topic, key=b"k", value=b"v")


async def test_closing_waits_for_what_is_unanswered(connection, topic):
    outbox = Outbox(connection)
    await outbox.start()
    await outbox.send(topic, key=b"k", value=b"first")
    sends = [asyncio.create_task(outbox.send(topic, key=b"k", value=b"%d" % n)) for n in range(100)]
    await asyncio.sleep(0)
    await until(lambda: awaited(outbox))
    await outbox.close()
    assert len({answer.offset for answer in await asyncio.gather(*sends)}) == 100


async def test_without_a_broker_the_start_says_where_it_looked():
    with pytest.raises(EnvironmentFailure, match=r"127\.0\.0\.1:1"):
        await Outbox(Connection("127.0.0.1:1")).start()
