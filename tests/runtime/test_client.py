"""A client that cannot read results any more says so at once, to those who wait and to those who come. No broker."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import TopicAuthorizationFailedError

import failsoft.client
from failsoft.catalogue import parse
from failsoft.testing.stage import USUAL


class Reader:
    """Reads until it is told that it may not."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.is_forbidden = asyncio.Event()

    async def start(self) -> None:
        """It needs nothing."""

    async def stop(self) -> None:
        """It has nothing to close."""

    async def records(self) -> AsyncIterator[Any]:
        await self.is_forbidden.wait()
        raise TopicAuthorizationFailedError("any.results")
        yield


async def nothing(*_: Any, **__: Any) -> None:
    """Sends, opens and closes nothing."""


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Reader:
    made = Reader()
    monkeypatch.setattr(failsoft.client, "ResultReader", lambda *_, **__: made)
    monkeypatch.setattr(failsoft.client, "partition_counts", nothing)
    outbox = SimpleNamespace(start=nothing, send=nothing, close=nothing)
    monkeypatch.setattr(failsoft.client, "Outbox", lambda *_: outbox)
    return made


async def test_who_waits_hears_at_once_that_results_cannot_be_read_any_more_and_so_does_who_comes(reader: Reader):
    async with failsoft.client.Client("127.0.0.1:1", catalogue=parse(USUAL)) as client:
        await client.submit({}, request_class="batch")
        waits = asyncio.create_task(client.request({}, request_class="batch"))
        await asyncio.sleep(0)
        reader.is_forbidden.set()
        async with asyncio.timeout(5.0):
            with pytest.raises(TopicAuthorizationFailedError):
                await waits
            with pytest.raises(TopicAuthorizationFailedError):
                await anext(client.results())
            with pytest.raises(TopicAuthorizationFailedError):
                await client.submit({}, request_class="batch")
