import json
import math
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given

from failsoft.policy.errors import MalformedRecord
from failsoft.wire.body import (
    ContextPart,
    OutputLine,
    PartState,
    RequestLine,
    decode_output,
    decode_request,
    encode_output,
    encode_request,
    salvage_custom_id,
)
from failsoft.wire.limits import LARGE_VALUE_BYTES, VALUE_BYTES
from tests.wire.strategies import hostile_values, json_values, lines

LINE: dict[str, Any] = {"custom_id": "1", "method": "POST", "url": "/v1/embeddings", "body": {"input": "x"}}
OUTPUT: dict[str, Any] = {
    "id": "i",
    "custom_id": "1",
    "response": {"status_code": 200, "request_id": "r", "body": {}},
    "error": None,
}


def without(document: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != name}


@given(lines())
def test_a_request_survives_the_wire(line):
    assert decode_request(encode_request(line)) == line


def test_a_line_of_a_batch_file_is_read_as_it_is():
    text = '{"custom_id": "request-1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m"}}\n'
    assert decode_request(text.encode()) == RequestLine("request-1", "/v1/chat/completions", {"model": "m"})


def test_context_says_only_what_it_knows():
    line = decode_request(json.dumps(LINE | {"context": {"documents": {"value": [1]}}}).encode())
    assert line.context == {"documents": ContextPart([1], PartState.PRESENT, None)}


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], "value"),
        ("text", "value"),
        ({"prompt": "a bare body"}, "prompt"),
        (without(LINE, "custom_id"), "custom_id"),
        (LINE | {"custom_id": 1}, "custom_id"),
        (without(LINE, "method"), "method"),
        (LINE | {"method": "GET"}, "method"),
        (without(LINE, "url"), "url"),
        (LINE | {"url": "v1/embeddings"}, "url"),
        (without(LINE, "body"), "body"),
        (LINE | {"body": [1]}, "body"),
        (LINE | {"contxt": {}}, "contxt"),
        (LINE | {"x" * 100: {}}, "(unprintable)"),
        (LINE | {"context": []}, "context"),
        (LINE | {"context": {"d": 1}}, "context.d"),
        (LINE | {"context": {"d": {}}}, "context.d.value"),
        (LINE | {"context": {"d": {"value": 1, "age": 2}}}, "context.d.age"),
        (LINE | {"context": {"d": {"value": 1, "state": "old"}}}, "context.d.state"),
        (LINE | {"context": {"d": {"value": 1, "state": []}}}, "context.d.state"),
        (LINE | {"context": {"d": {"value": 1, "produced_at": 5}}}, "context.d.produced_at"),
        (LINE | {"context": {"d": {"value": 1, "produced_at": "noon"}}}, "context.d.produced_at"),
    ],
)
def test_a_value_that_is_no_batch_line_is_malformed_and_the_member_named(document, field):
    with pytest.raises(MalformedRecord) as caught:
        decode_request(json.dumps(document).encode())
    assert caught.value.field == field


def test_a_tombstone_is_no_request():
    with pytest.raises(MalformedRecord, match="value: absent"):
        decode_request(None)


@pytest.mark.parametrize("body", [{"x": object()}, {"x": 2**70}, {"x": "\ud800"}, {"x": "y" * VALUE_BYTES}])
def test_what_cannot_be_sent_is_refused_at_the_sender(body):
    with pytest.raises(MalformedRecord):
        encode_request(RequestLine("1", "/v1/x", body))


@pytest.mark.parametrize(
    ("part", "member"),
    [
        (ContextPart(1, "old"), "state"),  # type: ignore[arg-type]
        (ContextPart(1, ["stale"]), "state"),  # type: ignore[arg-type]
        (ContextPart(1, produced_at=math.nan), "produced_at"),
        (ContextPart(1, produced_at="noon"), "produced_at"),  # type: ignore[arg-type]
        (ContextPart(1, produced_at=datetime(2026, 1, 31, tzinfo=UTC)), "produced_at"),  # type: ignore[arg-type]
    ],
)
def test_a_part_that_an_author_s_code_describes_wrongly_is_malformed_and_the_member_named(part, member):
    """Any other error would end the stage that hands it on, and the next worker that takes the request."""
    with pytest.raises(MalformedRecord) as caught:
        encode_request(RequestLine("1", "/v1/x", {}, {"documents": part}))
    assert caught.value.field == f"context.documents.{member}"


