"""Worker processes under faults, and what each of them has written down of itself."""

import asyncio
import itertools
import os
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tests.acceptance.harness import Cluster

WHOLE = os.environ.get("FAILSOFT_FAULTS") == "whole"
"""Whether as many rounds are run as the promise names, rather than a few of each kind."""

START_SECONDS = 180.0
"""How long a worker may take to start, on a machine that runs other tests as well: two seconds of work on an idle one."""

PIPELINE = """
import asyncio, os
from failsoft import Constant, Output, Pipeline

pipeline = Pipeline(os.environ["TEST_PIPELINE"])
stage = pipeline.stage("work", coalesce="off")

@stage.tier("large", limit=16)
async def large(call):
    await asyncio.sleep(call.body["seconds"])
    return Output({"content": "done"})

stage.tier("sorry", Constant({"content": "sorry"}))
"""


@dataclass
class Worker:
    """One `failsoft worker`, its log and its history."""

    process: Process
    folder: Path
    log: Path

    def is_ready(self) -> bool:
        return "ready: " in self.log.read_text()

    async def ready(self) -> None:
        """Wait until it says that it is."""
        async with asyncio.timeout(START_SECONDS):
            while not self.is_ready():
                assert self.process.returncode is None, self.log.read_text()
                await asyncio.sleep(0.02)

    async def exit_after(self, number: signal.Signals, *, timeout_seconds: float = 60.0) -> tuple[int, float]:
        """Send a signal; return the exit code, and how long it took."""
        began = time.monotonic()
        if self.process.returncode is None:
            self.process.send_signal(number)
        code = await asyncio.wait_for(self.process.wait(), timeout_seconds)
        return code, time.monotonic() - began

    async def listens(self) -> None:
        """Wait until it takes SIGTERM as its own, which is early in its start."""
        async with asyncio.timeout(START_SECONDS):
            while not _caught(self.process.pid) >> (signal.SIGTERM - 1) & 1:
                await asyncio.sleep(0.005)

    async def has_begun(self) -> None:
        """Wait until it has called a tier."""
        async with asyncio.timeout(START_SECONDS):
            while not any(line["event"] == "execute" for line in self._history()):
                await asyncio.sleep(0.02)

    def count(self, event: str) -> int:
        """How often it has written this down."""
        return sum(line["event"] == event for line in self._history())

    def unfinished(self) -> set[tuple[str, int, int]]:
        """Records that it has called a tier for, that it still owns, and whose result the broker has not acknowledged."""
        begun: set[tuple[str, int, int]] = set()
        for line in self._history():
            match line["event"]:
                case "execute":
                    begun.add((line["request_class"], line["partition"], line["offset"]))
                case "published":
                    begun.discard((line["request_class"], line["partition"], line["offset"]))
                case "revoked":
                    lost = {tuple(partition) for partition in line["partitions"]}
                    begun = {record for record in begun if record[:2] not in lost}
        return begun

    def _history(self) -> list[dict[str, Any]]:
        for file in self.folder.glob("worker-*.jsonl"):
            lines = [orjson.loads(line) for line in file.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
            if lines and lines[0]["pid"] == self.process.pid:
                return lines
        return []


def _caught(pid: int) -> int:
    """The signals that a process has handlers for, as bits; all once it has ended."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt:")), -1)


class Fleet:
    """Workers of one pipeline.

    Args:
        cluster: its topics.
        folder: where code, logs and histories go.
        bootstrap: by which address the workers reach the cluster.
        options: of each `failsoft worker`.
        code: of the pipeline.
    """

    def __init__(self, cluster: Cluster, folder: Path, bootstrap: str, *options: str, code: str = PIPELINE) -> None:
        self.cluster = cluster
        self.folder = folder
        self._options = options
        self._environment = os.environ | {"TEST_PIPELINE": cluster.pipeline, "KAFKA_BOOTSTRAP_SERVERS": bootstrap}
        self.workers: list[Worker] = []
        (folder / "slow.py").write_text(code)
        (folder / "topics.yaml").write_text(cluster.text)

    async def start(self) -> Worker:
        """Start one more; it is not waited for."""
        log = self.folder / f"worker-{len(self.workers)}.log"
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "failsoft", "worker", "slow:pipeline", "--history", str(self.folder)),
                *self._options,
                cwd=self.folder,
                env=self._environment,
                stdout=file,
                stderr=file,
            )
        worker = Worker(process, self.folder, log)
        self.workers.append(worker)
        return worker

    async def end(self) -> None:
        """Kill what still runs, frozen or not."""
        for worker in self.workers:
            if worker.process.returncode is None:
                worker.process.kill()
                await worker.process.wait()


@asynccontextmanager
async def a_fleet(
    cluster: Cluster, folder: Path, bootstrap: str, *options: str, code: str = PIPELINE
) -> AsyncIterator[Fleet]:
    """Workers that are gone afterwards."""
    fleet = Fleet(cluster, folder, bootstrap, *options, code=code)
    try:
        yield fleet
    finally:
        await fleet.end()


@asynccontextmanager
async def load(cluster: Cluster, *, per_second: float, seconds: float, finishes: bool = True) -> AsyncIterator[None]:
    """Keep sending requests whose calls take so long, also while no broker answers.

    Args:
        cluster: its topics.
        per_second: how many.
        seconds: of each call.
        finishes: whether to wait, at the end, until the broker has acknowledged all.
    """
    sends: set[asyncio.Task[str]] = set()

    async def keep_sending() -> None:
        for number in itertools.count():
            sends.add(asyncio.create_task(cluster.send("batch", f"request-{number}", {"seconds": seconds})))
            await asyncio.sleep(1 / per_second)

    sending = asyncio.create_task(keep_sending())
    try:
        yield
        sending.cancel()
        if finishes:
            await asyncio.gather(*sends)
    finally:
        for task in (sending, *sends):
            task.cancel()
        await asyncio.gather(sending, *sends, return_exceptions=True)
