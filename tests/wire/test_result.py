import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.errors import MalformedRecord
from failsoft.policy.outcome import STATUS_CODES, Ending, Outcome, Reason
from failsoft.wire.envelope import Envelope
from failsoft.wire.identity import Identity, result_id
from failsoft.wire.record import Record
from failsoft.wire.result import decode_result, encode_result
from tests.wire.strategies import envelopes, hostile_headers, hostile_values, json_objects, words

NOON = 1_769_860_800.0
ENVELOPE = Envelope(Identity("/shop", "7"))
OK = Ending(Outcome.OK, Reason.NONE, "large", 1, executions=1)

milliseconds = st.integers(-(2**31) + 1, 2**31 - 1).map(lambda number: number / 1000)
counts = st.integers(0, 100)
endings = st.builds(
    Ending,
    outcome=st.sampled_from(Outcome),
    reason=st.sampled_from(Reason),
    tier=st.none() | words,
    level=st.none() | st.integers(1, 3),
    wanted_level=st.integers(1, 3),
    executions=counts,
    queue_seconds=counts.map(float),
    call_seconds=counts.map(float),
    slack_seconds=milliseconds,
)


def encode(ending: Ending = OK, envelope: Envelope = ENVELOPE, **extras: Any) -> Record:
    said: dict[str, Any] = {"pipeline": "digits", "published_at": NOON, "custom_id": "c", "body": {"label": 3}}
    return encode_result(ending, envelope, **said | extras)


def headers_of(record: Record) -> dict[str, bytes | None]:
    return dict(record.headers)


@given(endings, envelopes(), json_objects, st.none() | words)
def test_what_a_worker_says_is_what_a_reader_sees(ending, envelope, body, region):
    record = encode(ending, envelope, body=body, region=region)
    result = decode_result(record.headers, record.value)
    assert (result.id, result.request) == (result_id(envelope.identity), envelope.identity)
    assert result.id.encode() == record.key
    assert (result.outcome, result.reason) == (ending.outcome, ending.reason)
    assert (result.tier, result.level, result.wanted_level) == (ending.tier, ending.level, ending.wanted_level)
    assert result.executions == ending.executions
    assert (result.queue_seconds, result.call_seconds) == (ending.queue_seconds, ending.call_seconds)
    assert result.slack_seconds == ending.slack_seconds
    assert (result.custom_id, result.body, result.region) == ("c", body, region)
    assert (result.correlation, result.trace) == (envelope.correlation, envelope.trace)
    assert result.published_at == NOON


def test_the_value_is_a_line_of_a_batch_output_file():
    record = encode()
    id_ = result_id(ENVELOPE.identity)
    assert json.loads(record.value or b"") == {
        "id": id_,
        "custom_id": "c",
        "response": {"status_code": 200, "request_id": "7", "body": {"label": 3}},
        "error": None,
    }
    assert decode_result(record.headers, record.value).line == record.value


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.OK])
def test_an_end_without_an_answer_says_so_as_a_model_server_would(outcome):
    record = encode(Ending(outcome, Reason.FLOOR), body=None)
    result = decode_result(record.headers, record.value)
    assert not result.is_ok
    assert result.status_code == STATUS_CODES[outcome]
    assert result.error is not None
    assert (result.error["type"], result.error["code"]) == (outcome, "floor")
    assert result.error["message"]


def test_an_answer_has_no_error_even_if_its_body_has_a_member_of_that_name():
    record = encode(body={"error": "a word that the model said"})
    assert decode_result(record.headers, record.value).error is None


def test_an_answer_in_bytes_is_put_in_as_it_is():
    assert b'"body":{"label" : 3},' not in (encode().value or b"")
    assert b'"body":{"label" : 3}}' in (encode(body=b'{"label" : 3}').value or b"")


def test_an_invalid_request_may_say_more_exactly_why():
    ending = Ending(Outcome.INVALID, Reason.REQUEST_REFUSED)
    record = encode(ending, body=None, status_code=422, message="messages: too many")
    result = decode_result(record.headers, record.value)
    assert (result.status_code, (result.error or {})["message"]) == (422, "messages: too many")


def test_who_is_shed_is_told_when_to_come_back():
    record = encode(Ending(Outcome.SHED, Reason.OVERLOADED, retry_after_seconds=1.2), body=None)
    result = decode_result(record.headers, record.value)
    assert headers_of(record)["retry-after"] == b"2"
    assert result.retry_after_seconds == (result.error or {})["retry_after_seconds"] == 2


def test_what_does_not_apply_is_absent():
    absent = {"ce_region", "ce_coalescedwith", "ce_contextstate", "ce_stale", "retry-after", "ce_servedtier"}
    headers = headers_of(encode(Ending(Outcome.EXPIRED, Reason.DEADLINE_PASSED), body=None))
    assert not absent & headers.keys()


def test_what_applies_is_there():
    ending = Ending(Outcome.OK, Reason.NONE, "large", 1, is_stale=True, age_seconds=7.25)
    record = encode(ending, region="eu", coalesced_with="r-1", context_state="incomplete")
    result = decode_result(record.headers, record.value)
    assert (result.region, result.coalesced_with, result.context_state) == ("eu", "r-1", "incomplete")
    assert result.is_stale
    assert result.age_seconds == 7.25


def test_correlation_is_echoed_byte_for_byte():
    correlation = (("correlation_id", b""), ("kafka_correlationId", bytes(range(16))))
    record = encode(envelope=Envelope(Identity("/s", "1"), correlation=correlation))
    assert tuple(record.headers[-2:]) == correlation


@pytest.mark.parametrize("region", ["", "eu\n", "e\x00u", "\ud800"])
def test_a_region_that_no_reader_would_take_is_refused_where_it_is_written(region):
    """An author's code names it. Such a result would be acknowledged, and seen by nobody."""
    with pytest.raises(MalformedRecord, match="ce_region"):
        encode(region=region)


def test_a_region_that_an_author_numbers_is_written_as_text():
    """It is an author's word, which no type checker has seen; a publisher that breaks on it takes its stage along."""
    assert headers_of(encode(region=7))["ce_region"] == b"7"


def test_ok_without_an_answer_is_a_bug_of_ours():
    with pytest.raises(ValueError, match="needs a body"):
        encode(body=None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ce_type", None),
        ("ce_type", b"failsoft.result.v2"),
        ("ce_id", None),
        ("ce_requestsource", None),
        ("ce_requestid", b""),
        ("ce_outcome", None),
        ("ce_outcome", b"perhaps"),
        ("ce_reason", b"because"),
        ("ce_servedlevel", b"4"),
        ("ce_executions", b"-1"),
        ("ce_slackms", b"1.5"),
        ("ce_stale", b"yes"),
        ("ce_time", b"noon"),
    ],
)
def test_a_record_that_is_no_result_is_refused_by_the_name_of_its_header(name, value):
    record = encode()
    headers = [header for header in record.headers if header[0] != name]
    with pytest.raises(MalformedRecord) as caught:
        decode_result(headers if value is None else [*headers, (name, value)], record.value)
    assert caught.value.field == name


@given(hostile_headers, hostile_values)
def test_hostile_bytes_raise_nothing_else(headers, value):
    with suppress(MalformedRecord):
        decode_result(headers, encode().value)
    with pytest.raises(MalformedRecord):
        decode_result(encode().headers, value)


def test_answers_stay_out_of_logs():
    record = encode(body={"text": "secret"})
    assert "secret" not in repr(decode_result(record.headers, record.value))
