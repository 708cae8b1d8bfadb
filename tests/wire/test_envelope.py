from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from failsoft.policy.deadline import Stamp
from failsoft.policy.errors import MalformedRecord
from failsoft.wire.envelope import Envelope, decode_headers, encode_request_headers, salvage_headers
from failsoft.wire.identity import Identity
from failsoft.wire.record import ForeignHeaders
from tests.wire.strategies import envelopes, hostile_headers, instants

NOON = 1_769_860_800.0
NOON_TEXT = b"2026-01-31T12:00:00.000Z"
LATER_TEXT = b"2026-01-31T12:00:05.000Z"
PLACE: dict[str, Any] = {"topic": "t", "partition": 0, "offset": 7}
HERE = Identity("/kafka/t", "0-7")


def decode(*headers: tuple[str, bytes | None]) -> Envelope:
    return decode_headers(headers, **PLACE)


def test_a_record_without_headers_is_a_request():
    assert decode() == Envelope(HERE)


@pytest.mark.parametrize(
    ("headers", "stamp"),
    [
        ([("ce_budgetms", b"5000"), ("ce_sentat", NOON_TEXT)], Stamp(5.0, NOON)),
        ([("ce_budgetms", b"-20"), ("ce_sentat", NOON_TEXT)], Stamp(-0.02, NOON)),
        ([("ce_budgetms", b"5000"), ("ce_time", NOON_TEXT)], Stamp(5.0)),
        ([("ce_expirytime", LATER_TEXT), ("ce_time", NOON_TEXT)], Stamp(None, NOON, NOON + 5)),
        (
            [("ce_expirytime", LATER_TEXT), ("ce_sentat", NOON_TEXT), ("ce_time", LATER_TEXT)],
            Stamp(None, NOON, NOON + 5),
        ),
        ([("ce_expirytime", LATER_TEXT)], Stamp(None, None, NOON + 5)),
        ([("ce_time", NOON_TEXT)], Stamp()),
        ([("timeout-ms", b"1500")], Stamp(timeout_seconds=1.5)),
    ],
)
def test_the_deadline_is_what_the_sender_said(headers, stamp):
    assert decode(*headers).stamp == stamp


@pytest.mark.parametrize(
    ("name", "value", "attribute", "read"),
    [
        ("ce_type", b"com.example.asked", "type", "com.example.asked"),
        ("ce_time", NOON_TEXT, "time_at", NOON),
        ("ce_tenant", "café".encode(), "tenant", "café"),
        ("ce_floor", b"3", "floor", 3),
        ("ce_maxstale", b"60", "max_stale_seconds", 60),
        ("ce_coalescekey", b"k", "coalesce_key", "k"),
        ("reply_to", b"replies", "reply_to", "replies"),
        ("kafka_replyTopic", b"replies", "reply_to", "replies"),
        ("traceparent", b"00-1", "trace", (("traceparent", b"00-1"),)),
        ("ce_correlationid", b"\xff\x00", "correlation", (("ce_correlationid", b"\xff\x00"),)),
        ("correlation_id", b"", "correlation", (("correlation_id", b""),)),
        ("kafka_correlationId", bytes(16), "correlation", (("kafka_correlationId", bytes(16)),)),
        ("ce_unknown", b"\xff", "identity", HERE),
        ("whatever", None, "identity", HERE),
        ("content-type", b"Application/JSON; charset=UTF-8", "identity", HERE),
        ("content-type", b"application/problem+json", "identity", HERE),
        ("ce_specversion", b"1.0", "identity", HERE),
    ],
)
def test_each_header_has_its_place(name, value, attribute, read):
    assert getattr(decode((name, value)), attribute) == read


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("ce_specversion", b"0.3", "only CloudEvents 1.0"),
        ("ce_type", b"failsoft.result.v1", "failsoft.request.v1"),
        ("ce_type", b"failsoft.request.v2", "failsoft.request.v1"),
        ("ce_id", b"", "empty"),
        ("ce_id", None, "empty"),
        ("ce_id", b"\xff", "not UTF-8"),
        ("ce_source", b"/a\x00b", "control character"),
        ("ce_time", b"yesterday", "RFC 3339"),
        ("ce_expirytime", b"1769860805", "RFC 3339"),
        ("ce_sentat", b"2026-01-31T12:00:00", "RFC 3339"),
        ("ce_budgetms", b"5s", "not an integer"),
        ("ce_budgetms", b"1e3", "not an integer"),
        ("ce_budgetms", b"2147483648", "to 2147483647"),
        ("ce_budgetms", b"9" * 5000, "not an integer"),
        ("timeout-ms", b"-1", "from 0"),
        ("ce_floor", b"0", "from 1 to 3"),
        ("ce_floor", b"4", "from 1 to 3"),
        ("ce_floor", "٢".encode(), "from 1 to 3"),
        ("ce_maxstale", b"-1", "from 0"),
        ("ce_tenant", b"", "empty"),
        ("ce_coalescekey", b"a\nb", "control character"),
        ("reply_to", b"\xff", "not UTF-8"),
        ("content-type", b"text/plain", "not application/json"),
        ("content-type", b"application/json; charset=latin-1", "UTF-8 only"),
        ("content-type", b"application/cloudevents+json", "binary mode"),
    ],
)
def test_what_is_there_must_be_right(name, value, problem):
    with pytest.raises(MalformedRecord, match=problem) as caught:
        decode((name, value))
    assert caught.value.field == name


