"""One pipeline's topics on a real broker, workers' words on them, and the apps that add them up."""

import asyncio
import signal
import sys
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from uuid import uuid4

import pytest

from failsoft.catalogue import parse
from failsoft.kafka import Connection, Outbox, View, ViewRecord, admin
from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.profile import Profile
from failsoft.policy.rollup import Kind, Place, RollUp
from failsoft.wire.degradation import decode_cell
from failsoft.wire.profile import decode_fleet_profile
from failsoft.wire.rollup import encode_rollup

CATALOGUE = """
version: 1
defaults: {{partitions: 2, replication: 1, config: {{message.timestamp.type: LogAppendTime}}}}
classes:
  interactive: {{weight: 8, deadline: 5s,  deadline_max: 60s}}
  batch:       {{weight: 1, deadline: 24h, deadline_max: 72h}}
pipelines: {{{name}: [work, find]}}
topics:
  requests:     {{config: {{retention.ms: 7d}}}}
  results:      {{config: {{retention.ms: 7d}}}}
  dead-letters: {{config: {{retention.ms: 14d}}}}
  outcomes:     {{config: {{retention.ms: 1h}}}}
  latency:      {{partitions: 1, config: {{cleanup.policy: compact}}}}
  degradation:  {{partitions: 1, config: {{cleanup.policy: "compact,delete"}}}}
"""
SERVED = Kind("interactive", 1, Reason.NONE, Outcome.OK)
LOWER = Kind("interactive", 2, Reason.ENDPOINT_TIMEOUT, Outcome.OK)
EXPIRED = Kind("batch", None, Reason.DEADLINE_PASSED, Outcome.EXPIRED)
KINDS = (SERVED, LOWER, EXPIRED)
PATIENCE_SECONDS = 50.0


def has_faust() -> bool:
    """Whether the extra `streams` is installed; Faust hides its own spec once it was imported."""
    try:
        return bool(version("faust-streaming"))
    except PackageNotFoundError:
        return False


needs_faust = pytest.mark.skipif(not has_faust(), reason="the extra `streams` is not installed")

Told = Counter[tuple[str, Kind]]


@dataclass
class App:
    """One `failsoft streams`, and what it has written."""

    process: Process
    log: Path

    async def assigned(self) -> None:
        """Wait until it has taken over partitions, or stands by."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while "assigned" not in self.log.read_text():
                assert self.process.returncode is None, self.log.read_text()
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        await self.process.wait()

    def freeze(self) -> None:
        """Stop it where it is."""
        self.process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    async def stop(self) -> int:
        """Ask it to end; its exit code."""
        self.process.terminate()
        return await asyncio.wait_for(self.process.wait(), PATIENCE_SECONDS)


@dataclass
class Site:
    """The topics of one pipeline that no other test uses."""

    connection: Connection
    pipeline: str
    folder: Path
    outbox: Outbox
    told: Told = field(default_factory=Counter)
    apps: list[App] = field(default_factory=list)

    async def start(self, app: str) -> App:
        """Start an app; it is not waited for."""
        log = self.folder / f"{app}-{len(self.apps)}.log"
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "failsoft", "streams", app),
                *("--pipeline", self.pipeline, "--bootstrap", self.connection.bootstrap_servers),
                cwd=self.folder,
                stdout=file,
                stderr=file,
            )
        self.apps.append(App(process, log))
        return self.apps[-1]

    async def tell(self, *, seconds: float = 0.2) -> None:
        """Send a roll-up of each stage, as a worker does."""
        for stage in ("work", "find"):
            counts = {kind: 1 + (len(self.told) + number) % 3 for number, kind in enumerate(KINDS)}
            profile = Profile()
            profile.answers.add(seconds)
            rollup = RollUp(stage, counts, {Place(stage, "large", ""): profile})
            record = encode_rollup(rollup, pipeline=self.pipeline, id_=uuid4().hex)
            topic = f"{self.pipeline}.outcomes"
            await self.outbox.send(topic, key=record.key, value=record.value, headers=record.headers)
            self.told += Counter({(stage, kind): count for kind, count in counts.items()})

    async def tell_for(self, seconds: float) -> None:
        """Keep telling, twenty times a second."""
        for _ in range(int(seconds * 20)):
            await self.tell()
            await asyncio.sleep(0.05)

    async def model(self, name: str) -> dict[bytes, ViewRecord]:
        """The latest record of each key of a topic."""
        records: dict[bytes, ViewRecord] = {}
        view = View(
            self.connection,
            f"{self.pipeline}.{name}",
            take=lambda batch: records.update((each.key or b"", each) for each in batch),
        )
        await view.start()
        assert await view.caught_up(PATIENCE_SECONDS)
        await view.stop()
        return records

    async def ledger(self) -> Told:
        """How many requests the ledger counts, of each stage and kind."""
        found: Told = Counter()
        for record in (await self.model("degradation")).values():
            cell, count = decode_cell(record.value)
            for outcome, requests in count.endings.items():
                found[cell.stage, Kind(cell.request_class, cell.level or None, cell.reason, outcome)] += requests
        return found

    async def profiles(self) -> dict[Place, Profile]:
        """The fleet's latency."""
        records = await self.model("latency")
        return dict(decode_fleet_profile(record.value) for record in records.values())

    async def all_is_counted(self) -> None:
        """Wait until the ledger counts as many as were told; never more. An app that ends with an error is started again."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (found := await self.ledger()) != self.told:
                assert not found - self.told, f"counted twice: {found - self.told}"
                if self.apps[-1].process.returncode == 1:
                    await self.start("degradation")
                await asyncio.sleep(0.5)


@asynccontextmanager
async def a_site(bootstrap: str, folder: Path) -> AsyncIterator[Site]:
    """Topics of their own, a sender, and no app that outlives it."""
    name = f"test-{uuid4().hex[:8]}"
    text = CATALOGUE.format(name=name)
    (folder / "topics.yaml").write_text(text)
    connection = Connection(bootstrap)
    await admin.apply(connection, parse(text))
    outbox = Outbox(connection)
    await outbox.start()
    site = Site(connection, name, folder, outbox)
    try:
        yield site
    finally:
        for app in site.apps:
            if app.process.returncode is None:
                await app.kill()
        await outbox.close()
