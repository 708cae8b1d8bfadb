"""Every record of a topic as it stands in the log, as :mod:`failsoft.kafka.raw` reads it."""

import asyncio
from collections.abc import AsyncGenerator

from failsoft.kafka import ResultRecord
from failsoft.testing.memory.broker import MemoryBroker


async def memory_records(broker: MemoryBroker, topic: str, *, since: float) -> AsyncGenerator[ResultRecord, None]:
    """Yield every record of a topic, from an instant to the end of the log as it was when this began.

    Args:
        broker: where it is.
        topic: which.
        since: epoch seconds, compared with the broker's time of append.
    """
    logs = [(number, log.read(0, log.end)) for number, log in enumerate(broker.topic(topic).logs)]
    for number, entries in logs:
        for entry in entries:
            if entry.value is not None and entry.appended_at >= since:
                headers = tuple((name, value or b"") for name, value in entry.value.headers)
                await asyncio.sleep(0)
                yield ResultRecord(number, entry.offset, entry.appended_at, entry.value.key, entry.value.value, headers)
