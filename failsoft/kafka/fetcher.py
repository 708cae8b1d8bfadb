"""Fetches the records of one class, as many as there is room for.

Each class has a consumer and a connection of its own, without a group: with one for all, a flood of batch delays interactive
by seconds (research/kafka.md §1). Records are pulled by room and never pushed: ``pause()`` would throw away what has been
prefetched, which costs nine tenths of the throughput, so the flow is stopped by not asking. What aiokafka prefetches
meanwhile is bounded by partitions x 256 KiB.

Positions of kept partitions survive a rebalance; lost ones are dropped at once. ``assign()`` and ``seek()`` have no await
between them, or the client would begin to look for positions of its own.

A topic that an operator has deleted and made anew begins again at offset 0. aiokafka goes there without a word, and to all others
a record there is one that was done long ago. So an offset below the next one, of a record or of the client, means that the log
is another: what was fetched of it is dropped, and the partition is lost and gained again. (Where the new log has grown past
that offset only the topic's id tells, :mod:`failsoft.kafka.incarnations`; this tells sooner, and where brokers tell no ids.)

A client that silently stops fetching while the log grows (reliability.md A29, open upstream) is replaced after ``stall_seconds``:
when nothing was fetched for so long, the log's end is asked for, and what is there does not come on one more pull either (it
may have arrived at that moment).

Records that retention or an operator deletes before they are read are lost, and aiokafka only moves on to where the log
begins now (A34). So where an offset is skipped it is asked where the log begins: what lies before it is counted, and said as an
error. Offsets that compaction or a transaction leaves out lie behind it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from failsoft.kafka import private
from failsoft.kafka.backlog import Backlog
from failsoft.kafka.clients import close_consumer, connected_consumer
from failsoft.kafka.connection import Connection
from failsoft.kafka.listener import Fetched, InboxListener
from failsoft.kafka.pull import Pull
from failsoft.policy.errors import EnvironmentFailure
from failsoft.policy.request import ClassName, RecordId

log = logging.getLogger(__name__)

APPEND_TIME = 1
"""Kafka's timestamp type for LogAppendTime."""
OPTIONS = {
    "fetch_max_wait_ms": 100,  # a partition drained while others are being waited for is asked for again after this
    "max_partition_fetch_bytes": 256 * 1024,  # bounds what one partition may hold up, and the memory
    "metadata_max_age_ms": 60_000,
}
POLL_MS = 500
"""How long one pull waits for records; a room that shrinks meanwhile is noticed after it."""
HAND_OVER_RECORDS = 20
"""Handed over at once, of all classes of a stage; between two batches the event loop does what else is due. 2,000 in one go held
it for .9 s on a busy machine: the first calls, of 40 ms, were seen to end only then, and the breaker opened for slow calls. 100
still did."""
IDLE_SECONDS = 1.0
"""How often the backlog is looked up while nothing is pulled."""
STALL_SECONDS = 15.0
"""Longer than a leader election; records that are there and do not come for so long are not on their way."""
END_SECONDS = 5.0
RETRY_SECONDS = 0.5


