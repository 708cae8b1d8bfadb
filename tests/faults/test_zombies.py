"""A worker that is frozen until the group has given it up, and then goes on as if nothing had happened.

It wakes up with calls to finish and results to publish that its successors have published meanwhile. They may stand in the log
twice; no reader may show them twice, and its commits must not move anybody's offsets.
"""

import asyncio
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from failsoft.catalogue import results_topic
from failsoft.kafka.results import ResultReader
from tests.acceptance.harness import Cluster
from tests.acceptance.test_rebalances import commits_ahead
from tests.faults.fleet import WHOLE, Worker, a_fleet, load

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance]

ROUNDS = 50 if WHOLE else 4
SESSION_SECONDS = 3.0
"""Two would do on an idle machine; on one that also runs other tests, members are then evicted that nobody has frozen."""
FROZEN_SECONDS = 2 * SESSION_SECONDS
WORKERS = 3


@pytest.mark.timeout(1200 if WHOLE else 360)
async def test_a_worker_that_wakes_up_after_its_partitions_went_shows_nobody_a_second_result(
    cluster: Cluster, tmp_path: Path
):
    rng, seen, ahead = random.Random(20261128), Counter[str](), list[str]()
    address = cluster.connection.bootstrap_servers

    async def look_on() -> None:
        reader = ResultReader(cluster.connection, results_topic(cluster.pipeline), start="beginning")
        await reader.start()
        try:
            async for record in reader.records():
                seen[(record.key or b"").decode()] += 1
        finally:
            await reader.stop()

    looking = asyncio.create_task(look_on())
    async with a_fleet(cluster, tmp_path, address, "--session-timeout", f"{SESSION_SECONDS}s") as fleet:
        workers = [await fleet.start() for _ in range(WORKERS)]
        await asyncio.gather(*(worker.ready() for worker in workers))
        async with load(cluster, per_second=8, seconds=0.5):
            for first in range(0, ROUNDS, 2):
                chosen = rng.sample(workers, min(2, ROUNDS - first))
                await asyncio.gather(*(freeze(worker, rng.uniform(0.0, 1.0)) for worker in chosen))
                ahead += await commits_ahead(cluster)
                await asyncio.sleep(rng.uniform(0.0, 2.0))
        async with asyncio.timeout(180.0):
            while set(cluster.sent) - set(seen):
                await asyncio.sleep(0.5)
        assert all(worker.process.returncode is None for worker in workers), "a thawed worker must go on"
        revoked = sum(worker.count("revoked") for worker in workers)
        codes = [code for code, _ in await asyncio.gather(*(worker.exit_after(signal.SIGTERM) for worker in workers))]
    _, repeats = await cluster.read(results_topic(cluster.pipeline))
    looking.cancel()
    await asyncio.wait([looking])
    print(f"{len(cluster.sent)} requests, {ROUNDS} freezes, {revoked} losses noticed, {repeats} repeats in the log")
    assert revoked, "nobody was frozen for long enough to lose anything"
    assert [id_ for id_, times in seen.items() if times > 1] == []
    assert set(seen) == set(cluster.sent)
    assert ahead == []
    assert codes == [0] * WORKERS


async def freeze(worker: Worker, wait: float) -> None:
    await asyncio.sleep(wait)
    worker.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    while (left := FROZEN_SECONDS - (time.monotonic() - began)) > 0:  # it is time itself that is waited for
        await asyncio.sleep(left)
    worker.process.send_signal(signal.SIGCONT)
