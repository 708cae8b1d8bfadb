"""What a request's headers say: CloudEvents 1.0 in Kafka's binary mode, with our attributes as extensions.

======================================  =====================================================================
``ce_id``, ``ce_source``                identity; absent: the place in the log
``ce_time``, ``ce_expirytime``          when the event was made; when its answer is worth nothing
``ce_budgetms``, ``ce_sentat``          what was left of the deadline when it was sent, and when that was
``timeout-ms``                          the same for the plainest of producers, from the broker's append time
``ce_tenant``                           whose request it is; nothing is shared between tenants
``ce_floor``                            the lowest level that the sender accepts, 1-3
``ce_maxstale``                         how far past its freshness an answer of the past may be, seconds
``ce_coalescekey``                      requests with the same key want the same answer
``ce_trail``                            between stages: how earlier ones served it
``traceparent``, ``tracestate``         W3C trace context, passed on
``ce_correlationid`` and two others     echoed byte for byte on the result (one of them is 16 raw bytes in Spring)
``reply_to``, ``kafka_replyTopic``      where else the result is wanted
======================================  =====================================================================

All may be absent: a foreign producer's plain record is a request with the deadline of its class. What is there must
be right, because a deadline or a floor that is silently ignored is worse than a refusal. Unknown attributes are
ignored.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from failsoft.policy.deadline import Stamp
from failsoft.policy.errors import MalformedRecord
from failsoft.wire.attributes import INTEGER_MAX, Attributes, encode_attributes, milliseconds
from failsoft.wire.identity import Identity
from failsoft.wire.limits import HEADER_BYTES, check_headers
from failsoft.wire.record import ForeignHeaders, Headers
from failsoft.wire.timestamp import format_timestamp
from failsoft.wire.trail import Trail, decode_trail, encode_trail

REQUEST_TYPE: Final = "failsoft.request.v1"
CONTENT_TYPE: Final = "application/json"
CORRELATION: Final = ("ce_correlationid", "correlation_id", "kafka_correlationId")
TRACE: Final = ("traceparent", "tracestate")
REPLY: Final = ("reply_to", "kafka_replyTopic")


@dataclass(frozen=True, slots=True)
class Envelope:
    """One request without its body.

    Attributes:
        identity: names the request.
        type: CloudEvents type.
        time_at: when the event was made, by its producer's clock, epoch seconds.
        stamp: the sender's words on the deadline.
        tenant: whose it is.
        floor: the lowest level that it accepts, None if its class decides.
        max_stale_seconds: how far past its freshness an answer of the past may be, None if the stage decides.
        coalesce_key: names what is asked, in place of the body's content.
        reply_to: a further topic for the result; whether it is written to is the catalogue's decision.
        trace: W3C trace context, passed on.
        correlation: echoed on the result.
        trail: how the stages before this one have served it.
    """

    identity: Identity
    type: str = REQUEST_TYPE
    time_at: float | None = None
    stamp: Stamp = field(default_factory=Stamp)
    tenant: str | None = None
    floor: int | None = None
    max_stale_seconds: int | None = None
    coalesce_key: str | None = None
    reply_to: str | None = None
    trace: Headers = ()
    correlation: Headers = ()
    trail: Trail = ()


def decode_headers(
    headers: ForeignHeaders, *, topic: str, partition: int, offset: int, is_between: bool = False
) -> Envelope:
    """Read the headers of a request.

    Args:
        headers: as Kafka hands them over.
        topic: with partition and offset, the place of the record: its name if it brings none.
        partition: see topic.
        offset: see topic.
        is_between: it comes from another stage, which has added to what its sender said.

    Raises:
        MalformedRecord: a header is not what the contract says; names it.
    """
    check_headers(headers, is_between=is_between)
    attributes = Attributes(headers)
    _check_content(attributes)
    return Envelope(
        identity=Identity.said(attributes, topic=topic, partition=partition, offset=offset),
        type=attributes.text("ce_type") or REQUEST_TYPE,
        time_at=attributes.instant("ce_time"),
        stamp=_stamp(attributes, is_by_broker=is_between),
        tenant=attributes.text("ce_tenant"),
        floor=attributes.integer("ce_floor", least=1, most=3),
        max_stale_seconds=attributes.integer("ce_maxstale"),
        coalesce_key=attributes.text("ce_coalescekey"),
        reply_to=attributes.text("reply_to") or attributes.text("kafka_replyTopic"),
        trace=passed_on(headers, TRACE),
        correlation=passed_on(headers, CORRELATION),
        trail=decode_trail(attributes.text("ce_trail")) if is_between else (),
    )


def salvage_headers(headers: ForeignHeaders, *, topic: str, partition: int, offset: int) -> Envelope:
    """Read what a result needs of headers that are malformed: identity and correlation. Never fails.

    Its sender waits for the result under the name that it gave, as far as that can be read.
    """
    try:
        names = [(name, value) for name, value in headers if name in ("ce_source", "ce_id")]
        check_headers(names)
        identity = Identity.said(Attributes(names), topic=topic, partition=partition, offset=offset)
    except MalformedRecord:
        identity = Identity.of_place(topic, partition, offset)
    return Envelope(identity, trace=passed_on(headers, TRACE), correlation=passed_on(headers, CORRELATION))


def encode_request_headers(
    envelope: Envelope, *, budget_seconds: float, sent_at: float, is_between: bool = False
) -> Headers:
    """Write the headers of a request that is sent now.

    The end that the first sender named travels unchanged; the stamp is ours and new. What a worker would refuse is
    refused here, where its author sees it.

    Args:
        envelope: what to say; of its stamp only ``expires_at`` is used.
        budget_seconds: what is left of the deadline.
        sent_at: now, on this host's wall clock, epoch seconds.
        is_between: it goes from one stage to the next.

    Raises:
        MalformedRecord: a worker would refuse them; names the header.
    """
    expires_at = envelope.stamp.expires_at
    said = {
        "ce_specversion": "1.0",
        "ce_id": envelope.identity.id,
        "ce_source": envelope.identity.source,
        "ce_type": envelope.type,
        "ce_time": format_timestamp(sent_at if envelope.time_at is None else envelope.time_at),
        "content-type": CONTENT_TYPE,
        "ce_expirytime": format_timestamp(sent_at + budget_seconds if expires_at is None else expires_at),
        "ce_budgetms": milliseconds(budget_seconds),
        "ce_sentat": format_timestamp(sent_at),
        "ce_tenant": envelope.tenant,
        "ce_floor": envelope.floor,
        "ce_maxstale": envelope.max_stale_seconds,
        "ce_coalescekey": envelope.coalesce_key,
        "reply_to": envelope.reply_to,
        "ce_trail": encode_trail(envelope.trail) if is_between else None,
    }
    headers = [*encode_attributes(said), *envelope.trace, *envelope.correlation]
    decode_headers(headers, topic="", partition=0, offset=0, is_between=is_between)
    return headers


def passed_on(headers: ForeignHeaders, names: Collection[str]) -> Headers:
    """Those of the named headers that stand once, with their bytes as they are."""
    found: dict[str, list[bytes | None]] = {}
    for name, value in headers:
        if name in names:
            found.setdefault(name, []).append(value)
    if not found:  # as in most records
        return ()
    return tuple(
        (name, values[0])
        for name, values in found.items()
        if len(values) == 1 and values[0] is not None and len(values[0]) <= HEADER_BYTES
    )


def _check_content(attributes: Attributes) -> None:
    if attributes.text("ce_specversion") not in ("1.0", None):
        raise MalformedRecord("ce_specversion", "only CloudEvents 1.0 is read")
    type_ = attributes.text("ce_type")
    if type_ is not None and type_.startswith("failsoft.") and type_ != REQUEST_TYPE:
        raise MalformedRecord("ce_type", f"this topic is read as {REQUEST_TYPE}")
    content_type = attributes.text("content-type")
    if content_type is not None:
        _check_media_type(content_type.lower())


def _check_media_type(content_type: str) -> None:
    media_type, _, parameters = content_type.partition(";")
    media_type = media_type.strip()
    if media_type.startswith("application/cloudevents"):
        raise MalformedRecord("content-type", "structured mode is not read; send CloudEvents in binary mode")
    if media_type != CONTENT_TYPE and not media_type.endswith("+json"):
        raise MalformedRecord("content-type", f"not {CONTENT_TYPE}")
    if "charset" in parameters and "utf-8" not in parameters:
        raise MalformedRecord("content-type", "JSON is read as UTF-8 only")


def _stamp(attributes: Attributes, *, is_by_broker: bool) -> Stamp:
    """Take the time of the event for the time of sending only where an absolute end is all that is said."""
    budget_seconds = attributes.seconds("ce_budgetms", least=-INTEGER_MAX)
    expires_at = attributes.instant("ce_expirytime")
    sent_at = attributes.instant("ce_sentat")
    if sent_at is None and budget_seconds is None and expires_at is not None:
        sent_at = attributes.instant("ce_time")
    return Stamp(budget_seconds, sent_at, expires_at, attributes.seconds("timeout-ms"), is_by_broker)
