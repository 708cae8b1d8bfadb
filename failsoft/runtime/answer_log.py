"""One stage's share in the log of answers: what its calls answer goes in, and what stands there comes out for its partitions.

Nothing waits for it. An answer is sent once, for five seconds at most; while more than 8 MiB are under way the next ones are
left out. Whoever misses one calls the model again, so nothing is lost by that, and no offset hangs on it.

What others wrote is taken for this stage only, and only of a tier that this worker has as well, at the same level, with the same
revision of its model: during a rollout old and new workers do not serve each other's answers. What no result could carry is left
out, too: served from here it would end requests that a model could answer.

Source: DESIGN.md §8; research/reliability.md H19, H20.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum

import structlog
from prometheus_client import Counter

from failsoft.catalogue import pipeline_topic
from failsoft.endpoints import Output
from failsoft.kafka import OutboxClosed, RecordRefused, ViewRecord
from failsoft.pipeline import Stage
from failsoft.policy.answer import Answer
from failsoft.policy.errors import ConfigurationError, MalformedRecord
from failsoft.policy.events import AnswerDeleted, AnswerSeen
from failsoft.policy.request import Partition
from failsoft.runtime.broker_clock import BrokerClock
from failsoft.runtime.clock import Clock
from failsoft.runtime.ports import OutboxPort, ViewPort
from failsoft.wire import Record
from failsoft.wire.answer import LoggedAnswer, answer_name, decode_answer, encode_answer

log = structlog.get_logger("failsoft.answers")

SEND_SECONDS = 5.0
"""For one answer: as for replies, it gates nothing, so it must not pile up."""
LAST_SECONDS = 1.0
"""For what is under way when the worker ends: as its results have it."""
UNDER_WAY_BYTES = 8 * 1024 * 1024
"""Of answers being sent. At 2 KiB that is 4,000, more than one worker gives in the 30 ms that an acknowledgement takes."""


class Written(StrEnum):
    """What became of an answer that a call gave."""

    WRITTEN = "written"
    TOO_LARGE = "too_large"
    BEHIND = "behind"
    """Too much was under way."""
    FAILED = "failed"
    """The broker did not take it, or not in time."""


class Read(StrEnum):
    """What became of a record in the log."""

    TAKEN = "taken"
    """It was news to this worker or not, that the machine decides."""
    DELETED = "deleted"
    FOREIGN = "foreign"
    """Of another stage, or of a tier, a level or a revision that this worker does not have."""
    MALFORMED = "malformed"


class AnswerLog:
    """Writes and reads the log of answers for one stage.

    Args:
        stage: whose answers they are.
        view: reads the log; its records go to ``take``.
        outbox: writes it.
        clock: says when an answer was given.
        hear: takes what the log says, one event at a time, and the body of an answer beside it.
        written: counts, by stage and fate, what was to be written.
        read: counts records, likewise.
    """

    def __init__(
        self,
        stage: Stage,
        *,
        view: ViewPort,
        outbox: OutboxPort,
        clock: Clock,
        hear: Callable[[AnswerSeen | AnswerDeleted, Output | None], None],
        written: Counter,
        read: Counter,
    ) -> None:
        self._stage = stage
        self._topic = pipeline_topic(stage.pipeline, "answers")
        self._tiers = {tier.settings.name: (tier.settings.level, tier.revision) for tier in stage.tiers}
        self._view, self._outbox = view, outbox
        self._broker_clock = BrokerClock(clock.wall, outbox)
        self._hear = hear
        self._written, self._read = written, read
        self._bytes = 0
        self._sending: set[asyncio.Task[None]] = set()
        self._is_failing = False

    # Reading.

    def gain(self, partitions: Iterable[Partition]) -> None:
        """These belong to this worker from here on."""
        self._view.gain({partition.number for partition in partitions})

    def lose(self, partitions: Iterable[Partition]) -> None:
        """These do no longer."""
        self._view.lose({partition.number for partition in partitions})

    def take(self, records: Sequence[ViewRecord]) -> None:
        """Pass on what records say to this stage."""
        for record in records:
            try:
                self._take(record)
            except MalformedRecord as error:
                log.warning("answer_malformed", partition=record.partition, offset=record.offset, error=str(error))
                self._count_read(Read.MALFORMED)

    def _take(self, record: ViewRecord) -> None:
        if record.value is None:
            deleted = AnswerDeleted(answer_name(record.key))
            self._count_read(Read.DELETED)
            return self._hear(deleted, None)
        answer = decode_answer(record.key, record.headers, record.value)
        if answer.stage != self._stage.name or self._tiers.get(answer.tier) != (answer.name.level, answer.revision):
            return self._count_read(Read.FOREIGN)
        self._count_read(Read.TAKEN)
        return self._hear(_seen(answer, record), Output(answer.body, region=answer.region))

    def _count_read(self, fate: Read) -> None:
        self._read.labels(self._stage.name, fate.value).inc()

    # Writing.

    def write(self, answer: Answer, output: Output) -> None:
        """Have the others know what a call has just answered. Returns at once."""
        try:
            record = self._encoded(answer, output)
        except MalformedRecord:
            return self._count_written(Written.TOO_LARGE)
        if self._bytes + record.size_bytes > UNDER_WAY_BYTES:
            return self._count_written(Written.BEHIND)
        self._bytes += record.size_bytes
        task = asyncio.get_running_loop().create_task(self._send(record, answer.number))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        return None

    def _count_written(self, fate: Written) -> None:
        self._written.labels(self._stage.name, fate.value).inc()

    # Both.

    async def failed(self) -> None:
        """Wait until reading ends on an error that is a bug, and raise it."""
        await self._view.failed()

    async def close(self) -> None:
        """Read no more; what is under way has a second left."""
        await asyncio.gather(self._view.stop(), self._finish_sending())

    def _encoded(self, answer: Answer, output: Output) -> Record:
        level, revision = self._tiers[answer.tier]
        if level != answer.name.level or not isinstance(output.body, bytes):
            raise ValueError(
                f"an answer of {answer.tier} was kept at a level that is not its own, or before it was written"
            )
        logged = LoggedAnswer(
            name=answer.name,
            stage=self._stage.name,
            tier=answer.tier,
            revision=revision,
            produced_at=self._broker_clock.wall(),
            fresh_seconds=answer.fresh_seconds,
            region=output.region,
            body=output.body,
        )
        return encode_answer(logged, pipeline=self._stage.pipeline)

    async def _finish_sending(self) -> None:
        if self._sending:
            await asyncio.wait(self._sending, timeout=LAST_SECONDS)
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    async def _send(self, record: Record, number: int) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._outbox.send(
                    self._topic, key=record.key, value=record.value, headers=record.headers, partition=number
                )
        except (TimeoutError, RecordRefused, OutboxClosed, ConfigurationError) as error:
            self._count_written(Written.FAILED)
            self._note_failure(error)
        else:
            self._count_written(Written.WRITTEN)
            self._is_failing = False
        finally:
            self._bytes -= record.size_bytes

    def _note_failure(self, error: Exception) -> None:
        """Say once that answers are not shared, until one is again: an outage would say it of each."""
        if not self._is_failing:
            log.warning("answers_not_shared", topic=self._topic, error=repr(error))
        self._is_failing = True


def _seen(answer: LoggedAnswer, record: ViewRecord) -> AnswerSeen:
    """Its age is reckoned by the broker's clock; one that says it was given after its append was given then."""
    age_seconds = record.age_seconds + max(0.0, record.appended_at - answer.produced_at)
    return AnswerSeen(answer.name, record.partition, answer.tier, len(answer.body), age_seconds, answer.fresh_seconds)
