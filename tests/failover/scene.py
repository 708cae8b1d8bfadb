"""A failover on a real broker: two model servers, three worker processes, a sender that does not stop, and the command itself."""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from failsoft.testing import ModelServer
from failsoft.testing.model_server import Faults, ModelSettings
from failsoft.trials.fleet import Fleet
from failsoft.wire import Result
from tests.acceptance.harness import Cluster, new_cluster

WORKERS = 3
INTERVAL_SECONDS = 0.05
MODELS = {
    "large": ModelSettings(slots=16, queue=16, median_seconds=0.02, sigma=0.3),
    "small": ModelSettings(slots=16, queue=16, median_seconds=0.01, sigma=0.3),
}
TOPICS = (
    'breakers:     {partitions: 1, config: {cleanup.policy: "compact,delete"}}',
    "controls:     {partitions: 1, config: {cleanup.policy: compact}}",
    "drills:       {partitions: 1, config: {cleanup.policy: compact}}",
)
PIPELINE = """
from failsoft import Constant, OpenAICompatible, Pipeline

pipeline = Pipeline("{name}")
work = pipeline.stage("work")
work.tier("large", OpenAICompatible("large", urls={{"eu": "{eu}", "us": "{us}"}}, limit=16), expect="20ms")
work.tier("small", OpenAICompatible("small", url="{us}", limit=16), expect="10ms")
work.tier("sorry", Constant({{"content": "sorry"}}))
"""
RUNBOOK = """
version: 1
pipeline: {name}
endpoint: work/large
from: eu
to: us
canary: canaries.jsonl
before: {{reachable: true, breakers: closed, agreement: 100%, p95: 10s, capacity: 8}}
during: {{breakers: closed, agreement: 100%, p95: 10s, served: 99%, arrived: 50%}}
steps:
  - {{share: 1%, hold: 2s}}
  - {{share: 10%, hold: 2s}}
  - {{share: 50%, hold: 2s}}
  - {{share: 100%, hold: 2s}}
drill: {{share: 10%, hold: 2s}}
"""


@dataclass
class Scene:
    """What is there.

    Attributes:
        cluster: the topics.
        eu: the origin.
        us: the target.
        folder: of pipeline, catalogue and runbook.
        sent: result id -> when it was sent, epoch seconds.
    """

    cluster: Cluster
    eu: ModelServer
    us: ModelServer
    folder: Path
    sent: dict[str, float] = field(default_factory=dict)

    async def send_forever(self) -> None:
        """Send unlike interactive requests, until cancelled."""
        number = 0
        while True:
            number += 1
            body: dict[str, object] = {"messages": [{"role": "user", "content": f"question {number}"}]}
            sent_at = time.time()
            self.sent[await self.cluster.send("interactive", f"r{number}", body)] = sent_at
            await asyncio.sleep(INTERVAL_SECONDS)

    async def command(
        self, verb: str, *options: str, kill_at: str | None = None, on_line: Callable[[str], None] = lambda _: None
    ) -> tuple[int, str]:
        """Run `failsoft failover VERB`, and kill it when it says this; its exit code and what it said."""
        arguments = ["-m", "failsoft", "failover", verb, "eu-us.yaml", "--pipeline", "moved:pipeline", *options]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            cwd=self.folder,
            env={**os.environ, "KAFKA_BOOTSTRAP_SERVERS": self.cluster.connection.bootstrap_servers},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdout is not None
        said: list[str] = []
        try:
            async with asyncio.timeout(90):
                async for raw in process.stdout:
                    line = raw.decode()
                    said.append(line)
                    on_line(line)
                    if kill_at is not None and line.startswith(kill_at):
                        process.kill()
                return await process.wait(), "".join(said)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def status(self) -> dict[str, Any]:
        """What `failsoft failover status --json -` says."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "failsoft", "failover", "status", "--json", "-"),
            cwd=self.folder,
            env={**os.environ, "KAFKA_BOOTSTRAP_SERVERS": self.cluster.connection.bootstrap_servers},
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        report: dict[str, Any] = json.loads(out)
        return report

    async def ends(self) -> dict[str, Result]:
        """The results of all that was sent so far."""
        ids = list(self.sent)
        found = await self.cluster.results_of(ids)
        return {id_: found[id_] for id_ in ids}

    def regions(self, ends: dict[str, Result], *, since: float, until: float = float("inf")) -> Counter[str | None]:
        """Where requests were served that were sent in between; of those that the large model served."""
        return Counter(
            end.region for id_, end in ends.items() if since <= self.sent[id_] < until and end.tier == "large"
        )


@asynccontextmanager
async def scene(bootstrap: str, folder: Path) -> AsyncIterator[Scene]:
    """Everything runs, and requests come."""
    async with (
        new_cluster(bootstrap, *TOPICS) as cluster,
        ModelServer(MODELS, seed=1, digits=False) as eu,
        ModelServer(MODELS, seed=2, digits=False) as us,
    ):
        names = {"name": cluster.pipeline, "eu": eu.url, "us": us.url}
        (folder / "topics.yaml").write_text(cluster.text)
        (folder / "moved.py").write_text(PIPELINE.format(**names))
        (folder / "eu-us.yaml").write_text(RUNBOOK.format(**names))
        (folder / "canaries.jsonl").write_text("".join(map(_canary, range(6))))
        (folder / "logs").mkdir()
        command = [sys.executable, "-m", "failsoft", "worker", "moved:pipeline", "--bootstrap", bootstrap]
        async with Fleet(command, size=WORKERS, folder=folder / "logs") as workers:
            made = Scene(cluster, eu, us, folder)
            sending = asyncio.create_task(made.send_forever())
            try:
                yield made
                workers.require_running()
            finally:
                sending.cancel()
                await asyncio.wait({sending})


def _canary(number: int) -> str:
    body = {"messages": [{"role": "user", "content": f"canary {number}"}]}
    line = {"custom_id": f"c{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
    return json.dumps(line) + "\n"


def sick(server: ModelServer) -> None:
    """From now on this server's large model fails."""
    server.models["large"].faults = Faults(error_rate=1.0)


def well(server: ModelServer) -> None:
    """From now on it does not."""
    server.models["large"].faults = Faults()
