"""What two worker processes share of answers, on a real broker: the one that is left, and the one that comes after, know them."""

import asyncio
import re
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from failsoft.cli.exits import Exit
from failsoft.policy.outcome import Outcome
from failsoft.wire import Envelope, Identity, RequestLine, Result
from failsoft.wire.body import encode_request
from failsoft.wire.envelope import encode_request_headers
from failsoft.wire.identity import result_id
from tests.acceptance.harness import Cluster, new_cluster, until
from tests.faults.fleet import Worker, a_fleet
from tests.kafka.conftest import create_topics

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance]

PIPELINE = """
import asyncio, os, pathlib
from failsoft import CachedAnswer, Constant, EndpointBroken, Output, Pipeline

pipeline = Pipeline(os.environ["TEST_PIPELINE"])
stage = pipeline.stage("work")

@stage.tier("large", limit=24, expect="100ms", revision="1")
async def large(call):
    with open("calls", "a") as calls:
        calls.write(f"{os.getpid()}\\n")
    if pathlib.Path("down").exists():
        raise EndpointBroken("down")
    await asyncio.sleep(0.1)
    return Output({"by": os.getpid(), "for": call.tenant, "asked": call.body["asked"]})

stage.tier("known", CachedAnswer())
stage.tier("sorry", Constant({"by": None}))
"""
ANSWERS = 'answers: {config: {cleanup.policy: "compact,delete", retention.ms: 24h}}'
QUESTIONS = [(tenant, number) for number in range(12) for tenant in ("a", "b")]
BUDGET_SECONDS = 30.0
COMMITTED_SECONDS = 3.0
"""A worker commits each second. What is done and not committed when it dies is done again, before its answers are read."""


@pytest.fixture
async def cluster(kafka_bootstrap: str) -> AsyncIterator[Cluster]:
    async with new_cluster(kafka_bootstrap, ANSWERS) as made:
        yield made


async def ask(cluster: Cluster, tenant: str, number: int, *, budget_seconds: float = BUDGET_SECONDS) -> str:
    """Send a question that both tenants ask by the same words, the same forged key, and so in the same partition."""
    identity = Identity("/test", f"{time.monotonic_ns()}")
    envelope = Envelope(identity, tenant=tenant, coalesce_key=f"forged-{number}")
    headers = encode_request_headers(envelope, budget_seconds=budget_seconds, sent_at=time.time())
    value = encode_request(RequestLine(identity.id, "/v1/x", {"asked": number}))
    topic = f"{cluster.pipeline}.work.standard"
    await cluster.outbox.send(topic, key=f"forged-{number}".encode(), value=value, headers=headers)
    return result_id(identity)


async def ask_all(
    cluster: Cluster, questions: list[tuple[str, int]], *, budget_seconds: float = BUDGET_SECONDS
) -> list[Result]:
    ids = [await ask(cluster, *question, budget_seconds=budget_seconds) for question in questions]
    found = await cluster.results_of(ids)
    return [found[id_] for id_ in ids]


def calls(folder: Path) -> list[int]:
    """Which process was called, once for each call."""
    path = folder / "calls"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


async def owns(share: float, *workers: Worker) -> None:
    """Wait until each worker has this share of the partitions."""
    await until(lambda: all(share_of(worker) == share for worker in workers), 60.0)


async def knows(count: int, worker: Worker) -> None:
    """Wait until the worker has read so many answers: it takes requests before that, and would call for them."""
    (address,) = re.findall(r"ready: (\S+/metrics)", worker.log.read_text())
    async with aiohttp.ClientSession() as session, asyncio.timeout(60.0):
        while True:
            async with session.get(address) as response:
                if f'failsoft_answers{{stage="work"}} {count}.0' in await response.text():
                    return
            await asyncio.sleep(0.1)


def share_of(worker: Worker) -> float:
    """What it has last said of itself."""
    return float(["0", *re.findall(r"share=([\d.]+)", worker.log.read_text())][-1])


async def test_a_worker_refuses_a_topic_of_answers_that_does_not_go_with_its_requests(kafka_bootstrap, tmp_path: Path):
    async with new_cluster(kafka_bootstrap) as cluster:
        await create_topics(kafka_bootstrap, {f"{cluster.pipeline}.answers": 5})
        cluster.text += f"  {ANSWERS}\n"
        async with a_fleet(cluster, tmp_path, kafka_bootstrap, code=PIPELINE) as fleet:
            worker = await fleet.start()
            assert await asyncio.wait_for(worker.process.wait(), 60.0) == Exit.USAGE
            assert f"{cluster.pipeline}.answers has 5" in worker.log.read_text()


async def test_answers_outlive_the_worker_that_was_told_them_and_stand_in_for_a_model_that_is_down(
    cluster: Cluster, kafka_bootstrap: str, tmp_path: Path
):
    ttl = f"FAILSOFT_{cluster.pipeline.upper().replace('-', '_')}__WORK__ANSWERS"
    async with a_fleet(cluster, tmp_path, kafka_bootstrap, code=PIPELINE) as fleet:
        first, second = await fleet.start(), await fleet.start()
        await first.ready()
        await second.ready()
        await owns(0.5, first, second)
        asked = await ask_all(cluster, QUESTIONS)
        assert {result.outcome for result in asked} == {Outcome.OK}
        assert len(calls(tmp_path)) == len(QUESTIONS)
        assert set(calls(tmp_path)) == {first.process.pid, second.process.pid}

        await asyncio.sleep(COMMITTED_SECONDS)
        await first.exit_after(signal.SIGKILL)
        await owns(1.0, second)
        await knows(len(QUESTIONS), second)
        again = await ask_all(cluster, QUESTIONS)
        assert len(calls(tmp_path)) == len(QUESTIONS), "all was known, also what only the dead one was told"
        for (tenant, number), before, result in zip(QUESTIONS, asked, again, strict=True):
            assert result.body == before.body
            assert (result.body["for"], result.body["asked"]) == (tenant, number)
            assert (result.tier, result.is_stale, result.executions) == ("large", False, 0)
            assert result.age_seconds is not None

        await second.exit_after(signal.SIGTERM)
        (tmp_path / "down").touch()
        fleet._environment |= {f"{ttl}_TTL": "100ms", f"{ttl}_REVALIDATE": "0s"}
        third = await fleet.start()
        await third.ready()
        await owns(1.0, third)
        await knows(len(QUESTIONS), third)
        known = await ask_all(cluster, QUESTIONS, budget_seconds=5.0)
        unknown = await ask_all(cluster, [("c", number) for number in range(12)], budget_seconds=5.0)
    for (tenant, number), result in zip(QUESTIONS, known, strict=True):
        assert (result.body["for"], result.body["asked"]) == (tenant, number)
        assert (result.outcome, result.tier, result.level, result.is_stale) == (Outcome.OK, "known", 3, True)
    for result in unknown:
        assert (result.tier, result.body["by"], result.is_stale) == ("sorry", None, False)
    assert min(result.slack_seconds for result in (*known, *unknown)) > 0, "nothing waits past its deadline"