def test_a_record_between_stages_may_be_larger():
    value = encode_request(RequestLine("1", "/v1/x", {"x": "y" * VALUE_BYTES}), limit_bytes=LARGE_VALUE_BYTES)
    assert decode_request(value, limit_bytes=LARGE_VALUE_BYTES).custom_id == "1"


@given(json_values)
def test_an_answer_survives_the_wire_as_a_value_and_as_bytes(body):
    line = OutputLine("i", None, 200, "r", body)
    written = encode_output(line)
    assert decode_output(written) == line
    assert encode_output(OutputLine("i", None, 200, "r", orjson.dumps(body))) == written


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"a":1,"a":2}', id="a-key-twice"),
        pytest.param(b'{"created":99999999999999999999}', id="an-integer-beyond-64-bits"),
        pytest.param(b"[" * 63 + b"]" * 63, id="too-deep-for-a-line"),
        pytest.param(orjson.loads(b"[" * 63 + b"]" * 63), id="too-deep-for-a-line-as-a-value"),
        pytest.param(b"{", id="no-json"),
        pytest.param(b'{}},"error":{}', id="more-than-a-document"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_an_answer_that_readers_would_not_read_is_refused_before_sending(body):
    with pytest.raises(MalformedRecord, match=r"response\.body"):
        encode_output(OutputLine("i", None, 200, "r", body))


def test_a_request_that_a_worker_would_not_read_is_refused_at_the_sender_however_deep():
    with pytest.raises(MalformedRecord, match="value: nested deeper than 64"):
        encode_request(RequestLine("1", "/v1/x", {"x": orjson.loads(b"[" * 63 + b"]" * 63)}))


def test_an_answer_that_no_topic_takes_is_refused_before_sending():
    with pytest.raises(MalformedRecord, match=r"response\.body: \d+ bytes"):
        encode_output(OutputLine("i", None, 200, "r", {"x": "y" * LARGE_VALUE_BYTES}))


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "response"),
        (without(OUTPUT, "id"), "id"),
        (OUTPUT | {"custom_id": 1}, "custom_id"),
        (OUTPUT | {"response": None}, "response"),
        (OUTPUT | {"response": {"status_code": 200, "request_id": "r"}}, "response.body"),
        (OUTPUT | {"response": {"status_code": True, "request_id": "r", "body": {}}}, "response.status_code"),
        (OUTPUT | {"response": {"status_code": 200, "body": {}}}, "response.request_id"),
    ],
)
def test_a_value_that_is_no_output_line_is_malformed_and_the_member_named(document, field):
    with pytest.raises(MalformedRecord) as caught:
        decode_output(json.dumps(document).encode())
    assert caught.value.field == field


@given(hostile_values)
def test_hostile_values_raise_nothing_else(value):
    for decode in (decode_request, decode_output):
        with pytest.raises(MalformedRecord) as caught:
            decode(value)
        assert caught.value.field


@pytest.mark.parametrize(
    ("value", "custom_id"),
    [
        (b'{"custom_id": "a", "url": 1}', "a"),
        (b'{"custom_id": 1}', None),
        (b"[]", None),
        (b"nothing", None),
        (None, None),
    ],
)
def test_the_senders_name_is_kept_where_it_can_be_read(value, custom_id):
    assert salvage_custom_id(value) == custom_id


def test_prompts_stay_out_of_logs():
    line = RequestLine("1", "/v1/x", {"prompt": "secret"}, {"d": ContextPart("secret")})
    assert "secret" not in repr(line) + repr(OutputLine("i", "1", 200, "r", "secret"))
