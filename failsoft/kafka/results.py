"""Reads results so that all readers agree on which record of a result counts: the first in its partition.

Execution is at least once, so a result may be in the log more than once. The log has an order that everybody sees, results
are keyed by their id, and equal keys share a partition: "the first record of an id" is the same for every reader. A reader
remembers ids for the *horizon* (1 h, at most a million); before it emits anything of a partition it reads the horizon that lies
before its starting position, silently. A repeat renews its id, so a reader that begins late and one that never stopped
agree on a chain of repeats as well. Repeats further apart than the horizon are seen twice: docs/guarantees.md says so.

Partitions that are added while it reads are gained within a minute, from their beginning, since all in them came after the
start. An id whose first record stood elsewhere counts anew there: adding partitions moves keys, and no order joins the two.
"""

import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

from aiokafka import AIOKafkaConsumer, TopicPartition

from failsoft.kafka import private
from failsoft.kafka.clients import close_consumer, connected_consumer, partition_counts
from failsoft.kafka.connection import Connection
from failsoft.kafka.pull import Pull, read_on

HORIZON_SECONDS = 3600.0
"""Repeats come from redelivery after a crash and from a replaced producer: seconds to minutes apart, so an hour is ample."""
REMEMBERED_IDS = 1_000_000
"""Of all partitions together; 200 MB when full (198 B each), which is 280 results a second for an hour."""
METADATA_SECONDS = 60.0
"""How soon added partitions are noticed."""
POLL_MS = 200
"""How long one read waits; also how late the end is noticed when the last offsets are markers without a record."""

Start = Literal["beginning", "end"] | float
"""Where to begin: an end of the log, or an instant in epoch seconds."""


@dataclass(frozen=True, slots=True)
class ResultRecord:
    """One result as it stands in the log. The key is the result's id."""

    partition: int
    offset: int
    timestamp: float
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class FirstSeen:
    """The ids of one partition that were seen within the horizon, in order of their last appearance."""

    def __init__(self, *, horizon_seconds: float, limit: int) -> None:
        self._horizon_seconds = horizon_seconds
        self._limit = limit
        self._seen_at: OrderedDict[bytes, float] = OrderedDict()

    def is_first(self, key: bytes, timestamp: float) -> bool:
        """Note an appearance; return whether the id was unknown. Timestamps are the log's, so replays agree with it."""
        while self._seen_at and next(iter(self._seen_at.values())) < timestamp - self._horizon_seconds:
            self._seen_at.popitem(last=False)
        is_first = self._seen_at.pop(key, None) is None
        self._seen_at[key] = timestamp
        if len(self._seen_at) > self._limit:
            self._seen_at.popitem(last=False)
        return is_first


