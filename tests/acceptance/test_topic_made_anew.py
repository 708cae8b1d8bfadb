"""An operator deletes a topic of requests and makes it anew while workers hold records of it: its offsets begin again at 0."""

import asyncio
import time

import pytest

from failsoft import Call, Output, Pipeline
from failsoft.catalogue import requests_topic
from failsoft.kafka import operations
from failsoft.kafka.admin import Admin
from failsoft.wire import Envelope, Identity, RequestLine
from failsoft.wire.body import encode_request
from failsoft.wire.envelope import encode_request_headers
from failsoft.wire.identity import result_id
from tests.acceptance.harness import Cluster, until

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance]

OLD, NEW = [f"old-{n}" for n in range(12)], [f"new-{n}" for n in range(12)]


class Model:
    """Takes one call, and keeps it until it is allowed to end; the others wait in the worker."""

    def __init__(self, pipeline: str) -> None:
        self.may_answer = asyncio.Event()
        self.called: list[str] = []
        self.pipeline = Pipeline(pipeline)
        self.pipeline.stage("work").tier("model", limit=1)(self.answer)

    async def answer(self, call: Call) -> Output:
        self.called.append(call.body["prompt"])
        await self.may_answer.wait()
        return Output({"asked": call.body["prompt"]})


async def made_anew(cluster: Cluster, topic: str) -> None:
    await operations.delete_topic(cluster.connection, topic)
    spec = next(each for each in cluster.catalogue.wanted_topics() if each.name == topic)
    async with Admin(cluster.connection) as admin:
        await admin.create([spec])


async def test_each_request_of_the_new_topic_gets_its_own_answer_and_none_is_passed_over(cluster: Cluster):
    model = Model(cluster.pipeline)
    async with cluster.worker(model.pipeline) as runner:
        old = [await cluster.send("batch", id_) for id_ in OLD]
        await until(lambda: runner.machine.waiting["batch"] + len(model.called) == len(OLD))
        await made_anew(cluster, requests_topic(cluster.pipeline, "work", "batch"))
        new = [await cluster.send("batch", id_) for id_ in NEW]
        model.may_answer.set()
        results = await cluster.results_of(new)
    asked = {id_: result.body["asked"] for id_, result in results.items()}
    assert {id_: asked[id_] for id_ in new} == dict(zip(new, NEW, strict=True))
    assert all(asked[id_] == sent for id_, sent in zip(old, OLD, strict=True) if id_ in asked)


async def test_offsets_that_go_back_begin_anew_and_nothing_below_the_old_ones_is_passed_over(cluster: Cluster):
    model = Model(cluster.pipeline)
    model.may_answer.set()
    topic = requests_topic(cluster.pipeline, "work", "batch")

    async def send(*names: str) -> list[str]:
        ids = []
        for name in names:
            identity = Identity("/test", name)
            headers = encode_request_headers(Envelope(identity), budget_seconds=600.0, sent_at=time.time())
            value = encode_request(RequestLine(name, "/v1/chat/completions", {"prompt": name}))
            await cluster.outbox.send(topic, key=b"k", value=value, headers=headers, partition=0)
            ids.append(result_id(identity))
        return ids

    async with cluster.worker(model.pipeline):
        await cluster.results_of(await send(*OLD))
        await made_anew(cluster, topic)
        await cluster.results_of(await send(*NEW[:4]))
        await cluster.results_of(await send(*NEW[4:]))
