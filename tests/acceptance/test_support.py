"""Two stages on a real broker, with real workers and a model server; one worker is killed in the middle of it."""

import asyncio
import os
import re
import sys
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from failsoft import Client
from failsoft.kafka import Connection
from failsoft.kafka.raw import raw_records
from failsoft.policy.outcome import Outcome, Reason
from failsoft.testing.model_server.server import ModelServer
from failsoft.testing.model_server.settings import ModelSettings
from failsoft.wire.result import decode_result

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance]

ROOT = Path(__file__).parents[2]
REQUESTS = 120
QUESTIONS = (
    "May I send back my shoes?",
    "Where is my parcel?",
    "can I pay by invoice",
    "what is the capital of France",
)
MODELS = {
    "large": ModelSettings(slots=8, queue=8, median_seconds=0.2),
    "small": ModelSettings(slots=16, queue=16, median_seconds=0.04),
}
READY_SECONDS = 40.0


class Site:
    """A folder with the catalogue, without the other pipeline, made small."""

    def __init__(self, folder: Path, bootstrap: str, model_url: str) -> None:
        text = (ROOT / "topics.yaml").read_text()
        alone = re.sub(r"  digits: .*\n", "", text)  # its topics are another test's
        self.catalogue = folder / "topics.yaml"
        self.catalogue.write_text(alone.replace("partitions: 24", "partitions: 4"))
        self.folder = folder
        self.environment = os.environ | {"KAFKA_BOOTSTRAP_SERVERS": bootstrap, "MODEL_SERVER_URL": model_url}
        self.workers: list[Process] = []

    async def command(self, *words: str, log: Path) -> Process:
        with log.open("wb") as file:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "failsoft", *words, "--catalogue", str(self.catalogue)),
                cwd=ROOT,
                env=self.environment,
                stdout=file,
                stderr=file,
            )

    async def said(self, *words: str) -> str:
        """What a command prints that does what is asked of it."""
        log = self.folder / "said.log"
        ended = await (await self.command(*words, log=log)).wait()
        assert ended == 0, log.read_text()
        return log.read_text()

    async def start_worker(self, *options: str) -> Process:
        """Start one and wait until it is ready."""
        log = self.folder / f"worker-{len(self.workers)}.log"
        self.workers.append(await self.command("worker", "workers.support:pipeline", *options, log=log))
        async with asyncio.timeout(READY_SECONDS):
            while b"ready: " not in log.read_bytes():
                assert self.workers[-1].returncode is None, log.read_text()
                await asyncio.sleep(0.1)
        return self.workers[-1]


@asynccontextmanager
async def a_site(folder: Path, bootstrap: str) -> AsyncIterator[Site]:
    async with ModelServer(MODELS, digits=False) as models:
        site = Site(folder, bootstrap, models.url)
        applied = await site.command("topics", "apply", log=folder / "apply.log")
        assert await applied.wait() == 0, (folder / "apply.log").read_text()
        try:
            yield site
        finally:
            for worker in site.workers:
                if worker.returncode is None:
                    worker.kill()
                    await worker.wait()


async def test_a_killed_worker_between_two_stages_loses_nothing_and_every_result_is_visible_once(
    tmp_path: Path, kafka_bootstrap: str
):
    async with a_site(tmp_path, kafka_bootstrap) as site:
        doomed = await site.start_worker()
        survivor = await site.start_worker()
        seen = []
        async with Client(kafka_bootstrap, pipeline="support", catalogue=site.catalogue) as client:
            for number in range(REQUESTS):
                body = {"messages": [{"role": "user", "content": QUESTIONS[number % len(QUESTIONS)]}]}
                await client.submit(body, request_class="standard", custom_id=f"c{number}")
            async with asyncio.timeout(90.0):
                async for result in client.results():
                    seen.append(result)
                    if len(seen) == REQUESTS // 6:
                        doomed.kill()
        assert len({result.id for result in seen}) == len(seen) == REQUESTS
        assert {result.outcome for result in seen} == {Outcome.OK}
        assert {result.stage for result in seen} == {"answer"}
        assert all([step.stage for step in result.trail] == ["retrieve"] for result in seen)
        in_log = {
            decode_result(record.headers, record.value).id
            async for record in raw_records(Connection(kafka_bootstrap), "support.results", since=0.0)
        }
        assert {result.id for result in seen} <= in_log
        by_question = Counter(
            (int((result.custom_id or "c0")[1:]) % len(QUESTIONS) == 3, result.level) for result in seen
        )
        assert by_question[True, 1] == 0  # nothing was found for it, so no answer to it is of level 1
        assert by_question[False, 1] > 0
        survivor.terminate()
        assert await survivor.wait() == 0


async def test_stages_may_have_workers_of_their_own_and_an_operator_stops_what_goes_from_one_to_the_other(
    tmp_path: Path, kafka_bootstrap: str
):
    async with a_site(tmp_path, kafka_bootstrap) as site:
        await site.start_worker("--stage", "retrieve")
        await site.start_worker("--stage", "answer")
        async with Client(kafka_bootstrap, pipeline="support", catalogue=site.catalogue) as client:
            body = {"messages": [{"role": "user", "content": QUESTIONS[0]}]}
            result = await client.request(body, request_class="standard")
            assert (result.outcome, result.tier, result.level) == (Outcome.OK, "large", 1)
            word = ("open", "--why", "a drill", "--until", "5m")
            await site.said("breakers", "force", "stage:answer", *word, "--pipeline", "support")
            await asyncio.sleep(1.0)  # within which all workers obey
            result = await client.request(body, request_class="standard")
        assert (result.tier, result.level, result.reason) == ("apology", 3, Reason.BREAKER_OPEN)
        listed = await site.said("breakers", "--pipeline", "support")
        assert re.search(r"^stage:answer/standard +closed +0  forced open until .*: a drill$", listed, re.MULTILINE)
        for worker in site.workers:
            worker.terminate()
        assert [await worker.wait() for worker in site.workers] == [0, 0]