class ResultReader:
    """A reader of one topic of results, without a group.

    Args:
        connection: where the cluster is.
        topic: ``<pipeline>.results``.
        start: where to begin to emit.
        until_end: end where the log ended when the reader was started.
        horizon_seconds: how long an id is remembered.
        remembered_ids: how many, of all partitions.
    """

    def __init__(
        self,
        connection: Connection,
        topic: str,
        *,
        start: Start = "end",
        until_end: bool = False,
        horizon_seconds: float = HORIZON_SECONDS,
        remembered_ids: int = REMEMBERED_IDS,
    ) -> None:
        self._connection = connection
        self._topic = topic
        self._start = start
        self._until_end = until_end
        self._horizon_seconds = horizon_seconds
        self._remembered_ids = remembered_ids
        self._consumer: AIOKafkaConsumer = None
        self._starts: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._seen: dict[int, FirstSeen] = {}
        self._pull = Pull()
        self.repeats = 0
        """Records from the starting position on that were not the first of their id."""

    async def start(self) -> None:
        """Take the positions. What is sent after this returns is after ``"end"``, and before no end of ``until_end``.

        Raises:
            ConfigurationError: the topic does not exist.
            EnvironmentFailure: no broker answers.
        """
        count = (await partition_counts(self._connection, [self._topic]))[self._topic]
        self._consumer = await connected_consumer(self._connection, metadata_max_age_ms=round(METADATA_SECONDS * 1000))
        places = [TopicPartition(self._topic, number) for number in range(count)]
        limit = max(1, self._remembered_ids // count)
        self._seen = {number: self._first_seen(limit) for number in range(count)}
        await private.know(self._consumer, [self._topic])
        beginnings = await self._consumer.beginning_offsets(places)
        self._ends = await self._consumer.end_offsets(places)
        self._starts = await self._places_at(self._start, beginnings)
        history = beginnings if self._start == "beginning" else await self._history(beginnings)
        self._consumer.assign(places)
        for place in places:
            self._consumer.seek(place, history[place])

    async def stop(self) -> None:
        """Close the connection."""
        if self._consumer is not None:
            await close_consumer(self._consumer)

    async def records(self) -> AsyncIterator[ResultRecord]:
        """Yield results, each id once, in order of offsets within each partition."""
        while not (self._until_end and self._is_at_end()):
            self._gain_added()
            pulled = await read_on(self._consumer, self._pull, list(self._starts), timeout_ms=POLL_MS)
            for place, records in pulled.records.items():
                for record in records:
                    if self._counts(place, record):
                        yield _result(record)

    def _gain_added(self) -> None:
        """Read partitions that were added too. Those that are being read go on from where they are."""
        known = self._consumer.partitions_for_topic(self._topic) or set()
        added = [TopicPartition(self._topic, number) for number in sorted(known - self._seen.keys())]
        if self._until_end or not added:
            return
        positions = {place: private.position(self._consumer, place) for place in self._starts}
        if any(position is None for position in positions.values()):
            return  # one is being looked for; the next turn will do
        limit = max(1, self._remembered_ids // len(known))
        self._seen |= {place.partition: self._first_seen(limit) for place in added}
        positions |= dict.fromkeys(added, 0)
        self._starts |= dict.fromkeys(added, 0)
        self._consumer.assign(list(positions))
        for place, position in positions.items():
            self._consumer.seek(place, position)

    def _first_seen(self, limit: int) -> FirstSeen:
        return FirstSeen(horizon_seconds=self._horizon_seconds, limit=limit)

    def _counts(self, place: TopicPartition, record: Any) -> bool:
        """Whether to emit: the first of its id, in the part of the log that was asked for."""
        if self._until_end and record.offset >= self._ends[place]:
            return False
        is_first = record.key is None or self._seen[record.partition].is_first(record.key, record.timestamp / 1000)
        if record.offset < self._starts[place]:
            return False
        self.repeats += not is_first
        return is_first

    def _is_at_end(self) -> bool:
        """Whether all was read that was there at the start; a position moves past gaps and markers, records need not."""
        positions = ((private.position(self._consumer, place), end) for place, end in self._ends.items())
        return all(position is not None and position >= end for position, end in positions)

    async def _history(self, beginnings: dict[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Find where the horizon before the start begins."""
        began_at = time.time() if isinstance(self._start, str) else self._start
        history = await self._places_at(max(0.0, began_at - self._horizon_seconds), beginnings)
        return {place: min(history[place], start) for place, start in self._starts.items()}

    async def _places_at(self, start: Start, beginnings: dict[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Turn a start into offsets. An instant after the last record is the end."""
        if start == "beginning":
            return beginnings
        if start == "end":
            return self._ends
        found = await self._consumer.offsets_for_times(dict.fromkeys(beginnings, int(start * 1000)))
        return {place: self._ends[place] if found[place] is None else found[place].offset for place in beginnings}


def _result(record: Any) -> ResultRecord:
    headers = tuple((name, value or b"") for name, value in record.headers)
    return ResultRecord(record.partition, record.offset, record.timestamp / 1000, record.key, record.value, headers)
