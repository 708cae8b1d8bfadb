"""Sends records until the broker has them, whatever happens to it meanwhile.

The producer is idempotent and waits for all replicas. What it leaves open is decided here:

* **A timeout means unknown, never "not sent"**: in every broker fault tried, what timed out had been written later
  (research/kafka.md §5). So the wait goes on with the same record as long as the producer is healthy.
* **The producer is replaced** when it cannot heal: after an error that it does not retry (its sequence numbers then have
  a hole, and a real broker refuses all that follows: reliability.md A19), when its sending task is gone (A30), or when one
  record stays unanswered for 30 s. All that was unanswered is sent again by the next one, so the log may have
  repeats; readers take the first (results.py).
* **A record that the broker will never take** is the record's fault, RecordRefused. The broker refuses whole batches, so a
  topic must take batches of 128 KiB, or small neighbours of a large record are refused with it.
* **A topic that is not there** is waited for half a minute, then the send fails and says so (missing.py).
* **Closing is bounded**: aiokafka's own ``stop()`` waits for the broker for ever (A18).

Cancelling ``send`` ends the wait; the record may be written all the same.
"""

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTopicError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    UnknownTopicOrPartitionError,
)

from failsoft.kafka import private
from failsoft.kafka.clients import unreachable
from failsoft.kafka.connection import Connection
from failsoft.kafka.duty import Duty, DutyKind
from failsoft.kafka.logs import hold_back_aiokafka
from failsoft.kafka.missing import MISSING_SECONDS, Search
from failsoft.policy.clock_offset import ClockOffset
from failsoft.policy.errors import EnvironmentFailure, FailsoftError
from failsoft.policy.watchdog import Sight

log = logging.getLogger(__name__)

OPTIONS = {
    "acks": "all",
    "enable_idempotence": True,
    "linger_ms": 0,  # lingering 5 ms cost 10 ms end to end; under load batches form by themselves
    "max_batch_size": 128 * 1024,
    "max_request_size": 4 * 1024 * 1024,  # the topics of results take as much
    "request_timeout_ms": 5_000,
    "retry_backoff_ms": 250,
}
ATTEMPT_SECONDS = 10.0
"""After this the producer's health is looked at; one request takes 5 s at most, so two have failed."""
UNANSWERED_SECONDS = 30.0
"""A killed broker is back in 14 to 17 s; a record that waits twice as long waits for a producer that is stuck."""
PAUSES_SECONDS = (0.25, 0.5, 1.0, 2.0, 5.0)
CLOSE_SECONDS = 5.0
APPEND_TIME = 1

_RECORDS_FAULT = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidTopicError)


class RecordRefused(FailsoftError):  # noqa: N818 - the record is refused, not the sender in error
    """The broker will never take this record as it is: too large, or no such topic name is possible."""


class OutboxClosed(FailsoftError):  # noqa: N818 - named by what happened
    """The outbox was closed before the record was acknowledged. Whether it was written is unknown."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Where the record stands now.

    Attributes:
        partition: its partition.
        offset: its offset; -1 if the broker only remembers that it has the record.
        appended_at: the broker's time of append, epoch seconds; None where the topic keeps the sender's time.
    """

    partition: int
    offset: int
    appended_at: float | None


@dataclass(frozen=True, slots=True)
class _Record:
    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    partition: int | None


@dataclass(eq=False, slots=True)
class _Wait:
    """Somebody who waits for the answer of a producer: in which task, since when, and whether it was told to go."""

    task: "asyncio.Task[Any]"
    began_at: float
    is_told: bool = False


@dataclass(eq=False, slots=True)
class _Line:
    """One producer, who waits for its answers, oldest first, and whether it has been given up."""

    producer: AIOKafkaProducer
    awaited: dict[_Wait, None] = field(default_factory=dict)
    is_given_up: bool = False
    look: asyncio.TimerHandle | None = None
    emptied: asyncio.Event = field(default_factory=asyncio.Event)
    """Nobody waits any more. Set only while the outbox is being closed."""


class _NotSent(Exception):  # noqa: N818 - never leaves this module
    """Not written, or unknown and the producer given up: send it again."""


class _NoTopic(_NotSent):
    """Not written: the topic's metadata is not there. Whether a broker says so, or none answers, is not known yet."""


