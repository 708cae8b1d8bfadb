"""The Python client, against a worker on a real broker."""

import asyncio
import time
from typing import Any

import pytest

from failsoft import Call, Client, Context, ContextPart, Output, PartState, Pipeline, ResultOverdue, nonempty
from failsoft import client as client_module
from failsoft.policy.errors import ConfigurationError, MalformedRecord
from failsoft.policy.outcome import Outcome
from tests.acceptance.harness import Cluster

pytestmark = pytest.mark.kafka


def echo(name: str) -> Pipeline:
    pipeline = Pipeline(name)

    @pipeline.stage("work").tier("large")
    async def large(call: Call) -> Output:
        return Output({"echo": call.body["n"], "url": call.url, "tenant": call.tenant or ""})

    return pipeline


def client_of(cluster: Cluster, **said: str) -> Client:
    return Client(cluster.connection.bootstrap_servers, catalogue=cluster.catalogue, **said)


async def test_a_request_returns_its_result(cluster: Cluster):
    async with cluster.worker(echo(cluster.pipeline)), client_of(cluster, tenant="acme") as client:
        result = await client.request({"n": 1}, request_class="interactive", deadline="2s", custom_id="mine")
    assert (result.outcome, result.custom_id) == (Outcome.OK, "mine")
    assert result.body == {"echo": 1, "url": "/v1/chat/completions", "tenant": "acme"}


async def test_the_first_request_of_a_new_client_is_not_missed(cluster: Cluster):
    """Reading begins before the first send, so even an answer within a millisecond is seen."""
    async with cluster.worker(echo(cluster.pipeline)):
        for n in range(5):
            async with client_of(cluster) as client:
                assert (await client.request({"n": n}, request_class="interactive")).body["echo"] == n


async def test_many_requests_at_once_each_get_their_own_result(cluster: Cluster):
    pipeline = Pipeline(cluster.pipeline)

    @pipeline.stage("work").tier("large", limit=64, expect="300ms")
    async def large(call: Call) -> Output:
        await asyncio.sleep(0.3)  # of one that answers at once a late event loop cuts calls: its window is milliseconds
        return Output({"echo": call.body["n"]})

    async with cluster.worker(pipeline), client_of(cluster) as client:
        results = await asyncio.gather(*(client.request({"n": n}, request_class="standard") for n in range(200)))
    assert [result.body["echo"] for result in results] == list(range(200))


async def test_submitted_requests_come_back_as_they_end_and_each_once(cluster: Cluster):
    async with cluster.worker(echo(cluster.pipeline)), client_of(cluster) as client:
        ids = [await client.submit({"n": n}, request_class="batch") for n in range(20)]
        first = [result async for result in client.results(ids[:5])]
        rest = [result async for result in client.results()]
        again = [result async for result in client.results()]
    assert {result.id for result in first} == set(ids[:5])
    assert {result.id for result in rest} == set(ids[5:])
    assert again == []


async def test_a_client_that_is_given_the_pipeline_puts_what_its_stage_takes_for_equal_into_one_partition(
    cluster: Cluster,
):
    pipeline = Pipeline(cluster.pipeline)

    @pipeline.stage("work", coalesce="always").tier("large", expect="1s")
    async def large(call: Call) -> Output:
        await asyncio.sleep(1.0)
        return Output({"call": call.body["n"]})

    server = cluster.connection.bootstrap_servers
    async with (
        cluster.worker(pipeline),
        Client(server, pipeline=pipeline, catalogue=cluster.catalogue) as client,
    ):
        equal = [client.request({"n": 1}, request_class="standard") for _ in range(20)]
        named = [client.request({"n": 2 + n}, request_class="standard", coalesce_key="same") for n in range(20)]
        results = await asyncio.gather(*equal, *named)
    assert {result.body["call"] for result in results[:20]} == {1}
    assert len({result.body["call"] for result in results[20:]}) == 1
    assert sum(result.coalesced_with is None for result in results) == 2
    records, _ = await cluster.read(f"{cluster.pipeline}.work.standard")
    assert len({(record.key, record.partition) for record in records}) == 2


async def test_a_result_that_is_long_overdue_is_an_error_that_names_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(client_module, "OVERDUE_SECONDS", 0.5)
    async with client_of(cluster) as client:
        with pytest.raises(ResultOverdue) as overdue:
            await client.request({"n": 1}, request_class="interactive", deadline="200ms")
    assert overdue.value.result_id in str(overdue.value)


async def test_a_request_may_bring_what_was_gathered_for_it_already_and_of_what_age(cluster: Cluster):
    pipeline = Pipeline(cluster.pipeline)
    stage = pipeline.stage("work", context=Context(required={"documents": nonempty()}, max_age={"documents": "1h"}))

    @stage.tier("large")
    async def large(call: Call) -> Output:
        return Output({"seen": call.context})

    given: list[tuple[dict[str, object] | None, int, str]] = [
        ({"documents": ["page"]}, 1, "complete"),
        ({"documents": ContextPart(["page"], produced_at=time.time() - 7200)}, 2, "documents=stale"),
        ({"documents": ContextPart(["page"], PartState.TRUNCATED, time.time())}, 2, "documents=truncated"),
        ({"documents": []}, 2, "documents=empty"),
        (None, 2, "documents=missing"),
    ]
    async with cluster.worker(pipeline), client_of(cluster) as client:
        for context, level, found in given:
            result = await client.request({}, request_class="interactive", context=context)
            assert (result.level, result.context_state) == (level, found)
            assert result.body == {"seen": {"documents": ["page"]} if context and context["documents"] else {}}
        await client.submit({}, request_class="interactive", context={"documents": ["other"]})
        assert [result.body async for result in client.results()] == [{"seen": {"documents": ["other"]}}]


@pytest.mark.parametrize(
    ("context", "named"),
    [
        ({"documents": object()}, "value"),
        ({"documents": ContextPart([], produced_at=1.8e12)}, "context.documents.produced_at"),
        ({"documents": ContextPart([], "fresh")}, "context.documents.state"),  # type: ignore[arg-type]  # the point: no state
        (["documents"], "context"),
    ],
    ids=["no-json", "milliseconds", "state", "no-mapping"],
)
async def test_a_context_that_no_worker_would_read_is_refused(cluster: Cluster, context: Any, named: str):
    async with client_of(cluster) as client:
        with pytest.raises(MalformedRecord, match=f"^{named}"):
            await client.request({}, request_class="interactive", context=context)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"request_class": "urgent"}, "no class 'urgent'"),
        ({"request_class": "interactive", "deadline": "2h"}, "deadline_max"),
        ({"request_class": "interactive", "deadline": "soon"}, "deadline"),
    ],
)
async def test_what_cannot_be_is_refused_before_anything_is_sent(cluster: Cluster, said: dict[str, Any], named: str):
    async with client_of(cluster) as client:
        with pytest.raises(ConfigurationError, match=named):
            await client.request({"n": 1}, **said)


async def test_a_body_that_is_no_json_is_refused(cluster: Cluster):
    async with client_of(cluster) as client:
        with pytest.raises(MalformedRecord):
            await client.request({"n": object()}, request_class="interactive")


async def test_a_pipeline_without_topics_is_named_with_the_fix(kafka_bootstrap: str, cluster: Cluster):
    text = cluster.text.replace(cluster.pipeline, "nowhere")
    from failsoft.catalogue import parse

    with pytest.raises(ConfigurationError, match="topics apply"):
        async with Client(kafka_bootstrap, catalogue=parse(text)):
            pass
