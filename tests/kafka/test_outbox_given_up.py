"""Who waits for a producer that is given up, and who is cancelled himself. Producers answer when the test says; no broker."""

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import UnknownError

from failsoft.kafka import outbox as module
from failsoft.kafka import private
from failsoft.kafka.connection import Connection
from failsoft.kafka.outbox import Outbox, OutboxClosed
from failsoft.testing.virtual_time import run_in_virtual_time


class Producer:
    """Keeps what it is to send, and answers when it is told to."""

    made: list["Producer"]

    def __init__(self, **_: Any) -> None:
        self.asked: list[tuple[bytes, asyncio.Future[Any]]] = []
        self.is_alive = True
        self.made.append(self)

    async def start(self) -> None:
        pass

    async def send(self, topic: str, *, value: bytes, **_: Any) -> asyncio.Future[Any]:
        answer = asyncio.get_running_loop().create_future()
        self.asked.append((value, answer))
        return answer

    def acknowledge(self, number: int = 0) -> None:
        self.asked[number][1].set_result(SimpleNamespace(partition=0, offset=number, timestamp_type=0))


async def _abandon(_: Producer) -> None:
    await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def producers(monkeypatch: pytest.MonkeyPatch) -> list[Producer]:
    Producer.made = []
    monkeypatch.setattr(module, "AIOKafkaProducer", Producer)
    monkeypatch.setattr(private, "tidy", lambda producer: producer)
    monkeypatch.setattr(private, "abandon_producer", _abandon)
    monkeypatch.setattr(private, "sender_is_alive", lambda producer: producer.is_alive)
    return Producer.made


Test = Callable[[Outbox, list[Producer]], Coroutine[None, None, None]]


def with_an_outbox(test: Test) -> Callable[[list[Producer]], None]:
    async def run(producers: list[Producer]) -> None:
        outbox = Outbox(Connection("127.0.0.1:1"))
        await outbox.start()
        await test(outbox, producers)
        await outbox.close(timeout_seconds=0)

    def run_it(producers: list[Producer]) -> None:
        run_in_virtual_time(run(producers))

    run_it.__doc__ = test.__doc__
    return run_it


async def begin(outbox: Outbox, *values: bytes) -> list["asyncio.Task[Any]"]:
    tasks = [asyncio.create_task(outbox.send("t", key=None, value=value)) for value in values]
    await asyncio.sleep(0)
    return tasks


@with_an_outbox
async def test_what_a_producer_had_not_answered_is_sent_by_the_next_one_once(outbox, producers):
    tasks = await begin(outbox, b"a", b"b", b"c")
    producers[0].acknowledge(1)
    await tasks[1]
    outbox.replace()
    await asyncio.sleep(1)
    assert [value for value, _ in producers[1].asked] == [b"a", b"c"]
    producers[1].acknowledge(0)
    producers[1].acknowledge(1)
    assert [(await tasks[0]).offset, (await tasks[2]).offset] == [0, 1]
    assert [task.cancelling() for task in tasks] == [0, 0, 0]
    assert (outbox.replaced, outbox.unanswered, outbox.acknowledged) == (1, 0, 3)


@pytest.mark.parametrize("is_cancelled_first", [True, False])
def test_who_is_cancelled_while_the_producer_is_given_up_ends_cancelled(producers, is_cancelled_first):
    """Else a stage that is being closed would send on, and never end."""

    async def both(outbox: Outbox, _: list[Producer]) -> None:
        (task,) = await begin(outbox, b"a")
        for step in (task.cancel, outbox.replace)[:: 1 if is_cancelled_first else -1]:
            step()
        await asyncio.wait([task])
        assert task.cancelled()
        assert outbox.unanswered == 0

    with_an_outbox(both)(producers)


@with_an_outbox
async def test_a_time_limit_that_ends_with_the_producer_is_seen_as_one(outbox, producers):
    """The caller's task goes on after it, and can wait again."""

    async def limited() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await outbox.send("t", key=None, value=b"a")
        await asyncio.sleep(1)

    task = asyncio.create_task(limited())
    asyncio.get_running_loop().call_later(5, outbox.replace)
    await task
    assert task.cancelling() == 0


@with_an_outbox
async def test_an_answer_that_is_cancelled_by_nobody_who_sends_is_asked_for_again(outbox, producers):
    """Else the sender's task would end without a word, and its record would never be told nor committed."""
    (task,) = await begin(outbox, b"a")
    producers[0].asked[0][1].cancel()
    await asyncio.sleep(1)
    producers[0].acknowledge(1)
    assert (await task).offset == 1
    assert outbox.replaced == 0


@with_an_outbox
async def test_one_error_that_no_producer_heals_from_gives_it_up_for_all_that_wait(outbox, producers):
    tasks = await begin(outbox, b"a", b"b")
    producers[0].asked[0][1].set_exception(UnknownError())
    await asyncio.sleep(1)
    assert sorted(value for value, _ in producers[1].asked) == [b"a", b"b"]
    producers[1].acknowledge(0)
    producers[1].acknowledge(1)
    await asyncio.gather(*tasks)
    assert outbox.replaced == 1


@with_an_outbox
async def test_a_producer_is_given_up_by_the_age_of_its_oldest_record_and_not_while_it_answers(outbox, producers):
    for _ in range(5):  # for 50 s something waits, and nothing for as long as 30
        (task,) = await begin(outbox, b"a")
        await asyncio.sleep(10)
        producers[0].acknowledge(-1)
        await task
    assert outbox.replaced == 0
    await asyncio.sleep(5)  # between two looks
    old, _ = await begin(outbox, b"old", b"other")
    await asyncio.sleep(20)
    await begin(outbox, b"new")
    await asyncio.sleep(9.9)
    assert (outbox.replaced, old.done()) == (0, False)
    await asyncio.sleep(0.2)
    assert outbox.replaced == 1


@with_an_outbox
async def test_a_producer_that_cannot_send_any_more_is_given_up_when_it_is_looked_at(outbox, producers):
    producers[0].is_alive = False
    await begin(outbox, b"a")
    await asyncio.sleep(11)
    assert [value for value, _ in producers[1].asked] == [b"a"]


@with_an_outbox
async def test_closing_waits_for_what_is_answered_in_time_and_ends_the_rest(outbox, producers):
    in_time, late = await begin(outbox, b"a", b"b")
    asyncio.get_running_loop().call_later(1, producers[0].acknowledge)
    began_at = asyncio.get_running_loop().time()
    await outbox.close(timeout_seconds=3)
    assert asyncio.get_running_loop().time() - began_at == pytest.approx(3)
    assert (await in_time).offset == 0
    with pytest.raises(OutboxClosed):
        await late
    assert outbox.replaced == 0


@with_an_outbox
async def test_closing_ends_with_the_last_answer(outbox, producers):
    tasks = await begin(outbox, b"a", b"b")
    loop = asyncio.get_running_loop()
    loop.call_later(1, producers[0].acknowledge, 0)
    loop.call_later(2, producers[0].acknowledge, 1)
    began_at = loop.time()
    await outbox.close(timeout_seconds=5)
    assert loop.time() - began_at == pytest.approx(2)
    assert all(task.done() for task in tasks)
