"""Retrieval that fails without a word: what the next stage makes of it. Production runners on the broker in memory."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from failsoft import Call, Constant, Context, ContextPart, Output, PartState, Pipeline, at_least, vector
from failsoft.catalogue import Catalogue, parse
from failsoft.testing.memory import MemoryBroker, MemoryWorker
from failsoft.testing.virtual_clock import VirtualClock
from failsoft.testing.virtual_time import run_in_virtual_time
from failsoft.wire import Envelope, Identity, Record, RequestLine, Result
from failsoft.wire.body import encode_request
from failsoft.wire.envelope import encode_request_headers
from failsoft.wire.result import decode_result

CATALOGUE: Catalogue = parse("""
version: 1
defaults: {partitions: 1, replication: 1, config: {message.timestamp.type: LogAppendTime}}
classes: {interactive: {weight: 8, deadline: 5s, deadline_max: 60s}}
pipelines: {support: [retrieve, answer]}
topics:
  requests:     {config: {retention.ms: 7d, max.message.bytes: 1.25MiB}}
  results:      {config: {retention.ms: 7d, max.message.bytes: 4MiB}}
  dead-letters: {config: {retention.ms: 14d, max.message.bytes: 4MiB}}
  outcomes:     {partitions: 1, config: {retention.ms: 1h}}
""")
LINE = encode_request(RequestLine("1", "/v1/chat/completions", {"messages": []}))
PAGES = ["a page", "another"]
EMBEDDING = [0.1, 0.2]


@dataclass
class Ends:
    result: Result
    called: list[str]
    examined: dict[tuple[str, str], float]


def a_pipeline(gathered: dict[str, Any], called: list[str]) -> Pipeline:
    pipeline = Pipeline("support")
    retrieve = pipeline.stage("retrieve")

    @retrieve.tier("vectors", expect="50ms")
    async def vectors(call: Call) -> Output:
        return Output({}, context=gathered)

    context = Context(required={"documents": at_least(1), "embedding": vector(2)}, max_age={"documents": "1h"})
    answer = pipeline.stage("answer", after=retrieve, context=context)

    async def model(call: Call) -> Output:
        called.append(call.tier)
        return Output({"pages": call.context.get("documents")})

    answer.tier("large", needs={"documents", "embedding"}, expect="50ms")(model)
    answer.tier("small", expect="20ms")(model)
    answer.tier("apology", Constant({"content": "sorry"}))
    return pipeline


async def through(gathered: dict[str, Any]) -> Ends:
    clock = VirtualClock()
    broker = MemoryBroker(CATALOGUE, clock)
    called: list[str] = []
    pipeline = a_pipeline(gathered, called)
    workers = [MemoryWorker(broker, stage, catalogue=CATALOGUE, name=stage.name) for stage in pipeline.stages.values()]
    for worker in workers:
        await worker.start()
    envelope = Envelope(Identity("/shop", "1"))
    headers = encode_request_headers(envelope, budget_seconds=5.0, sent_at=clock.wall())
    broker.append("support.retrieve.interactive", Record(b"1", LINE, headers))
    await asyncio.sleep(3.0)
    logs = broker.topic("support.results").logs
    (record,) = (entry.value for log in logs for entry in log.read(0, 10) if entry.value is not None)
    metrics = workers[-1].runner._metrics
    examined = {
        (sample.labels["part"], sample.labels["found"]): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "failsoft_context_parts_total" and sample.value
    }
    for worker in workers:
        await worker.close()
    return Ends(decode_result(record.headers, record.value), called, examined)


def run(test: Callable[[], Awaitable[Ends]]) -> Ends:
    async def main() -> Ends:
        return await test()

    return run_in_virtual_time(main())


def test_what_was_found_reaches_the_full_tier():
    ends = run(lambda: through({"documents": PAGES, "embedding": EMBEDDING}))
    assert (ends.result.tier, ends.result.level, ends.result.reason) == ("large", 1, "none")
    assert (ends.result.body, ends.result.context_state) == ({"pages": PAGES}, "complete")
    assert ends.examined == {("documents", "present"): 1.0, ("embedding", "present"): 1.0}


@pytest.mark.parametrize(
    ("gathered", "state"),
    [
        ({"documents": [], "embedding": EMBEDDING}, "documents=empty"),
        ({"documents": ["", " "], "embedding": EMBEDDING}, "documents=empty"),
        ({"embedding": EMBEDDING}, "documents=missing"),
        ({"documents": PAGES, "embedding": [0.0, 0.0]}, "embedding=empty"),
        ({"documents": PAGES, "embedding": [0.1, math.nan]}, "embedding=empty"),
        ({"documents": PAGES, "embedding": [0.1]}, "embedding=empty"),
        ({}, "documents=missing embedding=missing"),
    ],
    ids=str,
)
def test_retrieval_that_silently_returns_nothing_is_found_out_and_the_smaller_model_answers(gathered, state):
    ends = run(lambda: through(gathered))
    assert ends.called == ["small"]
    assert (ends.result.outcome, ends.result.tier, ends.result.level) == ("ok", "small", 2)
    assert (ends.result.reason, ends.result.context_state) == ("context_incomplete", state)
    assert [(step.stage, step.level) for step in ends.result.trail] == [("retrieve", 1)]
    assert {f"{part}={found}" for part, found in ends.examined if found != "present"} == set(state.split())


def test_what_retrieval_says_of_a_part_goes_with_it():
    cut = ContextPart(PAGES, PartState.TRUNCATED)
    ends = run(lambda: through({"documents": cut, "embedding": EMBEDDING}))
    assert (ends.result.tier, ends.result.level, ends.result.context_state) == ("large", 2, "documents=truncated")
