"""Workers and the apps beside them, on a real broker: one who starts knows what the others measured, and nobody waits."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.rollup import Kind, Place
from failsoft.wire import Envelope, Identity, RequestLine, Result
from failsoft.wire.body import encode_request
from failsoft.wire.envelope import encode_request_headers
from failsoft.wire.identity import result_id
from failsoft.wire.result import decode_result
from tests.streams.site import Site, a_site, needs_faust

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance]

PIPELINE = """
import asyncio, os
from failsoft import Constant, Output, Pipeline

pipeline = Pipeline(os.environ["TEST_PIPELINE"])
work = pipeline.stage("work", coalesce="off")
find = pipeline.stage("find", coalesce="off")

@work.tier("full", limit=16, expect="1200ms")  # which is too good to be true
async def full(call):
    await asyncio.sleep(3.2)
    return Output({"by": "full"})

@work.tier("lower", limit=16, expect="20ms")
async def lower(call):
    return Output({"by": "lower"})

work.tier("sorry", Constant({"by": "constant"}))
find.tier("nothing", Constant({}))
"""
FULL = Place("work", "full", "")
SECONDS = 60.0


@pytest.fixture
async def site(kafka_bootstrap: str, tmp_path: Path) -> AsyncIterator[Site]:
    (tmp_path / "slow.py").write_text(PIPELINE)
    async with a_site(kafka_bootstrap, tmp_path) as made:
        yield made


@asynccontextmanager
async def a_worker(site: Site) -> AsyncIterator[None]:
    """A worker that is ready; it ends in order."""
    log = site.folder / f"worker-{uuid4().hex[:8]}.log"
    settings = {
        "TEST_PIPELINE": site.pipeline,
        "KAFKA_BOOTSTRAP_SERVERS": site.connection.bootstrap_servers,
    }
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "failsoft", "worker", "slow:pipeline", "--stage", "work"),
            cwd=site.folder,
            env=os.environ | settings,
            stdout=file,
            stderr=file,
        )
    try:
        async with asyncio.timeout(SECONDS):
            while "ready: " not in log.read_text():
                assert process.returncode is None, log.read_text()
                await asyncio.sleep(0.05)
        yield
        process.terminate()
        assert await asyncio.wait_for(process.wait(), SECONDS) == 0, log.read_text()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def send(site: Site, request_class: str, *, budget_seconds: float) -> str:
    identity = Identity("/test", uuid4().hex)
    headers = encode_request_headers(Envelope(identity), budget_seconds=budget_seconds, sent_at=time.time())
    value = encode_request(RequestLine("x", "/v1/x", {"n": identity.id}))
    id_ = result_id(identity)
    await site.outbox.send(f"{site.pipeline}.work.{request_class}", key=id_.encode(), value=value, headers=headers)
    return id_


async def results(site: Site, ids: list[str]) -> list[Result]:
    """Wait for these."""
    async with asyncio.timeout(SECONDS):
        while True:
            found = await site.model("results")
            if all(id_.encode() in found for id_ in ids):
                return [decode_result(found[id_.encode()].headers, found[id_.encode()].value) for id_ in ids]
            await asyncio.sleep(0.2)


@needs_faust
async def test_a_worker_that_has_just_started_knows_from_its_first_request_on_how_slow_a_tier_is(site: Site):
    latency, degradation = await site.start("latency"), await site.start("degradation")
    async with a_worker(site):
        ids = [await send(site, "batch", budget_seconds=60.0) for _ in range(32)]
        assert {result.tier for result in await results(site, ids)} == {"full"}
        async with asyncio.timeout(SECONDS):
            while (await site.profiles()).get(FULL) is None or (await site.profiles())[FULL].samples < 32:
                await asyncio.sleep(0.3)
    assert (await site.profiles())[FULL].answers.mean() == pytest.approx(3.2, rel=0.2)
    async with a_worker(site):
        [first] = await results(site, [await send(site, "interactive", budget_seconds=3.2)])
    assert (first.outcome, first.tier, first.executions) == (Outcome.OK, "lower", 1), "the full tier was not tried"
    async with asyncio.timeout(SECONDS):
        while sum((counted := await site.ledger()).values()) < 33:
            await asyncio.sleep(0.3)
    assert counted["work", Kind("batch", 1, Reason.NONE, Outcome.OK)] == 32
    assert counted["work", Kind("interactive", 2, first.reason, Outcome.OK)] == 1
    assert [await latency.stop(), await degradation.stop()] == [0, 0]


@needs_faust
async def test_requests_are_served_as_before_while_an_app_is_dead_or_frozen(site: Site):
    dead, frozen = await site.start("degradation"), await site.start("latency")
    async with a_worker(site):
        await asyncio.gather(dead.assigned(), frozen.assigned())
        await dead.kill()
        frozen.freeze()
        ids = [await send(site, "interactive", budget_seconds=10.0) for _ in range(8)]
        found = await results(site, ids)
    assert {(result.outcome, result.tier) for result in found} == {(Outcome.OK, "full")}


async def test_requests_are_served_where_nobody_has_ever_added_up(site: Site):
    async with a_worker(site):
        [result] = await results(site, [await send(site, "interactive", budget_seconds=10.0)])
    assert (result.outcome, result.tier) == (Outcome.OK, "full")
