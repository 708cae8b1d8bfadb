"""Sends records until they are acknowledged, as :class:`failsoft.kafka.Outbox` does.

A record that is written but whose acknowledgement is lost is sent again, as by a producer that replaces one that has gone: it
then stands in the log twice.
"""

import asyncio
from collections.abc import Sequence

from failsoft.kafka import Acknowledged, OutboxClosed
from failsoft.policy.clock_offset import ClockOffset
from failsoft.testing.memory.broker import MemoryBroker, MemoryLink
from failsoft.wire import Record

RETRY_SECONDS = 0.25


class MemoryOutbox:
    """The way of one worker's records to the broker.

    Args:
        broker: who takes them.
        link: the way there.
    """

    def __init__(self, broker: MemoryBroker, *, link: MemoryLink | None = None) -> None:
        self.link = link or MemoryLink()
        self.clock_offset = ClockOffset()
        """Nothing is measured: all clocks in one process are one."""
        self._broker = broker
        self._is_closed = False

    async def start(self) -> None:
        """There is nothing to connect."""

    async def send(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]] = (),
        partition: int | None = None,
    ) -> Acknowledged:
        """Send one record and wait for the broker's word, as long as it takes.

        Raises:
            RecordRefused: it is larger than the topic takes.
            OutboxClosed: the outbox was closed first.
            ConfigurationError: there is no such topic.
        """
        record = Record(key, value, tuple(headers))
        while True:
            await self._travel()
            if self.link.is_up:
                number, entry = self._broker.append(topic, record, partition)
                await self._travel()
                if self.link.is_up:
                    return Acknowledged(number, entry.offset, entry.appended_at)
            await asyncio.sleep(RETRY_SECONDS)

    async def close(self, *, timeout_seconds: float = 0.0) -> None:
        """Send nothing more."""
        self._is_closed = True

    async def _travel(self) -> None:
        await asyncio.sleep(self.link.seconds / 2)
        if self._is_closed:
            raise OutboxClosed("the outbox was closed before the record was acknowledged")
