"""The watchdog over whole workers: a hung model is never a reason to end one, a loop that does not turn is."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from dataclasses import replace
from pathlib import Path

import pytest

from failsoft import Call, Output, Pipeline
from failsoft.cli.exits import Exit
from failsoft.kafka import Inbox, cluster_is_whole
from failsoft.policy.watchdog import WatchdogSettings
from failsoft.runtime.clock import Clock
from failsoft.runtime.metrics import Metrics
from failsoft.runtime.runner import StageRunner
from failsoft.runtime.watchdog import Watchdog
from tests.acceptance.harness import Cluster, until

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance]

BLOCKED = """
import os, threading
from failsoft import Output, Pipeline

pipeline = Pipeline(os.environ["TEST_PIPELINE"])

@pipeline.stage("work").tier("large", limit=4)
async def large(call):
    threading.Event().wait()
"""


async def started(cluster: Cluster, folder: Path, source: str, **said: str) -> asyncio.subprocess.Process:
    """A worker process that has said that it is ready."""
    (folder / "told.py").write_text(source)
    (folder / "topics.yaml").write_text(cluster.text)
    stage = f"FAILSOFT_{cluster.pipeline.upper().replace('-', '_')}__WORK__"
    environment = {
        "TEST_PIPELINE": cluster.pipeline,
        "KAFKA_BOOTSTRAP_SERVERS": cluster.connection.bootstrap_servers,
        **{f"{stage}{name}": value for name, value in said.items()},
    }
    command = [sys.executable, "-m", "failsoft", "worker", "told:pipeline"]
    worker = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=os.environ | environment, stdout=PIPE, stderr=PIPE
    )
    assert worker.stdout is not None
    async with asyncio.timeout(60):
        line = await worker.stdout.readline()
    if not line.startswith(b"ready: "):
        worker.kill()
        raise AssertionError((await worker.communicate())[1].decode())
    return worker


async def test_a_worker_whose_model_hangs_is_never_ended_however_much_waits_in_the_log(cluster: Cluster):
    pipeline = Pipeline(cluster.pipeline)
    open_ = asyncio.Event()

    @pipeline.stage("work").tier("large", limit=4, expect="1h")
    async def large(_: Call) -> Output:
        await open_.wait()
        return Output({})

    stage, clock, metrics = pipeline.stages["work"], Clock(), Metrics()
    settings = replace(stage.settings(cluster.catalogue), records_max=20)
    runner = StageRunner(
        stage, catalogue=cluster.catalogue, outbox=cluster.outbox, clock=clock, metrics=metrics, settings=settings
    )
    topics = cluster.catalogue.stage_topics(cluster.pipeline, "work")
    inbox = Inbox(cluster.connection, pipeline=cluster.pipeline, stage="work", topics=topics, listener=runner)
    watchdog = Watchdog(
        metrics, is_cluster_whole=lambda: cluster_is_whole(cluster.connection, list(topics.values()), 3.0)
    )
    bounds = WatchdogSettings(rebuild_seconds=6.0, exit_seconds=9.0)
    watchdog.watch([cluster.outbox.duty(), *inbox.duties()], bounds, stage="work")
    await asyncio.gather(*(cluster.send("batch", f"batch-{n}") for n in range(200)))
    await runner.start(inbox)
    try:
        await until(lambda: runner.machine.permits["large"] == (4, 4))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(watchdog.run(), 3 * bounds.exit_seconds)
        assert runner.machine.permits["large"] == (4, 4), "the model did not hang: nothing was shown"
        assert metrics.registry.get_sample_value(
            "failsoft_backlog_records", {"stage": "work", "class": "batch"}
        ) == pytest.approx(180, abs=20)
        value = metrics.registry.get_sample_value
        assert not any(
            value("failsoft_watchdog_rebuilds_total", {"stage": "work", "duty": duty})
            for duty in ("fetch", "membership", "commit")
        )
    finally:
        open_.set()
        await runner.close()


async def test_a_worker_whose_loop_is_blocked_ends_with_code_5_and_says_where(cluster: Cluster, tmp_path: Path):
    worker = await started(cluster, tmp_path, BLOCKED, WATCHDOG_LOOP="3s")
    await cluster.send("batch", "one")
    async with asyncio.timeout(60):
        _, errors = await worker.communicate()
    assert worker.returncode == Exit.WATCHDOG
    assert b"failsoft: the event loop has not turned for" in errors
    assert b"told.py" in errors
