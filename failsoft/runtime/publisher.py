"""The end of a record, written until it is acknowledged: its result, before it a dead letter, after it a reply.

An answer of a stage with a next one is no end: it goes on as that one's request (:mod:`failsoft.runtime.forwarding`), and the
record is done when the broker has that. Every other end is final, in whichever stage it comes.

Only the record in ``<pipeline>.results`` (and the dead letter, where there is one) gates the offset. A reply to a topic that
the sender named is one bounded attempt, and only to topics that topics.yaml allows: a free reply topic would let any sender
write anywhere.

A dead letter that its topic refuses, or an end that fits every topic and is refused all the same, means that somebody has set the
topic wrong. Giving it up would lose it, and so would ending the worker, which the record would end again. So it waits, its
offset uncommitted, and is tried again until the topic is mended; each attempt is logged as an error.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import structlog

from failsoft.catalogue import dead_letters_topic, results_topic
from failsoft.endpoints import Output, RequestRefused
from failsoft.kafka import RecordRefused
from failsoft.policy.errors import MalformedRecord
from failsoft.policy.outcome import Ending, Outcome, Reason
from failsoft.runtime.bodies import End
from failsoft.runtime.clock import Clock
from failsoft.runtime.forwarding import Forwarder
from failsoft.runtime.held import Held
from failsoft.runtime.ports import OutboxPort
from failsoft.wire import Record
from failsoft.wire.dead_letter import DeadLetter, encode_dead_letter
from failsoft.wire.identity import Identity, result_id
from failsoft.wire.result import encode_result

log = structlog.get_logger("failsoft.publisher")

REPLY_SECONDS = 5.0
"""For one reply: it gates nothing, so it must not pile up either."""

REFUSED_SECONDS = 5.0
"""Between two attempts at a topic that is set wrong: a person mends it, in minutes."""

MESSAGES = {
    Reason.DEADLINE_PASSED: "the deadline passed before a tier could serve the request",
    Reason.DEADLINE_SHORT: "the time that was left on arrival fits no tier",
    Reason.QUEUE_LONG: "no tier had a free permit while there was time",
    Reason.ENDPOINT_TIMEOUT: "every tier that could be in time was called in vain; the last did not answer in its window",
    Reason.ENDPOINT_ERROR: "every tier that could be in time was called in vain; the last one failed",
    Reason.ENDPOINT_BACKPRESSURE: "every tier that could be in time was called in vain; the last one was busy",
    Reason.ANSWER_UNUSABLE: "the model's answer cannot be put into a result: no JSON, or too large",
    Reason.CONTEXT_INCOMPLETE: "parts of the context are missing, and no tier that the request accepts can do without them",
    Reason.FLOOR: "only tiers below the lowest acceptable level were left",
    Reason.OVERLOADED: "more waits than can be served in time; send it again later",
    Reason.REQUEST_REFUSED: "the model does not take this request",
    Reason.POISON: "three workers have ended while they ran it; it is not tried again",
}
"""What a result without an answer tells people; the reason is for machines."""


class RecordKind(StrEnum):
    """What a record is that a topic may not take: a label of metrics."""

    RESULT = "result"
    DEAD_LETTER = "dead_letter"
    REPLY = "reply"


class Publisher:
    """Publishes the ends of one stage.

    Args:
        outbox: to the cluster.
        pipeline: whose results they are.
        stage: in which they end.
        reply_topics: where replies may go.
        clock: for the result's time.
        refused: is told of each attempt that a topic refuses although nothing is wrong with the record.
        forwarders: who writes the request for the stage that follows, by the stage that answered; a last stage has none.
    """

    def __init__(
        self,
        outbox: OutboxPort,
        *,
        pipeline: str,
        stage: str,
        reply_topics: frozenset[str],
        clock: Clock,
        refused: Callable[[RecordKind], None],
        forwarders: Mapping[str, Forwarder] = MappingProxyType({}),
    ) -> None:
        self._outbox = outbox
        self._pipeline = pipeline
        self._stage = stage
        self._reply_topics = reply_topics
        self._clock = clock
        self._refused = refused
        self._forwarders = forwarders

    async def publish(self, held: Held, ending: Ending, end: End, *, shared_with: Identity | None = None) -> Ending:
        """Publish the end of a record and return when it is acknowledged.

        Args:
            held: the record.
            ending: how it ended.
            end: what its last call ended with, or an answer that needed none.
            shared_with: the request whose call it was, where it was another's.

        Returns:
            How it really ended: an answer that fits no result makes it fail.
        """
        if ending.dead_letter:
            letter = encode_dead_letter(self._dead_letter(held, ending.reason))
            await self._send_until_taken(RecordKind.DEAD_LETTER, dead_letters_topic(self._pipeline), letter)
        forwarder = self._forwarders.get(ending.stage or self._stage)
        if forwarder is not None and isinstance(end, Output) and ending.outcome is Outcome.OK:
            if await self._hand_on(forwarder, held, ending, end):
                return ending
            ending, record = self._unusable(held, ending)
        else:
            ending, record = self._result(held, ending, end, shared_with)
        try:
            await self._send(results_topic(self._pipeline), record)
        except RecordRefused:
            ending, record = self._unusable(held, ending)
            await self._send_until_taken(RecordKind.RESULT, results_topic(self._pipeline), record)
        await self._reply(held, record)
        return ending

    async def _hand_on(self, forwarder: Forwarder, held: Held, ending: Ending, output: Output) -> bool:
        """Send it to the next stage; False where that would not take it, by its contract or by the size of its topic."""
        if held.line is None:
            raise ValueError("a request is handed on with its body")
        try:
            record = forwarder.record(held, held.line, ending, output)
            await self._send(forwarder.topic(held.request_class), record)
        except (MalformedRecord, RecordRefused) as error:
            log.warning("answer_not_handed_on", stage=self._stage, error=str(error))
            return False
        return True

    async def _send(self, topic: str, record: Record) -> None:
        await self._outbox.send(topic, key=record.key, value=record.value, headers=record.headers)

    async def _send_until_taken(self, kind: RecordKind, topic: str, record: Record) -> None:
        while True:
            try:
                return await self._send(topic, record)
            except RecordRefused as error:
                self._refused(kind)
                log.error("topic_refuses", topic=topic, error=str(error), next_attempt_seconds=REFUSED_SECONDS)
            await asyncio.sleep(REFUSED_SECONDS)

    async def _reply(self, held: Held, record: Record) -> None:
        topic = held.envelope.reply_to
        if topic is None or topic not in self._reply_topics:
            return
        try:
            async with asyncio.timeout(REPLY_SECONDS):
                await self._send(topic, record)
        except (TimeoutError, RecordRefused):
            self._refused(RecordKind.REPLY)
            log.warning("reply_lost", topic=topic)

    def _result(self, held: Held, ending: Ending, end: End, shared_with: Identity | None) -> tuple[Ending, Record]:
        body: bytes | Mapping[str, Any] | None = None
        status_code: int | None = None
        region: str | None = None
        message = MESSAGES.get(ending.reason)
        match end:
            case Output():
                body, region = end.body, end.region
            case RequestRefused():
                message, status_code = str(end), end.status_code
        if held.malformed is not None:
            message = str(held.malformed)
        if held.context is not None and ending.reason is Reason.CONTEXT_INCOMPLETE:
            message = f"{message}: {held.context.at(self._clock.wall())}"
        try:
            record = self._encoded(
                held,
                ending,
                body=body,
                message=message,
                status_code=status_code,
                region=region,
                shared_with=shared_with,
            )
        except MalformedRecord:
            return self._unusable(held, ending)
        return ending, record

    def _unusable(self, held: Held, ending: Ending) -> tuple[Ending, Record]:
        failed = replace(ending, outcome=Outcome.FAILED, reason=Reason.ANSWER_UNUSABLE, tier=None, level=None)
        return failed, self._encoded(held, failed, message=MESSAGES[failed.reason])

    def _encoded(
        self,
        held: Held,
        ending: Ending,
        *,
        body: bytes | Mapping[str, Any] | None = None,
        message: str | None = None,
        status_code: int | None = None,
        region: str | None = None,
        shared_with: Identity | None = None,
    ) -> Record:
        return encode_result(
            ending,
            held.envelope,
            pipeline=self._pipeline,
            published_at=self._clock.wall(),
            custom_id=held.custom_id,
            body=body,
            message=message,
            status_code=status_code,
            region=region,
            coalesced_with=None
            if shared_with is None or shared_with == held.envelope.identity
            else result_id(shared_with),
            context_state=None if held.context is None else str(held.context.at(self._clock.wall())),
            stage=ending.stage or self._stage,
        )

    def _dead_letter(self, held: Held, reason: Reason) -> DeadLetter:
        fetched, malformed = held.fetched, held.malformed
        if fetched is None:
            raise ValueError("a record becomes a dead letter when it arrives, or never: it is not kept whole")
        return DeadLetter(
            topic=fetched.topic,
            partition=fetched.record.number,
            offset=fetched.record.offset,
            stage=f"{self._pipeline}.{self._stage}",
            reason=reason,
            problem=MESSAGES[reason] if malformed is None else str(malformed),
            error=reason.value if malformed is None else type(malformed).__name__,
            key=fetched.key,
            value=fetched.value,
            headers=fetched.headers,
        )
