"""Every record of a topic as it stands in the log, repeats and all: what a checker judges by, and no consumer should need.

Consumers read results through :mod:`failsoft.kafka.results`, which shows each once. Whether that promise holds can only be
told from the log itself, without the code that keeps it.

A record whose headers are no UTF-8 cannot be read by this client: it is passed over, and said so.
"""

from collections.abc import AsyncGenerator
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from failsoft.kafka import private
from failsoft.kafka.clients import close_consumer, connected_consumer, partition_counts
from failsoft.kafka.connection import Connection
from failsoft.kafka.pull import Pull, read_on
from failsoft.kafka.results import POLL_MS, ResultRecord


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
        await private.know(consumer, [topic])
        ends = await consumer.end_offsets(places)
        found = await consumer.offsets_for_times(dict.fromkeys(places, int(since * 1000)))
        consumer.assign(places)
        for place in places:
            consumer.seek(place, ends[place] if found[place] is None else found[place].offset)
        pull = Pull()
        while not _is_past(consumer, ends):
            pulled = await read_on(consumer, pull, places, timeout_ms=POLL_MS)
            for place, records in pulled.records.items():
                for record in records:
                    if record.offset < ends[place]:
                        yield _record(record)
    finally:
        await close_consumer(consumer)


def _is_past(consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> bool:
    """Whether all was read; a position moves past markers, which never come as records."""
    positions = ((private.position(consumer, place), end) for place, end in ends.items())
    return all(position is not None and position >= end for position, end in positions)


def _record(record: Any) -> ResultRecord:
    headers = tuple((name, value or b"") for name, value in record.headers)
    return ResultRecord(record.partition, record.offset, record.timestamp / 1000, record.key, record.value, headers)
