"""What a sender may do wrong, or on purpose, against the production runner: an end with a reason, and the worker goes on.

The limits themselves are tested where they are (tests/wire). Here each is crossed by a record that stands in the log between
two good ones: it ends as an invalid result that says why, with a dead letter beside it, its offset is committed, and the good
ones are answered.
"""

import asyncio
from dataclasses import dataclass

import orjson
import pytest

from failsoft import Call, Output, Pipeline
from failsoft.catalogue import parse
from failsoft.policy.outcome import Outcome, Reason
from failsoft.testing.memory import MemoryBroker, MemoryOutbox, MemoryResultReader, MemoryWorker
from failsoft.testing.virtual_clock import VirtualClock
from failsoft.testing.virtual_time import run_in_virtual_time
from failsoft.wire.limits import DEPTH, HEADER_BYTES, HEADER_COUNT, VALUE_BYTES
from failsoft.wire.record import ForeignHeaders
from failsoft.wire.result import Result, decode_result

CATALOGUE = parse("""
version: 1
defaults: {partitions: 1, replication: 1, config: {message.timestamp.type: LogAppendTime}}
classes: {batch: {weight: 1, deadline: 1h, deadline_max: 2h}}
pipelines: {demo: [work]}
topics:
  requests:     {config: {retention.ms: 7d, max.message.bytes: 1.25MiB}}
  results:      {config: {retention.ms: 7d, max.message.bytes: 4MiB}}
  dead-letters: {config: {retention.ms: 14d, max.message.bytes: 4MiB}}
""")
LINE = {"custom_id": "mine", "method": "POST", "url": "/v1/x", "body": {"n": 1}}
GOOD = orjson.dumps(LINE)
IDENTITY: list[tuple[str, bytes | None]] = [("ce_source", b"/test"), ("ce_id", b"7")]


@dataclass(frozen=True)
class Case:
    """A record, and what its result has to say."""

    says: str
    value: bytes | None = GOOD
    headers: ForeignHeaders = ()
    key: bytes | None = b"k"


def line(**changed: object) -> bytes:
    return orjson.dumps(LINE | changed)


def bodied(body: bytes) -> bytes:
    return GOOD.replace(b'{"n":1}', body)


CASES = {
    "no-value": Case("value: absent", None),
    "empty": Case("value: not JSON", b""),
    "no-json": Case("value: not JSON", b"\x00\x01\x02"),
    "no-object": Case("value: not an object", b"[]"),
    "too-long": Case("the limit is 1000000", bodied(b'{"a":"%s"}' % (b"x" * VALUE_BYTES))),
    "too-deep": Case("nested deeper than 64", bodied(b'{"a":%s1%s}' % (b"[" * DEPTH, b"]" * DEPTH))),
    "100000-deep": Case("value: not JSON", bodied(b'{"a":%s1%s}' % (b"[" * 100_000, b"]" * 100_000))),
    "nan": Case("value: not JSON", bodied(b'{"a":NaN}')),
    "infinity": Case("value: not JSON", bodied(b'{"a":1e999}')),
    "no-utf-8": Case("value: not JSON", bodied(b'{"a":"\xff\xfe"}')),
    "half-a-surrogate": Case("value: not JSON", bodied(b'{"a":"\\ud800"}')),
    "integer-of-300-digits": Case("64 bits", bodied(b'{"a":%s}' % (b"9" * 300))),
    "key-twice": Case("a key stands twice", bodied(b'{"a":1,"a":2}')),
    "member-unknown": Case("prompt: unknown", line(prompt="x")),
    "member-missing": Case("body: missing", b'{"custom_id":"a","method":"POST","url":"/v1/x"}'),
    "member-of-another-type": Case("body: not an object", line(body="x")),
    "no-path": Case("url: not a path", line(url="http://somewhere/v1")),
    "headers-33": Case(
        "headers: 33 of them, the limit is 32", headers=[("h", b"")] * (HEADER_COUNT + 1 - len(IDENTITY))
    ),
    "headers-1000": Case("headers: 1002 of them", headers=[("h", b"")] * 1_000),
    "headers-too-long": Case(
        "bytes of names and values, the limit is 8192", headers=[("name", b"x" * (HEADER_BYTES + 1))]
    ),
    "header-name-too-long": Case("headers: ", headers=[("n" * 100_000, b"")]),
    "header-no-utf-8": Case("ce_tenant: not UTF-8", headers=[("ce_tenant", b"\xff")]),
    "header-with-control": Case("ce_tenant: has a control character", headers=[("ce_tenant", b"a\nb")]),
    "header-empty": Case("ce_tenant: empty", headers=[("ce_tenant", None)]),
    "header-twice": Case("ce_budgetms: stands twice", headers=[("ce_budgetms", b"1000"), ("ce_budgetms", b"9000")]),
    "header-unprintable-and-twice": Case("(unprintable): stands twice", headers=[("ce_\x1b[2J", b"")] * 2),
    "floor-of-no-level": Case("ce_floor: not an integer from 1 to 3", headers=[("ce_floor", b"9")]),
    "budget-of-5000-digits": Case("ce_budgetms: not an integer", headers=[("ce_budgetms", b"9" * 5_000)]),
    "end-in-february": Case("ce_expirytime: not an RFC 3339", headers=[("ce_expirytime", b"2026-02-30T00:00:00Z")]),
    "another-version": Case("ce_specversion: only CloudEvents 1.0", headers=[("ce_specversion", b"2.0")]),
    "structured": Case("structured mode", headers=[("content-type", b"application/cloudevents+json")]),
    "key-of-200-kB": Case("value: not JSON", b"{", key=b"k" * 200_000),
}


