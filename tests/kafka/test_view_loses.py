"""A view that loses a partition in the moment in which the client meets a record there that it cannot decode. No broker."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from failsoft.kafka import pull, view
from failsoft.kafka.connection import Connection
from failsoft.kafka.view import View

LOST = TopicPartition("answers", 3)


class Client:
    """Has one partition, whose next record has a header name that is not UTF-8."""

    def __init__(self) -> None:
        self.view: View | None = None
        self.turns = 0

    async def beginning_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 0)

    async def end_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 1)

    def assign(self, places: list[TopicPartition]) -> None:
        """It takes any."""

    def seek(self, place: TopicPartition, offset: int) -> None:
        """It goes anywhere."""

    async def getmany(self, **_: Any) -> dict[TopicPartition, list[Any]]:
        self.turns += 1
        if self.turns == 1 and self.view is not None:
            self.view.lose([LOST.partition])
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
        await asyncio.sleep(0.01)
        return {}


async def test_it_goes_on_with_the_others(monkeypatch: pytest.MonkeyPatch):
    client = Client()

    async def connected(*_: Any, **__: Any) -> Client:
        return client

    async def close(_: Client) -> None:
        """It has nothing to close."""

    monkeypatch.setattr(view, "connected_consumer", connected)
    monkeypatch.setattr(view, "close_consumer", close)

    async def know(*_: Any) -> None:
        """It knows all topics."""

    known = SimpleNamespace(position=lambda *_: 0 if client.turns < 3 else 1, know=know)
    monkeypatch.setattr(view, "private", known)
    monkeypatch.setattr(pull, "private", SimpleNamespace(undecodable=lambda _: {LOST: 0}))
    client.view = View(Connection("127.0.0.1:1"), "answers", take=lambda _: None, numbers=(2, LOST.partition))
    await client.view.start()
    try:
        assert await client.view.caught_up(5.0), "it ended"
        assert client.turns > 1
    finally:
        await client.view.stop()
    async with asyncio.timeout(1.0):
        await client.view.failed()