class Outbox:
    """What one process sends.

    Args:
        connection: where the cluster is.
        attempt_seconds: how often the producer's health is looked at while a record waits.
        unanswered_seconds: how long a record may wait before the producer counts as stuck.
        missing_seconds: how long a topic that brokers do not know is waited for.
        wall_clock: epoch seconds, as this process reads them, right or wrong: what the broker's clock is measured against.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        attempt_seconds: float = ATTEMPT_SECONDS,
        unanswered_seconds: float = UNANSWERED_SECONDS,
        missing_seconds: float = MISSING_SECONDS,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._connection = connection
        self._attempt_seconds = attempt_seconds
        self._unanswered_seconds = unanswered_seconds
        self._missing_seconds = missing_seconds
        self._wall_clock = wall_clock
        self._line: _Line | None = None
        self._connecting = asyncio.Lock()
        self._closed = asyncio.Event()
        self._clearing: set[asyncio.Task[None]] = set()
        self.clock_offset = ClockOffset()
        """The broker's clock against ours, from every acknowledgement."""
        self._began: dict[int, float] = {}
        """Records that are being sent, the oldest first, and since when."""
        self._numbers = itertools.count()
        self.acknowledged = 0
        """Records that the broker has, since the start."""
        self.replaced = 0
        """Producers that were given up before the close."""

    async def start(self) -> None:
        """Connect; raises EnvironmentFailure when no broker answers."""
        self._line = await self._connected()

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
            RecordRefused: the broker will never take it.
            OutboxClosed: the outbox was closed first.
            ConfigurationError: brokers answer, and have not known the topic for ``missing_seconds``.
        """
        record = _Record(topic, key, value, tuple(headers), partition)
        number = next(self._numbers)
        self._began[number] = time.monotonic()
        try:
            acknowledged = await self._send_until_acknowledged(record)
        finally:
            del self._began[number]
        self.acknowledged += 1
        return acknowledged

    @property
    def unanswered(self) -> int:
        """Records that are being sent."""
        return len(self._began)

    @property
    def waited_seconds(self) -> float:
        """How long the oldest of them has waited, whoever is to blame; 0 where there is none."""
        return time.monotonic() - next(iter(self._began.values())) if self._began else 0.0

    def duty(self) -> Duty:
        """What a watchdog looks at: whether anything is acknowledged while something is being sent."""
        return Duty(
            DutyKind.SEND,
            "no record was acknowledged although some are being sent",
            lambda: Sight(is_due=self.unanswered > 0, done=self.acknowledged),
            self.replace,
        )

    def replace(self) -> None:
        """Give the producer up, whatever it says of itself. What it had not answered is sent again by the next one."""
        if self._line is not None:
            self._give_up(self._line)

    async def close(self, *, timeout_seconds: float = CLOSE_SECONDS) -> None:
        """Take no more, wait a while for what is unanswered, and close. Ends soon with the broker gone too."""
        self._closed.set()
        if self._line is not None:
            if self._line.awaited:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout_seconds):
                        await self._line.emptied.wait()
            self._give_up(self._line)
        if self._clearing:
            await asyncio.wait(self._clearing)

    async def _send_until_acknowledged(self, record: _Record) -> Acknowledged:
        search: Search | None = None
        for pause_seconds in itertools.chain(PAUSES_SECONDS, itertools.repeat(PAUSES_SECONDS[-1])):
            try:
                return await self._send_once(self._healthy_line() or await self._next_line(), record)
            except _NotSent as error:
                log.warning("sending to %s again: %s", record.topic, error)
                if isinstance(error, _NoTopic):
                    search = search or Search(self._connection, record.topic, patience_seconds=self._missing_seconds)
                    await search.look()
            await self._pause(pause_seconds)
        raise AssertionError  # the pauses have no end

    async def _send_once(self, line: _Line, record: _Record) -> Acknowledged:
        """Send on this producer, and wait until it answers or is given up.

        Who waits is told by being cancelled, as ``asyncio.timeout`` does it: a task of its own and a timer for each record took a
        tenth of a worker's time.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("records are sent from a task")
        cancels, wait = task.cancelling(), _Wait(task, asyncio.get_running_loop().time())
        line.awaited[wait] = None
        try:
            return await self._deliver(line, record)
        except asyncio.CancelledError:
            if wait.is_told:
                task.uncancel()
            if task.cancelling() > cancels:
                raise
            raise _NotSent("its producer gave no answer; whether it was written is unknown") from None
        finally:
            del line.awaited[wait]
            if self._closed.is_set() and not line.awaited:
                line.emptied.set()

    def _look_after(self, line: _Line) -> None:
        """Give the producer up if it cannot answer any more, or has left a record unanswered for too long; else look again."""
        loop = asyncio.get_running_loop()
        left = self._unanswered_seconds
        if line.awaited:
            left -= loop.time() - next(iter(line.awaited)).began_at
            if left <= 0 or not private.sender_is_alive(line.producer):
                self._give_up(line)
                return
        line.look = loop.call_later(min(self._attempt_seconds, left), self._look_after, line)

    async def _deliver(self, line: _Line, record: _Record) -> Acknowledged:
        """Hand the record to the producer, await its future, and judge what comes back."""
        sent_at, began = self._wall_clock(), time.monotonic()
        try:
            await self._check_partition(line, record)
            future = await line.producer.send(
                record.topic,
                value=record.value,
                key=record.key,
                headers=list(record.headers),
                partition=record.partition,
            )
        except _RECORDS_FAULT as error:
            raise RecordRefused(f"{record.topic}: {error}") from error
        except KafkaTimeoutError as error:  # before the record has a sequence number, so there is no hole
            raise _NotSent(f"the producer has no room: {error!r}") from error
        except UnknownTopicOrPartitionError as error:
            raise _NoTopic("no broker has told of the topic") from error
        except KafkaError as error:
            raise self._sickness(line, error) from error
        try:
            metadata = await future
        except _RECORDS_FAULT as error:
            self._give_up(line)  # the refused batch has left a hole in the sequence
            raise RecordRefused(f"{record.topic}: {error}") from error
        except KafkaError as error:
            raise self._sickness(line, error) from error
        if metadata.timestamp_type != APPEND_TIME:
            return Acknowledged(metadata.partition, metadata.offset, None)
        appended_at, now = metadata.timestamp / 1000, time.monotonic()
        self.clock_offset.observe(sent_at=sent_at, appended_at=appended_at, acked_at=sent_at + now - began, now=now)
        return Acknowledged(metadata.partition, metadata.offset, appended_at)

    async def _check_partition(self, line: _Line, record: _Record) -> None:
        """Partitions are added while others know of them already; aiokafka would call that a bug of ours."""
        if record.partition is not None and record.partition not in await line.producer.partitions_for(record.topic):
            raise _NotSent(f"no broker has told of its partition {record.partition}")

    def _sickness(self, line: _Line, error: KafkaError) -> _NotSent:
        """Give the producer up for an error that it does not retry itself."""
        self._give_up(line)
        return _NotSent(f"the producer failed and is replaced: {error!r}")

    def _give_up(self, line: _Line) -> None:
        """Wake whoever waits for an answer of this producer, and clear it away."""
        if line.is_given_up:
            return
        line.is_given_up = True
        self.replaced += not self._closed.is_set()
        if line.look is not None:
            line.look.cancel()
        for wait in line.awaited:
            if wait.task is not asyncio.current_task():
                wait.is_told = wait.task.cancel()
        clearing = asyncio.create_task(private.abandon_producer(line.producer))
        self._clearing.add(clearing)
        clearing.add_done_callback(self._clearing.discard)

    def _healthy_line(self) -> _Line | None:
        """Return the producer in use, unless it was given up."""
        is_usable = self._line is not None and not self._line.is_given_up and not self._closed.is_set()
        return self._line if is_usable else None

    async def _next_line(self) -> _Line:
        """Replace the producer that was given up; one caller makes the new one, the others wait for it."""
        async with self._connecting:
            while not self._closed.is_set():
                if line := self._healthy_line():
                    return line
                try:
                    self._line = await self._connected()
                except EnvironmentFailure as error:
                    log.warning("still no producer: %s", error)
                    await self._pause(PAUSES_SECONDS[0])
        raise OutboxClosed("the outbox was closed before the record was acknowledged")

    async def _connected(self) -> _Line:
        hold_back_aiokafka()
        producer = private.tidy(AIOKafkaProducer(**self._connection.client_options() | OPTIONS))
        try:
            async with asyncio.timeout(self._attempt_seconds):
                await producer.start()
        except BaseException as error:
            await private.abandon_producer(producer)
            if isinstance(error, KafkaError | TimeoutError):
                raise unreachable(self._connection, error) from error
            raise
        if self._closed.is_set():
            await private.abandon_producer(producer)
            raise OutboxClosed("the outbox was closed while it connected")
        line = _Line(producer)
        self._look_after(line)
        return line

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closed.wait()