def ends_of(case: Case) -> tuple[list[Result], int, int]:
    """The results of a record between two good ones; the dead letters; how far the group is."""

    async def main() -> tuple[list[Result], int, int]:
        broker = MemoryBroker(CATALOGUE, VirtualClock())
        outbox, pipeline = MemoryOutbox(broker), Pipeline("demo")
        stage = pipeline.stage("work")

        @stage.tier("model", limit=4, expect="1s")
        async def model(call: Call) -> Output:
            await asyncio.sleep(1)
            return Output(call.body)

        for value, headers, key in (
            (GOOD, (), b"k"),
            (case.value, [*IDENTITY, *case.headers], case.key),
            (GOOD, (), b"k"),
        ):
            await outbox.send("demo.work.batch", key=key, value=value, headers=headers)
        worker = MemoryWorker(broker, stage, catalogue=CATALOGUE)
        await worker.start()
        watching = asyncio.ensure_future(worker.runner.failed())
        await asyncio.sleep(30)
        assert not watching.done(), "the worker ended on it"
        watching.cancel()
        reader = MemoryResultReader(broker, "demo.results", start="beginning", until_end=True)
        await reader.start()
        results = [decode_result(record.headers, record.value) async for record in reader.records()]
        await worker.close()
        topics = CATALOGUE.stage_topics("demo", "work")
        [committed] = broker.group("failsoft.demo.work", topics).group.committed.values()
        return results, broker.topic("demo.dead-letters").logs[0].end, committed

    return run_in_virtual_time(main())


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_record_that_is_no_request_ends_invalid_with_a_reason_and_the_others_are_answered(case: Case):
    results, dead_letters, committed = ends_of(case)
    good = [result for result in results if result.is_ok]
    [bad] = [result for result in results if not result.is_ok]
    assert [result.body for result in good] == [{"n": 1}, {"n": 1}]
    assert (bad.outcome, bad.reason, bad.status_code) == (Outcome.INVALID, Reason.MALFORMED, 400)
    assert bad.error is not None
    assert case.says in bad.error["message"]
    assert (bad.request.source, bad.request.id) == ("/test", "7"), "its sender waits for it under the name that it gave"
    assert (dead_letters, committed) == (1, 3)


def test_a_name_that_is_said_twice_is_none_and_the_result_goes_by_the_place_of_the_record():
    results, _, _ = ends_of(Case("", headers=[("ce_id", b"8")]))
    [bad] = [result for result in results if not result.is_ok]
    assert (bad.request.source, bad.request.id) == ("/kafka/demo.work.batch", "0-1")


def test_an_answer_that_no_reader_would_read_is_a_failure_and_not_a_result_that_nobody_sees():
    too_deep_for_a_result = bodied(b'{"n":1,"a":%s1%s}' % (b"[" * (DEPTH - 2), b"]" * (DEPTH - 2)))
    results, dead_letters, committed = ends_of(Case("", too_deep_for_a_result))
    [bad] = [result for result in results if not result.is_ok]
    assert (bad.outcome, bad.reason) == (Outcome.FAILED, Reason.ANSWER_UNUSABLE)
    assert (len(results), dead_letters, committed) == (3, 0, 3)


def test_what_is_just_within_every_limit_is_answered():
    spare = [("h", b"")] * (HEADER_COUNT - len(IDENTITY) - 1)
    used = sum(len(name) + len(value or b"") for name, value in [*IDENTITY, *spare])
    around = len(("line", "body")) + 1  # in the result there is one level more, and this model echoes
    body = bodied(b'{"n":1,"a":%s1%s}' % (b"[" * (DEPTH - around), b"]" * (DEPTH - around)))
    value = body + b" " * (VALUE_BYTES - len(body))
    case = Case("", value, headers=[*spare, ("x", b"x" * (HEADER_BYTES - used - 1))])
    results, dead_letters, committed = ends_of(case)
    assert [result.outcome for result in results] == [Outcome.OK] * 3
    assert (dead_letters, committed) == (0, 3)


def test_tracing_that_is_no_text_ends_no_worker():
    results, dead_letters, committed = ends_of(Case("", headers=[("traceparent", b"\xff"), ("tracestate", b"\xfe\n")]))
    assert [result.outcome for result in results] == [Outcome.OK] * 3
    assert (dead_letters, committed) == (0, 3)
