"""What an operator says in the environment of a real worker holds in it, and shows in its metrics."""

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE, STDOUT

import aiohttp
import pytest

from tests.acceptance.harness import Cluster

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance]

PIPELINE = """
import os
from failsoft import Output, Pipeline

pipeline = Pipeline(os.environ["TEST_PIPELINE"])

@pipeline.stage("work").tier("large", limit=4)
async def large(call):
    return Output({})
"""
STATED = (
    'failsoft_permits{stage="work",tier="large"} 6.0',
    'failsoft_limit_calls{stage="work",tier="large"} 6.0',
    'failsoft_breaker_state{stage="work",state="metrics_only",tier="large"} 1.0',
)


async def test_a_worker_runs_with_the_limit_and_the_dark_breaker_that_its_environment_says(cluster: Cluster, tmp_path):
    (tmp_path / "told.py").write_text(PIPELINE)
    (tmp_path / "topics.yaml").write_text(cluster.text)
    stage = f"FAILSOFT_{cluster.pipeline.upper().replace('-', '_')}__WORK__"
    said = {
        "TEST_PIPELINE": cluster.pipeline,
        "KAFKA_BOOTSTRAP_SERVERS": cluster.connection.bootstrap_servers,
        f"{stage}LARGE__LIMIT": "6",
        f"{stage}BREAKER_ENFORCE": "false",
    }
    command = [sys.executable, "-m", "failsoft", "worker", "told:pipeline"]
    worker = await asyncio.create_subprocess_exec(
        *command, cwd=tmp_path, env=os.environ | said, stdout=PIPE, stderr=STDOUT
    )
    try:
        assert worker.stdout is not None
        async with asyncio.timeout(60):
            printed = ""
            while not (ready := re.search(r"ready: (\S+/metrics)", printed)) or "assigned" not in printed:
                line = (await worker.stdout.readline()).decode()
                assert line, printed  # permits come with partitions, hence "assigned"
                printed += line
            async with aiohttp.ClientSession() as session, session.get(ready[1]) as answer:
                text = await answer.text()
    finally:
        worker.terminate()
        printed = (await worker.communicate())[0].decode()
    for series in STATED:
        assert f"\n{series}\n" in text
    assert worker.returncode == 0, printed
