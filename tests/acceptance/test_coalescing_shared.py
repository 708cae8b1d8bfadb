"""A herd that asks the same, on a real broker with several worker processes: one call, and an end for everybody."""

import asyncio
import itertools
import random
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from failsoft.catalogue import requests_topic
from failsoft.policy.outcome import Outcome, Reason
from failsoft.runtime.submission import choose_destination
from failsoft.wire import Identity, RequestLine, Result
from failsoft.wire.body import encode_request
from failsoft.wire.identity import result_id
from tests.acceptance.harness import Cluster, until
from tests.acceptance.test_rebalances import committed_offsets
from tests.faults.fleet import Fleet, Worker, a_fleet

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance, pytest.mark.alone]

CALL_SECONDS = 6.0
PIPELINE = f"""
import asyncio, os
from failsoft import Constant, Output, Pipeline

pipeline = Pipeline(os.environ["TEST_PIPELINE"])
stage = pipeline.stage("work")

@stage.tier("large", limit=48, expect="3s")
async def large(call):
    with open("calls", "a") as calls:
        calls.write(f"{{os.getpid()}}\\n")
    await asyncio.sleep({CALL_SECONDS})
    return Output({{"content": "done"}})

stage.tier("sorry", Constant({{"content": "sorry"}}))
"""
"""Whoever is called writes down its process: the count is the model's, not the workers'."""

BUDGETS = {"interactive": 60.0, "standard": 120.0, "batch": 3_600.0}
HERD = 1_000
HERD_SECONDS = 0.2
SHORT_SECONDS = 3.5
"""Less than the call takes, and more than it is expected to take: they join it, and leave it."""


@dataclass
class Sent:
    """One request of a herd."""

    id: str
    budget_seconds: float
    appended_at: float = 0.0


async def send_herd(
    cluster: Cluster,
    count: int = HERD,
    *,
    budget: Callable[[int, str], float] = lambda _, name: BUDGETS[name],
    key: Callable[[], bytes] | None = None,
) -> list[Sent]:
    """Send one content so many times within 200 ms, over all classes in turn, as senders of ours do.

    Args:
        cluster: its topics.
        count: how many.
        budget: number and class -> how long each may take.
        key: of the records, for a sender that has a rule of its own.
    """
    line = RequestLine("same", "/v1/chat/completions", {"prompt": "which digit is it?", "temperature": 0})
    value = encode_request(line)
    began_at = time.monotonic()

    async def send(number: int, name: str) -> Sent:
        await asyncio.sleep(number / count * HERD_SECONDS - (time.monotonic() - began_at))
        seconds = budget(number, name)
        destination = choose_destination(cluster.catalogue, request_class=name, deadline_seconds=seconds)
        identity = Identity("/herd", str(number))
        record = destination.record(line, value, identity, sent_at=time.time())
        place = await cluster.outbox.send(
            destination.topic, key=record.key if key is None else key(), value=value, headers=record.headers
        )
        cluster.sent[result_id(identity)] = (name, place.partition, place.offset)
        return Sent(result_id(identity), seconds)

    names = itertools.cycle(BUDGETS)
    return await asyncio.gather(*(send(number, next(names)) for number in range(count)))


async def ends_of(cluster: Cluster, herd: list[Sent]) -> dict[str, Result]:
    """Wait until all are answered; each once."""
    results = await cluster.results_of([sent.id for sent in herd])
    assert len(results) == len(herd)
    return results


def calls(folder: Path) -> list[int]:
    """The processes that called the model, in order."""
    path = folder / "calls"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def caller(fleet: Fleet) -> Worker:
    """Whose call it was."""
    [process] = calls(fleet.folder)
    return next(worker for worker in fleet.workers if worker.process.pid == process)


@asynccontextmanager
async def workers(cluster: Cluster, folder: Path, count: int) -> AsyncIterator[Fleet]:
    """So many, which share the partitions."""
    async with a_fleet(
        cluster, folder, cluster.connection.bootstrap_servers, "--session-timeout", "3s", code=PIPELINE
    ) as fleet:
        for _ in range(count):
            await fleet.start()
        await asyncio.gather(*(worker.ready() for worker in fleet.workers))
        await settled(fleet)
        yield fleet


