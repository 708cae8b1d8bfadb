"""Workers come, go and die; nothing is lost, nothing is seen twice, nothing is committed that is not done."""

import asyncio
import os
import random
import signal
import sys
import time
from asyncio.subprocess import Process
from collections import Counter
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from failsoft.catalogue import results_topic
from tests.acceptance.harness import BUDGETS, Cluster

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance]

SECONDS = 30.0
PIPELINE = """
import asyncio, os, random
from failsoft import Constant, Output, Pipeline

pipeline = Pipeline(os.environ["TEST_PIPELINE"])
stage = pipeline.stage("work")

@stage.tier("large", limit=48)
async def large(call):
    await asyncio.sleep(random.uniform(0.0, 0.5))
    return Output({"content": call.body["prompt"]})

stage.tier("sorry", Constant({"content": "sorry"}))
"""


class Fleet:
    """Worker processes, at most three, told and killed at random."""

    def __init__(self, cluster: Cluster, folder: Path, rng: random.Random) -> None:
        self.cluster = cluster
        self.folder = folder
        self.rng = rng
        self.running: list[Process] = []
        self.actions: Counter[str] = Counter()
        self.exit_codes: list[int] = []
        (folder / "slow.py").write_text(PIPELINE)
        (folder / "topics.yaml").write_text(cluster.text)

    async def start(self) -> None:
        log = (self.folder / f"worker-{self.actions['start']}.log").open("wb")
        worker = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "failsoft", "worker", "slow:pipeline", "--session-timeout", "3s"],
            cwd=self.folder,
            env=os.environ
            | {
                "TEST_PIPELINE": self.cluster.pipeline,
                "KAFKA_BOOTSTRAP_SERVERS": self.cluster.connection.bootstrap_servers,
            },
            stdout=log,
            stderr=log,
        )
        log.close()
        self.actions["start"] += 1
        self.running.append(worker)

    async def end(self, worker: Process, number: signal.Signals) -> None:
        self.running.remove(worker)
        worker.send_signal(number)
        code = await asyncio.wait_for(worker.wait(), 30.0)
        if number == signal.SIGTERM:
            self.exit_codes.append(code)

    async def act(self) -> None:
        """One random thing: a start where there is room, else an orderly or a violent end."""
        if len(self.running) < 3 and self.rng.random() < 0.6:
            await self.start()
        elif len(self.running) > 1:
            worker = self.rng.choice(self.running)
            number = self.rng.choice([signal.SIGTERM, signal.SIGKILL])
            self.actions[number.name] += 1
            await self.end(worker, number)

    async def stop(self) -> None:
        for worker in list(self.running):
            await self.end(worker, signal.SIGTERM)


async def committed_offsets(cluster: Cluster) -> dict[tuple[str, int], int]:
    """What the group has committed: (topic, partition) -> offset."""
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.connection.bootstrap_servers)
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(f"failsoft.{cluster.pipeline}.work")
    except GroupCoordinatorNotAvailableError:  # on a fresh broker, as long as nobody has ever joined a group
        return {}
    finally:
        await admin.close()
    return {(place.topic, place.partition): meta.offset for place, meta in found.items()}


async def commits_ahead(cluster: Cluster) -> list[str]:
    """Requests below a committed offset that have no result. The offsets are taken first, so the results may only be more."""
    committed = await committed_offsets(cluster)
    results, _ = await cluster.results()
    return [
        id_
        for id_, (request_class, partition, offset) in cluster.sent.items()
        if offset < committed.get((f"{cluster.pipeline}.work.{request_class}", partition), 0) and id_ not in results
    ]


@pytest.mark.timeout(180)
async def test_three_workers_started_stopped_and_killed_at_random_lose_nothing(cluster: Cluster, tmp_path: Path):
    rng = random.Random(20261125)
    fleet = Fleet(cluster, tmp_path, rng)
    ahead: list[str] = []
    ends_at = time.monotonic() + SECONDS

    async def keep_sending() -> None:
        number = 0
        while time.monotonic() < ends_at:
            for _ in range(10):
                await cluster.send(rng.choice(list(BUDGETS)), f"request-{number}", budget_seconds=60.0)
                number += 1
            await asyncio.sleep(0.1)

    async def keep_acting() -> None:
        while time.monotonic() < ends_at:
            await asyncio.sleep(rng.uniform(0.5, 2.0))
            await fleet.act()

    async def keep_checking() -> None:
        while time.monotonic() < ends_at:
            await asyncio.sleep(2.0)
            ahead.extend(await commits_ahead(cluster))

    try:
        await fleet.start()
        await fleet.start()
        await asyncio.gather(keep_sending(), keep_acting(), keep_checking())
        if not fleet.running:
            await fleet.start()
        async with asyncio.timeout(90.0):
            while not (lost := set(cluster.sent) - set((await cluster.results())[0])) <= set():
                await asyncio.sleep(0.5)
    finally:
        await fleet.stop()
    visible, repeats = await cluster.read(results_topic(cluster.pipeline))
    ids = [(record.key or b"").decode() for record in visible]
    print(f"{len(cluster.sent)} requests, {dict(fleet.actions)}, repeats in the log {repeats}")
    assert fleet.actions["SIGKILL"] + fleet.actions["SIGTERM"] >= 5, "the seed makes no trouble; take another"
    assert not lost
    assert not ahead
    assert len(ids) == len(set(ids))
    assert set(ids) == set(cluster.sent)
    assert set(fleet.exit_codes) <= {0, -signal.SIGTERM}  # a worker that is told before it is up just ends
