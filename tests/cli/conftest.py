"""What the tests of `submit` and `results` share: a pipeline that no other test uses, and the command line on it."""

import asyncio
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner, Result

from failsoft.catalogue import parse, requests_topic, results_topic
from failsoft.cli import app
from failsoft.kafka import Connection, Outbox, admin
from failsoft.kafka.raw import raw_records
from failsoft.kafka.results import ResultRecord
from failsoft.wire import Record

CATALOGUE = """
version: 1
defaults: {{partitions: 3, replication: 1, config: {{message.timestamp.type: LogAppendTime}}}}
classes:
  interactive: {{weight: 8, deadline: 5s,  deadline_max: 60s}}
  batch:       {{weight: 1, deadline: 24h, deadline_max: 72h}}
pipelines: {{{name}: [work]}}
topics:
  requests:     {{config: {{retention.ms: 7d, max.message.bytes: 1.25MiB}}}}
  results:      {{config: {{retention.ms: 7d, max.message.bytes: 4MiB}}}}
  dead-letters: {{config: {{retention.ms: 14d, max.message.bytes: 4MiB}}}}
"""


@dataclass(frozen=True)
class Deployment:
    """One pipeline, its topics on the session's broker."""

    name: str
    catalogue: Path
    connection: Connection

    def run(self, *arguments: str, stdin: bytes | None = None) -> Result:
        return CliRunner().invoke(app, [*arguments, *self.options()], input=stdin, catch_exceptions=False)

    def start(self, *arguments: str) -> Any:
        """The same as a process that can be interrupted, its outputs in bytes."""
        command = [sys.executable, "-m", "failsoft", *arguments, *self.options()]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def options(self) -> list[str]:
        return ["--catalogue", str(self.catalogue), "--bootstrap", self.connection.bootstrap_servers]

    def requests(self, request_class: str = "batch") -> list[ResultRecord]:
        """Everything in a topic of requests, as it stands there."""
        return asyncio.run(self._read(requests_topic(self.name, "work", request_class)))

    def write(self, records: Iterable[Record]) -> None:
        """Write to the topic of results, in this order."""
        asyncio.run(self._write(results_topic(self.name), records))

    async def _read(self, topic: str) -> list[ResultRecord]:
        return [record async for record in raw_records(self.connection, topic, since=0.0)]

    async def _write(self, topic: str, records: Iterable[Record]) -> None:
        outbox = Outbox(self.connection)
        await outbox.start()
        try:
            for record in records:
                await outbox.send(topic, key=record.key, value=record.value, headers=record.headers)
        finally:
            await outbox.close()


@pytest.fixture
def deployed(tmp_path: Path, kafka_bootstrap: str) -> Deployment:
    name = f"test-{uuid4().hex[:8]}"
    text = CATALOGUE.format(name=name)
    path = tmp_path / "topics.yaml"
    path.write_text(text)
    connection = Connection(kafka_bootstrap)
    asyncio.run(admin.apply(connection, parse(text)))
    return Deployment(name, path, connection)
