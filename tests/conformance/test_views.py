"""What a view of the broker in memory and one of a real Kafka have in common."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from failsoft.kafka import ViewRecord
from failsoft.runtime.ports import ViewPort
from tests.conformance.stands import Stand, on_both
from tests.kafka.conftest import until


class Heard(list[ViewRecord]):
    """Everything that a view handed over."""

    def of(self, partition: int) -> list[bytes | None]:
        return [record.value for record in self if record.partition == partition]

    @property
    def values(self) -> list[bytes | None]:
        return [record.value for record in self]


@asynccontextmanager
async def viewing(stand: Stand, heard: Heard, **options: Any) -> AsyncIterator[ViewPort]:
    view = stand.view(heard.extend, **options)
    await view.start()
    try:
        yield view
    finally:
        await view.stop()


async def say(stand: Stand, *values: bytes | None, partition: int = 0, key: bytes = b"k") -> None:
    for value in values:
        await stand.outbox.send(stand.topics["batch"], key=key, value=value, partition=partition)


@on_both()
async def test_a_view_is_complete_once_it_has_all_that_was_there_and_then_follows(stand):
    heard = Heard()
    await say(stand, b"1", b"2", b"3")
    async with viewing(stand, heard) as view:
        assert await view.caught_up(10.0)
        assert heard.values == [b"1", b"2", b"3"]
        await say(stand, b"4")
        await until(lambda: heard.values == [b"1", b"2", b"3", b"4"])
        assert [record.offset for record in heard] == [0, 1, 2, 3]


@on_both()
async def test_the_view_of_an_empty_topic_is_complete_at_once(stand):
    async with viewing(stand, Heard()) as view:
        assert await view.caught_up(10.0)


@on_both()
async def test_a_record_of_a_view_comes_with_its_key_its_headers_and_its_age(stand):
    heard = Heard()
    headers = [("h", b"1"), ("none", None)]
    sent = await stand.outbox.send(stand.topics["batch"], key=b"k", value=b"v", headers=headers)
    await asyncio.sleep(0.5)
    async with viewing(stand, heard) as view:
        await view.caught_up(10.0)
        now = stand.wall()
    [record] = heard
    assert (record.key, record.value, record.headers) == (b"k", b"v", (("h", b"1"), ("none", b"")))
    assert record.appended_at == sent.appended_at
    assert 0.45 <= record.age_seconds <= now - sent.appended_at + 0.01


@on_both()
async def test_a_deleted_key_is_heard_of(stand):
    heard = Heard()
    async with viewing(stand, heard):
        await say(stand, b"1", None)
        await until(lambda: heard.values == [b"1", None])


@on_both(partitions=3)
async def test_a_view_of_all_reads_all_partitions_each_in_the_order_of_its_log(stand):
    heard = Heard()
    for number in range(3):
        await say(stand, *(b"%d" % n for n in range(20)), partition=number)
    async with viewing(stand, heard) as view:
        assert await view.caught_up(10.0)
        for number in range(3):
            assert heard.of(number) == [b"%d" % n for n in range(20)]
        with pytest.raises(ValueError, match="reads all partitions"):
            view.gain([1])


@on_both(partitions=3)
async def test_a_view_of_some_reads_what_it_gains_from_the_beginning_and_nothing_of_what_it_loses(stand):
    heard = Heard()
    for number in range(3):
        await say(stand, b"before", partition=number)
    async with viewing(stand, heard, numbers=[0]) as view:
        assert await view.caught_up(10.0)
        assert [record.partition for record in heard] == [0]
        view.gain([2])
        view.lose([0])
        assert await view.caught_up(10.0)
        for number in range(3):
            await say(stand, b"after", partition=number)
        await until(lambda: heard.of(2) == [b"before", b"after"])
        view.gain([0])
        await until(lambda: heard.of(0) == [b"before", b"before", b"after"])
        assert heard.of(1) == []


@on_both()
async def test_a_view_of_the_last_offsets_leaves_out_what_is_older(stand):
    heard = Heard()
    await say(stand, *(b"%d" % n for n in range(10)))
    async with viewing(stand, heard, last_offsets=3) as view:
        assert await view.caught_up(10.0)
        assert heard.values == [b"7", b"8", b"9"]


@on_both()
async def test_what_the_taker_raises_ends_the_view_and_is_told(stand):
    def refuse(_: Sequence[ViewRecord]) -> None:
        raise ZeroDivisionError

    view = stand.view(refuse)
    await view.start()
    await say(stand, b"1")
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(view.failed(), 10.0)
    await view.stop()