@pytest.mark.parametrize("name", ["ce_id", "ce_unknown", "ce_correlationid", "timeout-ms", "content-type", "reply_to"])
def test_a_header_that_is_read_stands_once(name):
    with pytest.raises(MalformedRecord, match="stands twice") as caught:
        decode((name, b"1"), (name, b"1"))
    assert caught.value.field == name


def test_tracing_that_is_broken_never_fails_a_request():
    assert decode(("traceparent", b"a"), ("traceparent", b"b"), ("tracestate", None)).trace == ()


@given(envelopes(), instants)
def test_what_is_sent_is_what_arrives(envelope, sent_at):
    headers = encode_request_headers(envelope, budget_seconds=12.345, sent_at=sent_at)
    arrived = decode_headers(headers, **PLACE)
    assert arrived.stamp == Stamp(12.345, sent_at, envelope.stamp.expires_at)
    assert without_stamp(arrived) == without_stamp(envelope)


def without_stamp(envelope: Envelope) -> Envelope:
    return replace(envelope, stamp=Stamp())


def test_the_first_sender_names_the_end():
    headers = dict(encode_request_headers(Envelope(HERE), budget_seconds=5, sent_at=NOON))
    assert headers["ce_expirytime"] == LATER_TEXT
    assert headers["ce_time"] == headers["ce_sentat"] == NOON_TEXT
    assert headers["ce_budgetms"] == b"5000"


@pytest.mark.parametrize(
    ("envelope", "field"),
    [
        (Envelope(HERE, tenant=""), "ce_tenant"),
        (Envelope(HERE, floor=4), "ce_floor"),
        (Envelope(Identity("/a\x00", "1")), "ce_source"),
        (Envelope(HERE, coalesce_key="k" * 9000), "headers"),
        (Envelope(HERE, correlation=(("correlation_id", b"1"), ("correlation_id", b"2"))), "correlation_id"),
    ],
)
def test_what_a_worker_would_refuse_is_not_sent(envelope, field):
    with pytest.raises(MalformedRecord) as caught:
        encode_request_headers(envelope, budget_seconds=5, sent_at=NOON)
    assert caught.value.field == field


def blamed(headers: ForeignHeaders) -> str | None:
    try:
        decode_headers(headers, **PLACE)
    except MalformedRecord as error:
        return error.field
    return None


@given(hostile_headers)
def test_hostile_headers_raise_nothing_else_and_name_a_header(headers):
    assert blamed(headers) in {None, "headers", "(unprintable)", *(name for name, _ in headers)}


@given(hostile_headers)
def test_a_result_can_be_addressed_however_malformed_the_headers(headers):
    envelope = salvage_headers(headers, **PLACE)
    assert encode_request_headers(envelope, budget_seconds=1, sent_at=NOON)


def test_what_can_be_read_of_malformed_headers_is_kept():
    headers = [("ce_id", b"7"), ("ce_source", b"/shop"), ("ce_floor", b"9"), ("correlation_id", b"c")]
    assert salvage_headers(headers, **PLACE) == Envelope(
        Identity("/shop", "7"), correlation=(("correlation_id", b"c"),)
    )


def test_an_identity_said_twice_is_none():
    assert salvage_headers([("ce_id", b"7"), ("ce_id", b"8")], **PLACE).identity == HERE