class Fetcher:
    """The records of one class of one stage.

    Args:
        connection: where the cluster is.
        request_class: whose records these are.
        topic: where they are.
        taker: who takes them.
        wall_clock: epoch seconds, as near to the broker's clock as is known; ages are measured by it.
        stall_seconds: when a client that brings nothing is replaced.
        classes: how many have a fetcher here. In one turn of the event loop each may hand over.
        on_deleted: takes how many records were deleted before they were read.
        on_made_anew: takes the numbers of partitions whose log begins again; they have to be lost before it returns.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        request_class: ClassName,
        topic: str,
        taker: InboxListener,
        wall_clock: Callable[[], float] = time.time,
        stall_seconds: float = STALL_SECONDS,
        classes: int = 1,
        on_deleted: Callable[[int], None] = lambda _: None,
        on_made_anew: Callable[[frozenset[int]], None] = lambda _: None,
    ) -> None:
        self._connection = connection
        self._class = request_class
        self._topic = topic
        self._taker = taker
        self._wall_clock = wall_clock
        self._stall_seconds = stall_seconds
        self._at_once = max(1, HAND_OVER_RECORDS // classes)
        self._on_deleted = on_deleted
        self._on_made_anew = on_made_anew
        self._consumer: AIOKafkaConsumer = None
        self._assignments: dict[int, int] = {}
        self._positions: dict[int, int] = {}
        self._backlog = Backlog()
        self._pulls = Pull()
        self._moved_at = 0.0
        self._woken = asyncio.Event()
        self._is_given_up = False
        self.turns = 0
        """How often there was nothing to bring, or something was brought: what a watchdog looks at."""

    async def start(self) -> None:
        """Connect. Nothing is fetched before something is gained."""
        self._consumer = await connected_consumer(self._connection, **OPTIONS)

    async def stop(self) -> None:
        """Close the connection."""
        if self._consumer is not None:
            await close_consumer(self._consumer)

    def gain(self, positions: Mapping[int, int], assignment: int) -> None:
        """Begin with these partition numbers at these offsets."""
        self._remember_positions()
        self._positions |= positions
        self._assignments |= dict.fromkeys(positions, assignment)
        self._assign()

    def lose(self, numbers: Collection[int]) -> None:
        """Drop these; no record of them is handed over any more."""
        self._remember_positions()
        for number in numbers:
            for known in (self._positions, self._assignments):
                known.pop(number, None)
            self._backlog.forget(number)
        self._assign()

    def wake(self) -> None:
        """Look at the room again."""
        self._woken.set()

    def give_up(self) -> None:
        """Replace the client at the next turn, whatever it says of itself."""
        self._is_given_up = True
        self._woken.set()

    async def fetch_forever(self) -> None:
        """Hand records over as long as there is room, and tell the backlog."""
        self._moved_at = time.monotonic()
        while True:
            self._woken.clear()
            try:
                await self._turn()
            except (KafkaError, TimeoutError) as error:
                log.warning("fetching %s goes on after: %r", self._topic, error)
                await asyncio.sleep(RETRY_SECONDS)
            if self._is_given_up:
                self._is_given_up = False
                await self._replace()
            await asyncio.sleep(0)  # a pull of what has been fetched already does not wait

    async def _turn(self) -> None:
        """Pull what there is room for, or wait for room; look closer where nothing has come for long."""
        before = self._moved_at
        room = self._taker.room(self._class) if self._positions else 0
        if room > 0:
            await self._pull(room)
        else:
            await self._idle()
        self.turns += self._moved_at != before or not self._backlog.records(self._positions)
        if time.monotonic() - self._moved_at > self._stall_seconds:
            await self._look_into_stall()

    async def _pull(self, room: int) -> None:
        """Take what is there, or wait for it a little."""
        at_most = min(room, self._at_once)
        pulled = await self._pulls.take(self._consumer, timeout_ms=POLL_MS, max_records=at_most, reached=self._reached)
        # No await from here to the hand-over: what was taken is handed over under the assignment it was taken in.
        anew = self._made_anew(pulled.records)
        batch = [self._stand_in(tp.partition, offset) for tp, offset in pulled.passed.items()]
        batch += [
            self._fetched(each) for tp, found in pulled.records.items() if tp.partition not in anew for each in found
        ]
        before = dict(self._positions)
        self._remember_positions()
        for number in self._positions:
            self._backlog.seen_end(number, self._consumer.highwater(self._place(number)))
        if batch:
            self._moved_at = time.monotonic()
            self._backlog.taken(min(record.timestamp for record in batch))
            self._taker.records(batch)
        if anew:
            self._on_made_anew(anew)
            return
        self._report()
        if skipped := self._skipped(before, batch):
            await self._count_deleted(skipped)

    def _made_anew(self, taken: Mapping[TopicPartition, Sequence[Any]]) -> frozenset[int]:
        """Partition numbers whose log begins again: an offset below the one that came next, where none goes back by itself."""
        reached = {number: private.position(self._consumer, self._place(number)) for number in self._positions}
        reached |= {tp.partition: found[0].offset for tp, found in taken.items()}
        return frozenset(
            number for number, offset in reached.items() if offset is not None and offset < self._positions[number]
        )

    def _skipped(self, before: Mapping[int, int], batch: Collection[Fetched]) -> dict[int, int]:
        """Partition numbers whose next offset was left out, with that offset."""
        found = {}
        for number, offset in before.items():
            first = next((each.record.offset for each in batch if each.record.number == number), None)
            if offset < (self._positions.get(number, offset) if first is None else first):
                found[number] = offset
        return found

    async def _count_deleted(self, skipped: Mapping[int, int]) -> None:
        async with asyncio.timeout(END_SECONDS):
            beginnings = await self._consumer.beginning_offsets([self._place(number) for number in skipped])
        for place, beginning in beginnings.items():
            deleted = beginning - skipped[place.partition]
            if deleted > 0:
                log.error("%s-%d: %d records were deleted before they were read", *place, deleted)
                self._on_deleted(deleted)

    def _stand_in(self, number: int, offset: int) -> Fetched:
        """Put an empty record in the place of one that cannot be decoded.

        It gets its end as a malformed request; skipped it would be lost, and read again it would block its partition.
        """
        return Fetched(
            record=RecordId(self._class, number, offset),
            topic=self._topic,
            assignment=self._assignments[number],
            timestamp=self._wall_clock(),
            is_append_time=False,
            key=None,
            value=None,
            headers=(),
            size_bytes=0,
        )

    def _reached(self) -> dict[TopicPartition, int]:
        return {self._place(number): position for number, position in self._positions.items()}

    async def _idle(self) -> None:
        """Wait until there is room, and keep an eye on the log meanwhile."""
        self._moved_at = time.monotonic()
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                await self._woken.wait()
        except TimeoutError:
            await self._look_up_ends()
            self._report()

    def _report(self) -> None:
        self._taker.backlog(self._class, *self._backlog.told(self._positions, now=self._wall_clock()))

    async def _look_up_ends(self) -> None:
        """Ask for the ends of the log: fetches bring them only as long as something is pulled."""
        if not self._positions:
            return
        async with asyncio.timeout(END_SECONDS):
            ends = await self._consumer.end_offsets([self._place(number) for number in self._positions])
        for place, end in ends.items():
            if place.partition in self._positions:  # it may have been lost meanwhile
                self._backlog.seen_end(place.partition, end)

    async def _look_into_stall(self) -> None:
        """Replace a client that brings nothing although there is something; with the broker gone there is nothing to know."""
        self._moved_at = time.monotonic()
        try:
            await self._look_up_ends()
        except (KafkaError, TimeoutError):
            return
        room, before = self._taker.room(self._class), self._moved_at
        if room > 0 and self._backlog.records(self._positions):
            await self._pull(room)
            if self._moved_at == before:
                log.error("%s: nothing came in %.0f s although there is something", self._topic, self._stall_seconds)
                await self._replace()

    async def _replace(self) -> None:
        """Go on with a new client, from where this one has got to."""
        await close_consumer(self._consumer)
        while True:
            try:
                await self.start()
            except EnvironmentFailure as error:
                log.warning("fetching %s still without a broker: %s", self._topic, error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._assign()
                return

    def _assign(self) -> None:
        """Set the client's partitions and positions, with no await between."""
        self._consumer.assign([self._place(number) for number in self._positions])
        for number, position in self._positions.items():
            self._consumer.seek(self._place(number), position)
        self._woken.set()

    def _remember_positions(self) -> None:
        """Take over how far the client has read, past gaps and markers too; never back, which is looked into apart."""
        for number, before in self._positions.items():
            position = private.position(self._consumer, self._place(number))
            if position is not None:
                self._positions[number] = max(before, position)

    def _fetched(self, record: Any) -> Fetched:
        headers = tuple([(name, value or b"") for name, value in record.headers])
        size_bytes = len(record.key or b"") + len(record.value or b"")
        for name, value in headers:
            size_bytes += len(name) + len(value)
        return Fetched(
            record=RecordId(self._class, record.partition, record.offset),
            topic=record.topic,
            assignment=self._assignments[record.partition],
            timestamp=record.timestamp / 1000,
            is_append_time=record.timestamp_type == APPEND_TIME,
            key=record.key,
            value=record.value,
            headers=headers,
            size_bytes=size_bytes,
        )

    def _place(self, number: int) -> TopicPartition:
        return TopicPartition(self._topic, number)
