"""Results: the one end of each request, as a batch output line whose headers say how it came about.

A reader that only wants answers takes the value; one that wants to know takes the headers, all CloudEvents
extensions: ``ce_outcome`` and ``ce_reason`` (closed words), ``ce_servedtier``, ``ce_servedlevel`` and
``ce_wantedlevel``, ``ce_executions``, ``ce_queuems``, ``ce_callms`` and ``ce_slackms``, and where they apply
``ce_region``, ``ce_coalescedwith``, ``ce_contextstate``, ``ce_stale``, ``ce_agems``, ``retry-after``; ``ce_stage`` is the stage
in which it ended, ``ce_trail`` how those before it served. Where one of those was the weakest, level and reason are its own: an
answer is no better than what it was made from. Results are keyed by their
id, which follows from the request's identity, so that repeats of a result meet in one partition, and the first of
them is the result.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from failsoft.policy.errors import MalformedRecord
from failsoft.policy.outcome import STATUS_CODES, Ending, Outcome, Reason
from failsoft.wire.attributes import INTEGER_MAX, Attributes, encode_attributes, milliseconds
from failsoft.wire.body import OutputLine, decode_output, encode_output
from failsoft.wire.envelope import CONTENT_TYPE, CORRELATION, TRACE, Envelope, passed_on
from failsoft.wire.identity import Identity, result_id
from failsoft.wire.record import ForeignHeaders, Headers, Record
from failsoft.wire.timestamp import format_timestamp
from failsoft.wire.trail import Trail, decode_trail, encode_trail, weakest

RESULT_TYPE: Final = "failsoft.result.v1"

MESSAGES: Final[Mapping[Outcome, str]] = {
    Outcome.EXPIRED: "the deadline passed before the request could be answered",
    Outcome.SHED: "there is more work than can be answered in time; send it again later",
    Outcome.UNAVAILABLE: "no tier that the request accepts was available",
    Outcome.INVALID: "the request is not acceptable",
    Outcome.FAILED: "the request could not be answered",
}
"""What the error of a result says where nothing more exact is known."""


@dataclass(frozen=True, slots=True)
class Result:
    """How one request ended.

    Attributes:
        id: the result's id; repeats have the same.
        request: the identity of the request.
        custom_id: the sender's name for it, None where it could not be read.
        outcome: how it ended.
        reason: why that was not level 1, or not ok.
        status_code: the same as HTTP has it.
        body: the answer, or ``{"error": {…}}``.
        line: the line of a batch output file, without its newline.
        tier: which tier answered, None if none did.
        level: its level, 1 to 3.
        wanted_level: the level that was wanted.
        region: where the endpoint is that answered.
        executions: how many calls were made.
        queue_seconds: how long it waited.
        call_seconds: how long its calls took.
        slack_seconds: what was left of the deadline; negative means late.
        is_stale: the answer is one of the past, and past its time.
        age_seconds: how old an answer of the past was; None of a new one.
        coalesced_with: the id of the result whose call this one shared.
        context_state: how complete the context was.
        retry_after_seconds: when to try again, if it was shed.
        published_at: when the end was decided, by the worker's clock, epoch seconds.
        correlation: the sender's correlation headers, byte for byte.
        trace: W3C trace context.
        stage: in which it ended; None if that was not said.
        trail: how the stages before that one served it.
    """

    id: str
    request: Identity
    custom_id: str | None
    outcome: Outcome
    reason: Reason
    status_code: int
    body: Any = field(repr=False)
    line: bytes = field(repr=False)
    tier: str | None = None
    level: int | None = None
    wanted_level: int = 1
    region: str | None = None
    executions: int = 0
    queue_seconds: float = 0.0
    call_seconds: float = 0.0
    slack_seconds: float = 0.0
    is_stale: bool = False
    age_seconds: float | None = None
    coalesced_with: str | None = None
    context_state: str | None = None
    retry_after_seconds: int | None = None
    published_at: float | None = None
    correlation: Headers = ()
    trace: Headers = field(default=(), repr=False)
    stage: str | None = None
    trail: Trail = ()

    @property
    def is_ok(self) -> bool:
        """Whether there is an answer, at whatever level."""
        return self.outcome is Outcome.OK

    @property
    def error(self) -> Mapping[str, Any] | None:
        """Message, type (the outcome) and code (the reason) of a request without an answer; None if there is one."""
        found = self.body.get("error") if isinstance(self.body, dict) and not self.is_ok else None
        return found if isinstance(found, dict) else None


def encode_result(
    ending: Ending,
    envelope: Envelope,
    *,
    pipeline: str,
    published_at: float,
    custom_id: str | None,
    body: bytes | Mapping[str, Any] | None = None,
    message: str | None = None,
    status_code: int | None = None,
    region: str | None = None,
    coalesced_with: str | None = None,
    context_state: str | None = None,
    stage: str | None = None,
) -> Record:
    """Write the result of a request.

    Args:
        ending: how it ended.
        envelope: of the request: its identity, correlation and trace.
        pipeline: whose result it is.
        published_at: now, on this host's wall clock, epoch seconds.
        custom_id: of the request's line.
        body: the answer, or the model's own error; bytes must be a JSON document and are put in as they are.
        message: what to tell people about an end without an answer.
        status_code: in place of the outcome's own: 404 or 422 for some invalid requests.
        region: where the endpoint is that answered.
        coalesced_with: the result id of the leader.
        context_state: how complete the context was.
        stage: in which it ended.

    Raises:
        ValueError: ok without an answer.
        MalformedRecord: the answer has no form in JSON, or is longer than the topic takes; or the region is no name.
    """
    if body is None and ending.outcome is Outcome.OK:
        raise ValueError("a result that is ok needs a body")
    ending = _of_the_whole(ending, envelope.trail)
    request = envelope.identity
    id_ = result_id(request)
    retry_after = None if ending.retry_after_seconds is None else math.ceil(ending.retry_after_seconds)
    status = STATUS_CODES[ending.outcome] if status_code is None else status_code
    answer = _error(ending, message, retry_after) if body is None else body
    said = {
        "ce_specversion": "1.0",
        "ce_id": id_,
        "ce_source": f"/failsoft/{pipeline}",
        "ce_type": RESULT_TYPE,
        "ce_time": format_timestamp(published_at),
        "content-type": CONTENT_TYPE,
        "ce_requestsource": request.source,
        "ce_requestid": request.id,
        "ce_outcome": ending.outcome,
        "ce_reason": ending.reason,
        "ce_servedtier": ending.tier,
        "ce_servedlevel": ending.level,
        "ce_wantedlevel": ending.wanted_level,
        "ce_executions": ending.executions,
        "ce_queuems": milliseconds(ending.queue_seconds),
        "ce_callms": milliseconds(ending.call_seconds),
        "ce_slackms": milliseconds(ending.slack_seconds),
        "ce_region": None if region is None else _taken_region(region),
        "ce_coalescedwith": coalesced_with,
        "ce_contextstate": context_state,
        "ce_stale": "true" if ending.is_stale else None,
        "ce_agems": None if ending.age_seconds is None else milliseconds(ending.age_seconds),
        "retry-after": retry_after,
        "ce_stage": stage,
        "ce_trail": encode_trail(envelope.trail),
    }
    value = encode_output(OutputLine(id_, custom_id, status, request.id, answer))
    return Record(id_.encode(), value, [*encode_attributes(said), *envelope.trace, *envelope.correlation])


def _taken_region(region: str) -> str:
    """Return it as readers take it. Authors choose it, alone of all; a result that no reader takes is seen by nobody."""
    try:
        written = str(region).encode()
    except UnicodeEncodeError:
        raise MalformedRecord("ce_region", "not possible in UTF-8") from None
    Attributes([("ce_region", written)]).text("ce_region")
    return str(region)


def decode_result(headers: ForeignHeaders, value: bytes | None) -> Result:
    """Read a result.

    Raises:
        MalformedRecord: it is not one; names the header or the member.
    """
    attributes = Attributes(headers)
    if attributes.required("ce_type") != RESULT_TYPE:
        raise MalformedRecord("ce_type", f"not {RESULT_TYPE}")
    line = decode_output(value)
    return Result(
        id=attributes.required("ce_id"),
        request=Identity(attributes.required("ce_requestsource"), attributes.required("ce_requestid")),
        custom_id=line.custom_id,
        outcome=attributes.word("ce_outcome", Outcome),
        reason=attributes.word("ce_reason", Reason),
        status_code=line.status_code,
        body=line.body,
        line=value or b"",
        tier=attributes.text("ce_servedtier"),
        level=attributes.integer("ce_servedlevel", least=1, most=3),
        wanted_level=attributes.integer("ce_wantedlevel", least=1, most=3) or 1,
        region=attributes.text("ce_region"),
        executions=attributes.integer("ce_executions") or 0,
        queue_seconds=attributes.seconds("ce_queuems") or 0.0,
        call_seconds=attributes.seconds("ce_callms") or 0.0,
        slack_seconds=attributes.seconds("ce_slackms", least=-INTEGER_MAX) or 0.0,
        is_stale=attributes.boolean("ce_stale") or False,
        age_seconds=attributes.seconds("ce_agems"),
        coalesced_with=attributes.text("ce_coalescedwith"),
        context_state=attributes.text("ce_contextstate"),
        retry_after_seconds=attributes.integer("retry-after"),
        published_at=attributes.instant("ce_time"),
        correlation=passed_on(headers, CORRELATION),
        trace=passed_on(headers, TRACE),
        stage=attributes.text("ce_stage"),
        trail=decode_trail(attributes.text("ce_trail")),
    )


def _of_the_whole(ending: Ending, trail: Trail) -> Ending:
    """An answer is no better than the weakest stage behind it."""
    weak = weakest(trail)
    if ending.level is None or weak is None or weak.level <= ending.level:
        return ending
    return replace(ending, level=weak.level, reason=weak.reason)


def _error(ending: Ending, message: str | None, retry_after: int | None) -> dict[str, Any]:
    """Write an end without an answer as the APIs of model servers do."""
    error: dict[str, Any] = {
        "message": message or MESSAGES[ending.outcome],
        "type": ending.outcome,
        "param": None,
        "code": ending.reason,
    }
    return {"error": error if retry_after is None else {**error, "retry_after_seconds": retry_after}}
