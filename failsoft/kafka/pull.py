"""One pull from a client, of which nothing is lost when a record in it cannot be decoded.

aiokafka decodes the names of headers while it hands records over. One that is no UTF-8, which a producer in another language can
send, raises out of ``getmany()``; what was taken before it, of all partitions, is then given to nobody, and the client has moved
on.

**Rule.** Every partition goes back to what its reader has reached. From then on records come one by one, until all before the
broken one have come; then it is passed over, and its reader is told where it stood.

All that read with ``getmany()`` read through this: the fetchers of requests, views, readers of results, and checkers.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from failsoft.kafka import private

log = logging.getLogger(__name__)

Reached = Callable[[], Mapping[TopicPartition, int]]
"""Tells which offset comes next of each partition. Asked when the pull is over: partitions may have come and gone meanwhile."""


class Pulled(NamedTuple):
    """What a pull has brought.

    Attributes:
        records: partition -> records, in order.
        passed: partition -> offset of a record that cannot be decoded, behind which it goes on. Such a pull brings no records.
    """

    records: Mapping[TopicPartition, Sequence[Any]]
    passed: Mapping[TopicPartition, int]


class Pull:
    """The pulls of one reader, one after the other."""

    def __init__(self) -> None:
        self._broken: dict[TopicPartition, int] = {}

    async def take(
        self, consumer: AIOKafkaConsumer, *, timeout_ms: int, reached: Reached, max_records: int | None = None
    ) -> Pulled:
        """Take what is there, or wait for it. No await lies between what is taken and the return."""
        if passed := self._pass(consumer, reached()):
            return Pulled({}, passed)
        try:
            records = await consumer.getmany(timeout_ms=timeout_ms, max_records=1 if self._broken else max_records)
        except UnicodeDecodeError:
            self._go_back(consumer, reached())
            return Pulled({}, {})
        return Pulled(records, {})

    def _go_back(self, consumer: AIOKafkaConsumer, reached: Mapping[TopicPartition, int]) -> None:
        found = private.undecodable(consumer)
        if not found:
            raise ValueError("something cannot be decoded, and the client does not say what")
        self._broken |= found
        told = ", ".join(f"{place.topic}-{place.partition} at {offset}" for place, offset in found.items())
        log.error("records that cannot be decoded: %s", told)
        for place, offset in reached.items():
            consumer.seek(place, offset)

    def _pass(self, consumer: AIOKafkaConsumer, reached: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        self._broken = {place: offset for place, offset in self._broken.items() if place in reached}
        passed = {place: offset for place, offset in self._broken.items() if reached[place] >= offset}
        for place, offset in passed.items():
            del self._broken[place]
            consumer.seek(place, offset + 1)
        return passed


async def read_on(
    consumer: AIOKafkaConsumer, pull: Pull, places: Sequence[TopicPartition], *, timeout_ms: int
) -> Pulled:
    """Pull for who keeps no positions of its own: it has reached what the client had before the pull."""
    before = {place: position for place in places if (position := private.position(consumer, place)) is not None}
    return await pull.take(consumer, timeout_ms=timeout_ms, reached=lambda: before)
