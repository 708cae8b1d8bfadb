"""A record that ends whatever process runs it: three times, and it is found, and nobody else is held up by it."""

import asyncio
import signal
from collections import Counter
from pathlib import Path

import pytest

from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.progress import CRASHES_MAX
from tests.acceptance.harness import Cluster
from tests.faults.fleet import Fleet, a_fleet

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance]

DIED_OF_IT = 77
PIPELINE = """
import asyncio, os
from failsoft import Constant, Output, Pipeline

pipeline = Pipeline(os.environ["TEST_PIPELINE"])
stage = pipeline.stage("work", coalesce="off")

@stage.tier("large", limit=16)
async def large(call):
    if call.body["prompt"] == "poison":
        os._exit(77)
    await asyncio.sleep(0.05)
    return Output({"content": call.body["prompt"]})
"""


@pytest.mark.timeout(240)
async def test_a_record_that_kills_its_worker_is_a_dead_letter_after_three_crashes_and_its_partition_goes_on(
    cluster: Cluster, tmp_path: Path
):
    async with a_fleet(
        cluster, tmp_path, cluster.connection.bootstrap_servers, "--session-timeout", "2s", code=PIPELINE
    ) as fleet:
        poison = await cluster.send("batch", "poison", budget_seconds=3_600.0)
        others = [await cluster.send("batch", f"other-{number}", budget_seconds=3_600.0) for number in range(24)]
        deaths = await deaths_until(fleet, cluster, {poison, *others})
        results, _ = await cluster.results()
        code, _ = await fleet.workers[-1].exit_after(signal.SIGTERM)
    letters = await cluster.dead_letters()
    assert deaths == {DIED_OF_IT: CRASHES_MAX}
    assert (results[poison].outcome, results[poison].reason) == (Outcome.FAILED, Reason.POISON)
    assert {results[other].outcome for other in others} == {Outcome.OK}
    assert len(letters) == 1
    assert code == 0


async def deaths_until(fleet: Fleet, cluster: Cluster, wanted: set[str]) -> Counter[int]:
    """Run one worker after another until all of these have ended; how often each exit code was seen."""
    deaths = Counter[int]()
    while True:
        worker = await fleet.start()
        if await ended(fleet, cluster, wanted):
            return deaths
        deaths[worker.process.returncode or 0] += 1
        assert deaths.total() < 10, "it is never found"


async def ended(fleet: Fleet, cluster: Cluster, wanted: set[str]) -> bool:
    """Wait until the last worker has died, or all is done; whether it is."""
    async with asyncio.timeout(60.0):
        while not wanted <= set((await cluster.results())[0]):
            if fleet.workers[-1].process.returncode is not None:
                return False
            await asyncio.sleep(0.2)
    return True
