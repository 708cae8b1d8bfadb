"""A compacted topic as one process reads it: all that stands in it, then all that is added.

No group, no offsets kept: a process that starts reads from the beginning, and what it makes of the records is the view. The end
that the log had when a partition was taken up says when the view is complete. Compaction and markers leave gaps, so that is told
by the position and never by a record (reliability.md H13).

What a listener may rely on, and what not:

* records of one partition come in the order of the log, each with the broker's time of its append and its age by ``wall_clock``;
* after a break it goes on where it was; if the log was cut, or the topic was made anew, it reads from the beginning. So a record
  may come twice, and a listener has to take that: the later record of a key holds;
* a record without a value deletes its key;
* it never fails because of a broker. It connects again, says so once, and is whole again without help.

A client that brings nothing although there is something (A29) is replaced; the log's end is looked up while nothing comes.
Where a topic that was made anew has outgrown the old position, what stands below it is not read: writers of such topics say
everything again within the hour.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from failsoft.kafka import private
from failsoft.kafka.clients import close_consumer, connected_consumer, partition_counts
from failsoft.kafka.connection import Connection
from failsoft.kafka.pull import Pull
from failsoft.policy.errors import ConfigurationError, EnvironmentFailure

log = logging.getLogger(__name__)

READY_SECONDS = 5.0
"""How long a start waits for a view: DESIGN §8. A worker without it goes on, with what it knows itself."""
BATCH = 500
"""Records handed over at once; between two batches the event loop does what else is due."""
POLL_MS = 200
"""How long one read waits; also how late the end is noticed when the last offsets are markers without a record."""
LOOK_SECONDS = 5.0
"""How often the log's end is looked up while nothing comes."""
ANSWER_SECONDS = 5.0
RETRY_SECONDS = 0.5
OPTIONS = {"fetch_max_wait_ms": 100, "metadata_max_age_ms": 60_000}


class ViewRecord(NamedTuple):
    """One record of a view.

    Attributes:
        partition: its partition's number.
        offset: its place there.
        key: what it is about.
        value: what is said of it; None: it is deleted.
        headers: in order; one without a value has an empty one.
        appended_at: the broker's clock at append, epoch seconds.
        age_seconds: how long ago that was, by the clock that the view was given; never below 0.
    """

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    appended_at: float
    age_seconds: float


