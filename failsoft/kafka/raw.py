"""Every record of a topic as it stands in the log, repeats and all: what a checker judges by, and no consumer should need.

Consumers read results through :mod:`failsoft.kafka.results`, which shows each once. Whether that promise holds can only be
told from the log itself, without the code that keeps it.

A record whose headers are no UTF-8 cannot be read by this client: it is passed over, and said so.
"""

import logging
from collections.abc import AsyncGenerator
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from failsoft.kafka import private
from failsoft.kafka.clients import close_consumer, connected_consumer, partition_counts
from failsoft.kafka.connection import Connection
from failsoft.kafka.results import POLL_MS, ResultRecord

log = logging.getLogger(__name__)


async def raw_records(connection: Connection, topic: str, *, since: float) -> AsyncGenerator[ResultRecord, None]:
    """Yield every record of a topic, from an instant to the end of the log as it was when this began.

    Args:
        connection: where the cluster is.
        topic: which.
        since: epoch seconds, compared with the records' own timestamps: the broker's time of append.

    Raises:
        ConfigurationError: the topic does not exist.
        EnvironmentFailure: no broker answers.
    """
    count = (await partition_counts(connection, [topic]))[topic]
    places = [TopicPartition(topic, number) for number in range(count)]
    consumer = await connected_consumer(connection)
    try:
        ends = await consumer.end_offsets(places)
        found = await consumer.offsets_for_times(dict.fromkeys(places, int(since * 1000)))
        consumer.assign(places)
        for place in places:
            consumer.seek(place, ends[place] if found[place] is None else found[place].offset)
        undecodable: dict[TopicPartition, int] = {}
        while not _is_past(consumer, ends):
            _pass(consumer, undecodable)
            before = {place: private.position(consumer, place) for place in places}
            try:
                taken = await consumer.getmany(timeout_ms=POLL_MS, max_records=1 if undecodable else None)
            except UnicodeDecodeError:  # aiokafka gives up all that it has fetched, of the other partitions too
                _note(consumer, undecodable)
                for place, position in before.items():
                    if position is not None:
                        consumer.seek(place, position)
                continue
            for place, records in taken.items():
                for record in records:
                    if record.offset < ends[place]:
                        yield _record(record)
    finally:
        await close_consumer(consumer)


def _pass(consumer: AIOKafkaConsumer, undecodable: dict[TopicPartition, int]) -> None:
    """Go on behind a record that cannot be decoded when all before it have come, one by one."""
    for place, offset in list(undecodable.items()):
        position = private.position(consumer, place)
        if position is not None and position >= offset:
            del undecodable[place]
            consumer.seek(place, offset + 1)


def _note(consumer: AIOKafkaConsumer, undecodable: dict[TopicPartition, int]) -> None:
    found = private.undecodable(consumer)
    if not found:
        raise ValueError("something cannot be decoded, and the client does not say what")
    undecodable |= found
    log.warning("records that cannot be decoded are passed over, at %s", sorted(found.items()))


def _is_past(consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> bool:
    """Whether all was read; a position moves past markers, which never come as records."""
    positions = ((private.position(consumer, place), end) for place, end in ends.items())
    return all(position is not None and position >= end for position, end in positions)


def _record(record: Any) -> ResultRecord:
    headers = tuple((name, value or b"") for name, value in record.headers)
    return ResultRecord(record.partition, record.offset, record.timestamp / 1000, record.key, record.value, headers)
