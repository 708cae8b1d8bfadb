"""A run in the log: what was written is read, and what is no run is passed over by name."""

from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # it ships no types

from failsoft.failover.record import Word, decode_run, encode_run
from failsoft.failover.run import Kind, Run
from failsoft.policy.errors import MalformedRecord
from failsoft.wire import Record
from failsoft.wire.schema import SCHEMAS
from tests.failover.world import World


def runs() -> list[Run]:
    world = World()
    world.drilled()
    world.run(world.operator().begin(Kind.EXECUTE, why="naïve"))
    return [run for _, run in world.book.words if run is not None]


@pytest.mark.parametrize("run", runs(), ids=lambda run: f"{run.kind}-{run.phase}-{run.position}")
def test_every_word_of_a_run_is_read_as_it_was_written(run):
    record = encode_run(run)
    assert decode_run(record.key, record.value, record.headers) == Word(run.session, run)


def test_the_key_names_the_session_so_that_nobody_overwrites_another_s_word():
    run = runs()[-1]
    record = encode_run(run)
    assert record.key == f"classify/large|{run.epoch}|{run.session}".encode()
    assert encode_run(replace(run, session="x")).key != record.key


def test_a_word_that_is_taken_back_names_its_session():
    run = runs()[0]
    record = encode_run(run, is_deleted=True)
    assert decode_run(record.key, record.value, record.headers) == Word(run.session, None)


@pytest.mark.parametrize(
    ("change", "field"),
    [({"phase": "dreaming"}, "phase"), ({"epoch": "x"}, "epoch"), ({"steps": [{"share": 1}]}, "steps.0.hold_seconds")],
)
def test_what_is_no_run_is_refused_by_the_member(change, field):
    record = encode_run(runs()[0])
    document = {**orjson.loads(record.value or b""), **change}
    with pytest.raises(MalformedRecord) as refused:
        decode_run(record.key, orjson.dumps(document), record.headers)
    assert refused.value.field == field


def test_a_record_of_another_type_is_no_run():
    record = encode_run(runs()[0])
    with pytest.raises(MalformedRecord, match="ce_type"):
        decode_run(record.key, record.value, [("ce_type", b"failsoft.route.v1")])
    with pytest.raises(MalformedRecord, match="key"):
        decode_run(None, record.value, record.headers)


EXAMPLES = sorted((Path(__file__).parents[2] / "schemas" / "examples").glob("drill.*.json"))


def as_document(record: Record) -> dict[str, object]:
    headers = {name: (value or b"").decode() for name, value in record.headers}
    return {"key": (record.key or b"").decode(), "headers": headers, "value": orjson.loads(record.value or b"")}


@pytest.mark.parametrize("run", runs(), ids=lambda run: f"{run.kind}-{run.phase}-{run.position}")
def test_what_is_written_is_what_the_schema_says(run):
    Draft202012Validator(SCHEMAS["drill"]).validate(as_document(encode_run(run)))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_golden_example_is_read_and_written_the_same(path):
    document = orjson.loads(path.read_bytes())
    Draft202012Validator(SCHEMAS["drill"]).validate(document)
    word = decode_run(
        document["key"].encode(),
        orjson.dumps(document["value"]),
        [(name, text.encode()) for name, text in document["headers"].items()],
    )
    assert word.run is not None
    assert as_document(encode_run(word.run)) == document