async def settled(fleet: Fleet) -> None:
    """Wait until everybody owns something, and nobody's share has moved for a while."""
    counts: list[int] = []
    while not counts or min(counts) < 1 or counts != [worker.count("assigned") for worker in fleet.workers]:
        counts = [worker.count("assigned") for worker in fleet.workers]
        await asyncio.sleep(1.0)


@pytest.mark.timeout(120)
async def test_a_thousand_equal_requests_of_three_classes_are_one_call_and_a_thousand_results_each_in_time(
    cluster: Cluster, tmp_path: Path
):
    def budget(number: int, name: str) -> float:
        return SHORT_SECONDS if number % 30 == 0 else BUDGETS[name]

    async with workers(cluster, tmp_path, 3) as fleet:
        herd = await send_herd(cluster, budget=budget)
        results = await ends_of(cluster, herd)
        assert [worker.process.returncode for worker in fleet.workers] == [None] * 3
    short = {sent.id for sent in herd if sent.budget_seconds == SHORT_SECONDS}
    patient = {id_: result for id_, result in results.items() if id_ not in short}
    assert len(calls(tmp_path)) == 1
    assert {(result.outcome, result.tier) for result in patient.values()} == {(Outcome.OK, "large")}
    assert len({result.coalesced_with for result in patient.values()} - {None}) == 1
    # On a machine that is slow enough some are late in the log already: then they end as expired, and at once too.
    assert {(results[id_].outcome, results[id_].tier) for id_ in short} <= {
        (Outcome.OK, "sorry"),
        (Outcome.EXPIRED, None),
    }
    ended_at = [results[id_].published_at or 0.0 for id_ in short]
    assert max(ended_at) < min(result.published_at or 0.0 for result in patient.values()), "nobody waits for the call"


@pytest.mark.timeout(120)
async def test_the_worker_of_the_call_is_killed_and_all_are_answered_at_the_cost_of_one_more_call(
    cluster: Cluster, tmp_path: Path
):
    async with workers(cluster, tmp_path, 3) as fleet:
        herd = await send_herd(cluster)
        await until(lambda: calls(tmp_path))
        await asyncio.sleep(0.5)
        committed = await committed_offsets(cluster)
        places = {(requests_topic(cluster.pipeline, "work", name), number) for name, number, _ in cluster.sent.values()}
        assert all(committed.get(place, 0) == 0 for place in places), "one who waits is not committed"
        await caller(fleet).exit_after(signal.SIGKILL)
        results = await ends_of(cluster, herd)
    assert len(calls(tmp_path)) == 2
    assert len(set(calls(tmp_path))) == 2
    assert {(result.outcome, result.reason, result.tier) for result in results.values()} == {
        (Outcome.OK, Reason.NONE, "large")
    }


@pytest.mark.timeout(120)
async def test_a_worker_that_comes_while_a_herd_waits_costs_one_more_call_at_most(cluster: Cluster, tmp_path: Path):
    async with workers(cluster, tmp_path, 2) as fleet:
        herd = await send_herd(cluster)
        await until(lambda: calls(tmp_path))
        late = await fleet.start()
        results = await ends_of(cluster, herd)
        await late.ready()
    assert len(calls(tmp_path)) <= 2
    assert {(result.outcome, result.tier) for result in results.values()} == {(Outcome.OK, "large")}


@pytest.mark.timeout(120)
async def test_under_foreign_keys_a_herd_is_one_call_for_each_worker_that_it_reaches(cluster: Cluster, tmp_path: Path):
    dice = random.Random(7)
    async with workers(cluster, tmp_path, 2) as fleet:
        herd = await send_herd(cluster, key=lambda: dice.randbytes(8))
        results = await ends_of(cluster, herd)
        processes = {worker.process.pid for worker in fleet.workers}
    assert len({(name, number) for name, number, _ in cluster.sent.values()}) == 18, "the keys spread them over all"
    assert sorted(calls(tmp_path)) == sorted(processes)
    assert {(result.outcome, result.tier) for result in results.values()} == {(Outcome.OK, "large")}