class View:
    """A reader of one compacted topic.

    ``start()`` begins and returns at once, ``caught_up()`` waits for the first complete view, ``stop()`` ends within seconds.

    Args:
        connection: where the cluster is.
        topic: what to read.
        take: takes records, a batch at a time, on the event loop; what it raises ends the view, see ``failed``.
        wall_clock: epoch seconds, as near to the broker's clock as is known; ages are measured by it.
        numbers: the partitions to read; None: all, and those that are added later. ``gain`` and ``lose`` change them.
        last_offsets: begin at most so many offsets before the end of a partition; None: at its beginning.
    """

    def __init__(
        self,
        connection: Connection,
        topic: str,
        *,
        take: Callable[[Sequence[ViewRecord]], None],
        wall_clock: Callable[[], float] = time.time,
        numbers: Iterable[int] | None = None,
        last_offsets: int | None = None,
    ) -> None:
        self._connection = connection
        self._topic = topic
        self._take = take
        self._wall_clock = wall_clock
        self._numbers = None if numbers is None else set(numbers)
        self._last_offsets = last_offsets
        self._positions: dict[int, int] = {}
        self._targets: dict[int, int] = {}
        """Partitions that have not been read to the end that they had: number -> that end."""
        self._pulls = Pull()
        self._consumer: AIOKafkaConsumer = None
        self._changed = asyncio.Event()
        self._caught_up = asyncio.Event()
        self._is_lost = False
        self._moved_at = 0.0
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to read."""
        self._following = asyncio.create_task(self._follow_forever())

    async def caught_up(self, timeout_seconds: float = READY_SECONDS) -> bool:
        """Wait until all is read that was there; False if that takes too long, and reading goes on."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._caught_up.wait()
        except TimeoutError:
            return False
        return True

    @property
    def is_caught_up(self) -> bool:
        """Whether all is read that was there when each partition was taken up."""
        return self._caught_up.is_set()

    def gain(self, numbers: Collection[int]) -> None:
        """Read these partitions too, each from its beginning. Of a view of some partitions only."""
        self._own().update(numbers)
        self._change()

    def lose(self, numbers: Collection[int]) -> None:
        """Read these no more; no record of them is handed over from here on."""
        self._own().difference_update(numbers)
        for number in numbers:
            for known in (self._positions, self._targets):
                known.pop(number, None)
        self._change()

    async def failed(self) -> None:
        """Wait until reading ends on an error that is a bug, and raise it; return when the view is stopped."""
        if self._following is None:
            raise ValueError("not started")
        await asyncio.wait({self._following})
        if not self._following.cancelled():
            self._following.result()

    async def stop(self) -> None:
        """Read no more, and close the connection, within seconds."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait({self._following})

    def _own(self) -> set[int]:
        if self._numbers is None:
            raise ValueError(f"the view of {self._topic} reads all partitions; name some at first to change them")
        return self._numbers

    def _change(self) -> None:
        self._caught_up.clear()
        self._changed.set()

    async def _follow_forever(self) -> None:
        while True:
            try:
                self._consumer = await connected_consumer(self._connection, **OPTIONS)
                await self._follow()
            except (KafkaError, EnvironmentFailure, ConfigurationError, TimeoutError) as error:
                self._lost(error)
            finally:
                await self._disconnect()
            await asyncio.sleep(RETRY_SECONDS)

    async def _disconnect(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await close_consumer(consumer)

    def _lost(self, error: Exception) -> None:
        if not self._is_lost:
            log.warning("the view of %s stands still until it can be read again: %r", self._topic, error)
        self._is_lost = True

    async def _follow(self) -> None:
        """Read with one client, until it is of no use any more."""
        while True:
            self._changed.clear()
            numbers = await self._wanted()
            if numbers:
                await self._take_up(numbers)
            self._note_progress()
            if not numbers:
                await self._changed.wait()
            while not self._changed.is_set():
                await self._turn()

    async def _wanted(self) -> list[int]:
        if self._numbers is not None:
            return sorted(self._numbers)
        return list(range((await partition_counts(self._connection, [self._topic]))[self._topic]))

    async def _take_up(self, numbers: Collection[int]) -> None:
        """Set the client's partitions and positions, with no await between."""
        places = [self._place(number) for number in numbers]
        async with asyncio.timeout(ANSWER_SECONDS):
            await private.know(self._consumer, [self._topic])
            beginnings = await self._consumer.beginning_offsets(places)
            ends = await self._consumer.end_offsets(places)
        if self._changed.is_set():
            return  # some of these are not wanted any more
        for place in places:
            beginning, end = beginnings[place], ends[place]
            if not beginning <= self._positions.get(place.partition, -1) <= end:
                self._positions[place.partition] = self._begin(beginning, end)
                self._targets[place.partition] = end
        self._consumer.assign(places)
        for place in places:
            self._consumer.seek(place, self._positions[place.partition])
        self._moved_at = time.monotonic()
        if self._is_lost:
            log.info("the view of %s goes on", self._topic)
        self._is_lost = False

    def _begin(self, beginning: int, end: int) -> int:
        return beginning if self._last_offsets is None else max(beginning, end - self._last_offsets)

    async def _turn(self) -> None:
        """Read once."""
        pulled = await self._pulls.take(self._consumer, timeout_ms=POLL_MS, max_records=BATCH, reached=self._reached)
        if self._changed.is_set():
            return  # what was taken comes again, as far as it is still wanted
        batch = self._records(pulled.records)
        self._remember_positions()
        if batch:
            self._moved_at = time.monotonic()
            self._take(batch)
        elif time.monotonic() - self._moved_at > LOOK_SECONDS:
            await self._look()
        self._note_progress()
        await asyncio.sleep(0)

    def _records(self, taken: Mapping[TopicPartition, Sequence[Any]]) -> list[ViewRecord]:
        now = self._wall_clock()
        return [_record(record, now=now) for records in taken.values() for record in records]

    def _remember_positions(self) -> None:
        for number in self._positions:
            position = private.position(self._consumer, self._place(number))
            if position is not None:
                self._positions[number] = position

    def _note_progress(self) -> None:
        for number in [number for number, end in self._targets.items() if self._positions[number] >= end]:
            del self._targets[number]
        if not self._targets and not self._changed.is_set():
            self._caught_up.set()

    def _reached(self) -> dict[TopicPartition, int]:
        return {self._place(number): position for number, position in self._positions.items()}

    async def _look(self) -> None:
        """Nothing comes: is there nothing, were partitions added, is the log another, or has the client died?"""
        self._moved_at = time.monotonic()
        known = self._consumer.partitions_for_topic(self._topic) or ()
        if self._numbers is None and len(known) > len(self._positions):
            self._changed.set()
            return
        places = [self._place(number) for number in self._positions]
        async with asyncio.timeout(ANSWER_SECONDS):
            ends = await self._consumer.end_offsets(places)
        if self._changed.is_set():
            return
        behind = {place.partition for place, end in ends.items() if self._positions[place.partition] < end}
        if any(self._positions[place.partition] > end for place, end in ends.items()):
            self._changed.set()
        elif behind and not await self._comes():
            raise TimeoutError(f"nothing came although there is something in {sorted(behind)}")

    async def _comes(self) -> bool:
        """Whether what may just have been added is on its way; a position moves past markers without a record."""
        before = dict(self._positions)
        await self._turn()
        return before != self._positions

    def _place(self, number: int) -> TopicPartition:
        return TopicPartition(self._topic, number)


def _record(record: Any, *, now: float) -> ViewRecord:
    headers = tuple((name, value or b"") for name, value in record.headers)
    appended_at = record.timestamp / 1000
    age_seconds = max(0.0, now - appended_at)
    return ViewRecord(record.partition, record.offset, record.key, record.value, headers, appended_at, age_seconds)
