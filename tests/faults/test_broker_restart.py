"""The only broker is killed under load and comes back: workers wait for it, and go on."""

import asyncio
import random
import re
import signal
import time
from pathlib import Path

import aiohttp
import pytest

from failsoft.catalogue import results_topic
from failsoft.kafka.raw import raw_records
from failsoft.testing.ensemble import Ensemble
from tests.acceptance.harness import Cluster, new_cluster
from tests.acceptance.test_rebalances import commits_ahead
from tests.faults.fleet import WHOLE, Worker, a_fleet, load

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance]

KILLS = 10 if WHOLE else 2
BACK_SECONDS = 15.0


@pytest.mark.timeout(900 if WHOLE else 240)
async def test_workers_outlive_a_broker_that_is_killed_and_serve_again_soon_after_it_answers(tmp_path: Path):
    rng, back = random.Random(20261128), list[float]()
    async with Ensemble(1) as kafka, new_cluster(kafka.direct) as cluster:
        async with a_fleet(cluster, tmp_path, kafka.direct) as fleet:
            workers = [await fleet.start() for _ in range(2)]
            await asyncio.gather(*(worker.ready() for worker in workers))
            async with load(cluster, per_second=20, seconds=0.3):
                for _ in range(KILLS):
                    await first_result(cluster, since=time.time())
                    await asyncio.sleep(rng.uniform(0.0, 3.0))
                    await kafka.kill(1)
                    await asyncio.sleep(rng.uniform(0.0, 8.0))
                    await kafka.start(1)
                    answers_at = time.time()
                    back.append(await first_result(cluster, since=answers_at) - answers_at)
            async with asyncio.timeout(60.0):
                while set(cluster.sent) - set((await cluster.results())[0]):
                    await asyncio.sleep(0.5)
            assert all(worker.process.returncode is None for worker in workers)
            assert await commits_ahead(cluster) == []
            codes = [code for code, _ in await asyncio.gather(*(w.exit_after(signal.SIGTERM) for w in workers))]
        _, repeats = await cluster.read(results_topic(cluster.pipeline))
    print(
        f"{len(cluster.sent)} requests, back after {sorted(round(seconds, 1) for seconds in back)} s, {repeats} repeats"
    )
    assert max(back) <= BACK_SECONDS
    assert codes == [0, 0]


@pytest.mark.timeout(240)
async def test_while_the_broker_is_away_a_worker_shows_how_long_its_results_have_waited(tmp_path: Path):
    """The watchdog's silence does not: what the cluster is to blame for is not counted there."""
    async with (
        Ensemble(1) as kafka,
        new_cluster(kafka.direct) as cluster,
        a_fleet(cluster, tmp_path, kafka.direct) as fleet,
    ):
        worker = await fleet.start()
        await worker.ready()
        async with load(cluster, per_second=20, seconds=0.3):
            await first_result(cluster, since=time.time())
            await kafka.kill(1)
            await until_shown(worker, "failsoft_unacknowledged_seconds", above=8.0)
            assert await shown(worker, 'failsoft_watchdog_silent_seconds{duty="send",stage=""}') < 8.0
            await kafka.start(1)
        async with asyncio.timeout(60.0):
            while set(cluster.sent) - set((await cluster.results())[0]):
                await asyncio.sleep(0.5)


async def until_shown(worker: Worker, series: str, *, above: float) -> None:
    async with asyncio.timeout(60.0):
        while await shown(worker, series) <= above:
            await asyncio.sleep(0.5)


async def shown(worker: Worker, series: str) -> float:
    """What /metrics says of it now."""
    (address,) = re.findall(r"ready: (\S+/metrics)", worker.log.read_text())
    async with aiohttp.ClientSession() as session, session.get(address) as response:
        page = await response.text()
    (value,) = re.findall(rf"^{re.escape(series)} (\S+)$", page, flags=re.MULTILINE)
    return float(value)


async def first_result(cluster: Cluster, *, since: float) -> float:
    """Wait for a result that the broker has taken after an instant; return when that was."""
    async with asyncio.timeout(60.0):
        while True:
            async for record in raw_records(cluster.connection, results_topic(cluster.pipeline), since=since):
                return record.timestamp
            await asyncio.sleep(0.1)
