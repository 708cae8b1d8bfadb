"""The virtual loop inside a real one: time passes only for those who await it, and for all of them alike."""

import asyncio
import time

import pytest

from failsoft.testing.nested_loop import NestedLoop


@pytest.fixture
async def nested():
    loop = NestedLoop()
    yield loop
    loop.close()


async def sleep(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return asyncio.get_running_loop().time()


async def test_an_hour_takes_no_time_of_the_test(nested):
    began = time.monotonic()
    assert await nested.run(sleep(3_600)) == pytest.approx(3_600)
    assert time.monotonic() - began < 1


async def test_no_virtual_time_passes_between_two_awaits(nested):
    await nested.run(sleep(1))
    before = nested.now
    await asyncio.sleep(0.01)
    assert nested.now == before


async def test_those_who_wait_at_once_share_the_time(nested):
    async def twice() -> list[float]:
        return [await nested.run(sleep(10)), await nested.run(sleep(10))]

    pair, one, other = await asyncio.gather(twice(), nested.run(sleep(15)), nested.run(sleep(21)))
    assert [*pair, one, other] == pytest.approx([10, 20, 15, 21])


async def test_the_test_may_set_what_the_virtual_loop_waits_for(nested):
    gate = asyncio.Event()

    async def waits() -> float:
        await gate.wait()
        return asyncio.get_running_loop().time()

    async def opens() -> None:
        await nested.run(sleep(5))
        gate.set()

    opened_at, _ = await asyncio.gather(nested.run(waits()), opens())
    assert opened_at == pytest.approx(5)


async def test_errors_come_out_where_they_are_awaited(nested):
    async def fails() -> None:
        raise LookupError("here")

    with pytest.raises(LookupError, match="here"):
        await nested.run(fails())


async def test_who_gives_up_waiting_cancels_what_runs(nested):
    ended = []

    async def endless() -> None:
        try:
            while True:
                await asyncio.sleep(1)
        finally:
            ended.append(asyncio.get_running_loop())

    waiting = asyncio.ensure_future(nested.run(endless()))
    await nested.run(sleep(3))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await nested.run(sleep(0))
    assert len(ended) == 1


async def test_the_tests_own_loop_and_task_are_what_they_were(nested):
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    await nested.run(sleep(1))
    assert (asyncio.get_running_loop(), asyncio.current_task()) == (loop, task)
