"""The files in schemas/ say what the code does: drift, golden examples, and what our own encoders write."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from jsonschema import Draft202012Validator, ValidationError  # type: ignore[import-untyped] # it ships no types

from failsoft.policy.outcome import Ending
from failsoft.wire.answer import decode_answer, encode_answer
from failsoft.wire.body import decode_output, decode_request, encode_output, encode_request
from failsoft.wire.control import decode_control, encode_control
from failsoft.wire.dead_letter import decode_dead_letter, encode_dead_letter
from failsoft.wire.dead_letter_mark import decode_mark, encode_mark
from failsoft.wire.degradation import decode_cell, encode_cell
from failsoft.wire.envelope import Envelope, decode_headers, encode_request_headers
from failsoft.wire.identity import result_id
from failsoft.wire.profile import decode_fleet_profile, encode_fleet_profile
from failsoft.wire.record import Record
from failsoft.wire.register import decode_register, encode_register
from failsoft.wire.result import decode_result, encode_result
from failsoft.wire.rollup import decode_rollup, encode_rollup
from failsoft.wire.route import decode_route, encode_route
from failsoft.wire.schema import SCHEMAS, main
from tests.wire.strategies import envelopes, lines

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "schemas" / "examples").glob("*.json"))


def kind_of(path: Path) -> str:
    return path.name.split(".")[0]


def validator(kind: str) -> Any:
    return Draft202012Validator(SCHEMAS[kind], format_checker=Draft202012Validator.FORMAT_CHECKER)


def as_record(document: dict[str, Any]) -> Record:
    """The bytes of an example; a dead letter without a value has none, any other null is JSON."""
    value = None if document["value"] is None else orjson.dumps(document["value"])
    key = None if document.get("key") is None else document["key"].encode()
    return Record(key, value, [(name, text.encode()) for name, text in document["headers"].items()])


def as_document(record: Record) -> dict[str, Any]:
    return {
        "key": None if record.key is None else record.key.decode(),
        "headers": {name: (value or b"").decode() for name, value in record.headers},
        "value": None if record.value is None else json.loads(record.value),
    }


def examples(kind: str) -> list[Any]:
    found = [pytest.param(path, id=path.stem) for path in EXAMPLES if kind_of(path) == kind]
    assert found, f"no example of a {kind}"
    return found


def test_files_are_what_the_code_says():
    assert main(["--check", str(ROOT / "schemas")]) == 0


def test_drift_is_found_and_named(tmp_path, capsys):
    assert main(["--write", str(tmp_path)]) == 0
    (tmp_path / "result.schema.json").write_text("{}")
    assert main(["--check", str(tmp_path)]) == 1
    assert "result.schema.json" in capsys.readouterr().err


@pytest.mark.parametrize("kind", SCHEMAS)
def test_a_schema_is_one(kind):
    Draft202012Validator.check_schema(SCHEMAS[kind])


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in EXAMPLES])
def test_an_example_follows_its_schema(path):
    validator(kind_of(path)).validate(json.loads(path.read_text()))


@pytest.mark.parametrize("path", examples("request"))
def test_a_request_is_decoded_and_its_value_written_again_as_it_was(path):
    record = as_record(json.loads(path.read_text()))
    is_between = "ce_trail" in dict(record.headers)
    envelope = decode_headers(record.headers, topic="t", partition=0, offset=0, is_between=is_between)
    assert encode_request(decode_request(record.value)) == record.value
    if envelope.stamp.budget_seconds is not None and envelope.stamp.sent_at is not None:
        again = encode_request_headers(
            envelope,
            budget_seconds=envelope.stamp.budget_seconds,
            sent_at=envelope.stamp.sent_at,
            is_between=is_between,
        )
        assert dict(again) == dict(record.headers)


@pytest.mark.parametrize("path", examples("result"))
def test_a_result_is_decoded_and_written_again_as_it_was(path):
    record = as_record(json.loads(path.read_text()))
    result = decode_result(record.headers, record.value)
    line = decode_output(record.value)
    assert encode_output(line) == record.value == result.line
    assert result.id == result_id(result.request) == (record.key or b"").decode()
    said: dict[str, Any] = {
        field.name: getattr(result, field.name, None) for field in fields(Ending) if field.name != "dead_letter"
    }
    again = encode_result(
        Ending(**said),
        Envelope(result.request, trace=result.trace, correlation=result.correlation, trail=result.trail),
        pipeline=as_document(record)["headers"]["ce_source"].removeprefix("/failsoft/"),
        published_at=result.published_at or 0.0,
        custom_id=result.custom_id,
        body=result.body if result.is_ok else None,
        message=(result.error or {}).get("message"),
        status_code=result.status_code,
        region=result.region,
        coalesced_with=result.coalesced_with,
        context_state=result.context_state,
        stage=result.stage,
    )
    assert again == record


@pytest.mark.parametrize("path", examples("answer"))
def test_an_answer_is_decoded_and_written_again_as_it_was(path):
    record = as_record(json.loads(path.read_text()))
    assert encode_answer(decode_answer(record.key, record.headers, record.value or b""), pipeline="support") == record


@pytest.mark.parametrize("path", examples("dead-letter"))
def test_a_dead_letter_is_decoded_and_written_again_as_it_was(path):
    record = as_record(json.loads(path.read_text()))
    assert encode_dead_letter(decode_dead_letter(record.key, record.value, record.headers)) == record


@pytest.mark.parametrize("path", examples("rollup"))
def test_a_rollup_is_decoded_and_written_again_as_it_was(path):
    record = as_record(json.loads(path.read_text()))
    said = dict(record.headers)
    rollup = decode_rollup(record.value, record.headers)
    assert rollup is not None
    pipeline = (said["ce_source"] or b"").decode().removeprefix("/failsoft/")
    assert encode_rollup(rollup, pipeline=pipeline, id_=(said["ce_id"] or b"").decode()) == record


@pytest.mark.parametrize("path", examples("latency"))
def test_a_profile_of_the_fleet_is_decoded_and_written_again_as_it_was(path):
    record = as_record(json.loads(path.read_text()))
    assert encode_fleet_profile(*decode_fleet_profile(record.value)) == record


@pytest.mark.parametrize("path", examples("degradation"))
def test_a_cell_of_the_ledger_is_decoded_and_written_again_as_it_was(path):
    record = as_record(json.loads(path.read_text()))
    assert encode_cell(*decode_cell(record.value)) == record


@pytest.mark.parametrize("path", examples("register"))
def test_a_register_is_decoded_and_written_again_as_it_was(path):
    record = as_record(json.loads(path.read_text()))
    breaker, process, register = decode_register(record.key, record.value, record.headers)
    assert register is not None
    assert encode_register(breaker, process, register) == record


@pytest.mark.parametrize("path", examples("control"))
def test_an_operator_s_word_is_decoded_and_written_again_as_it_was(path):
    record = as_record(json.loads(path.read_text()))
    control = decode_control(record.value, record.headers)
    assert control is not None
    assert encode_control(control) == record


@pytest.mark.parametrize("path", examples("route"))
def test_an_operator_s_route_is_decoded_and_written_again_as_it_was(path):
    record = as_record(json.loads(path.read_text()))
    route = decode_route(record.value, record.headers)
    assert route is not None
    assert encode_route(route) == record


@pytest.mark.parametrize("path", examples("dead-letter-mark"))
def test_a_mark_of_a_dead_letter_is_decoded_and_written_again_as_it_was(path):
    record = as_record(json.loads(path.read_text()))
    assert encode_mark(decode_mark(record.headers)) == record


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("request", {"value": {"custom_id": "1", "method": "POST", "url": "/v1/x"}}),
        ("request", {"value": {"custom_id": "1", "method": "POST", "url": "/v1/x", "body": {}, "contxt": {}}}),
        ("request", {"headers": {"ce_floor": "4"}}),
        ("request", {"headers": {"ce_type": "failsoft.result.v1"}}),
        ("request", {"headers": {"content-type": "application/cloudevents+json"}}),
        ("result", {"headers": {"ce_outcome": "perhaps"}}),
        ("dead-letter", {"headers": {}}),
        ("dead-letter-mark", {"headers": {}}),
        ("dead-letter-mark", {"value": {}}),
        ("rollup", {"value": {"stage": "s", "endings": []}}),
        ("latency", {"value": {"stage": "s", "tier": "t", "region": "", "answers": {}, "cut": {}}}),
        ("degradation", {"value": {"stage": "s"}}),
        ("register", {"value": {"epoch": 1, "phase": "ajar"}}),
        (
            "route",
            {
                "value": {
                    "endpoint": "s/t",
                    "origin": "eu",
                    "target": "us",
                    "share": 2,
                    "epoch": 1,
                    "who": "me",
                    "why": "",
                }
            },
        ),
        ("control", {"value": {"breaker": "s/t", "force": "ajar", "who": "me", "why": "", "until": None}}),
    ],
)
def test_a_schema_refuses_what_the_code_refuses(kind, change):
    document = json.loads(next(path for path in EXAMPLES if kind_of(path) == kind).read_text()) | change
    with pytest.raises(ValidationError):
        validator(kind).validate(document)


@given(envelope=envelopes(), line=lines())
def test_requests_that_we_write_follow_the_schema(envelope, line):
    headers = encode_request_headers(envelope, budget_seconds=1.5, sent_at=1_700_000_000.0)
    text = [(name, value) for name, value in headers if name != "kafka_correlationId"]  # Spring's is not text
    validator("request").validate(as_document(Record(None, encode_request(line), text)))
