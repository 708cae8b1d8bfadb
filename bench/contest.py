"""One case, carried out by one contender on a real broker, models behind HTTP: what overload.py and trace.py share.

Every run has topics of its own, a model server of its own (the same seed, so the same draws) and one worker; they share the
broker and nothing else. What is asked, when, and for how long it is worth anything was drawn before, so that all are asked the
same.

=========  ==============================================================
failsoft   ``failsoft worker bench.served_pipeline:pipeline``, all defaults
careful    bench/careful_worker.py
plain      bench/plain_worker.py
=========  ==============================================================

Six requests warm each worker up and count nowhere. A run ends when each request has its result, or when the last deadline has
passed: what comes later is worth nothing, and the worker is ended. Times are the broker's times of append, of request and result.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import TopicPartition

from bench.report import ROOT
from bench.served_pipeline import LARGE_SECONDS, LARGE_SLOTS, SMALL_SECONDS, SMALL_SLOTS
from failsoft.catalogue import Catalogue, parse, requests_topic, results_topic
from failsoft.kafka import Connection, Outbox, admin
from failsoft.kafka.clients import close_consumer, connected_consumer, partition_counts
from failsoft.policy.errors import EnvironmentFailure
from failsoft.runtime.submission import Destination
from failsoft.simulation.latency_law import Lognormal
from failsoft.simulation.workload import Ask, ClassLoad
from failsoft.testing.model_server import Faults, ModelSettings
from failsoft.trials.beside import beside
from failsoft.trials.fleet import Fleet
from failsoft.trials.served_models import ServedModels
from failsoft.wire import Identity, RequestLine
from failsoft.wire.body import encode_request
from failsoft.wire.result import decode_result

CONTENDERS = ("failsoft", "careful", "plain")
MIX = (ClassLoad("interactive", 0.2, 2.0), ClassLoad("standard", 0.5, 10.0), ClassLoad("batch", 0.3, 30.0))
SIGMA = 0.35
CAPACITY = LARGE_SLOTS / Lognormal(LARGE_SECONDS, SIGMA).mean_seconds
"""Requests a second that the large model serves: load 1. So few that two cores with broker, models and worker on them are idle
most of the time at ten times as many, and what is measured are decisions."""
MODELS = {
    "large": ModelSettings(slots=LARGE_SLOTS, queue=LARGE_SLOTS, median_seconds=LARGE_SECONDS, sigma=SIGMA),
    "small": ModelSettings(slots=SMALL_SLOTS, queue=SMALL_SLOTS, median_seconds=SMALL_SECONDS, sigma=SIGMA),
}
WARM_UP = 6
READY_SECONDS = 20.0
SETTLE_SECONDS = 0.5
"""After the last deadline, for results that were published before it to be read."""

CATALOGUE = """
version: 1
defaults: {{partitions: 6, replication: 1, config: {{message.timestamp.type: LogAppendTime}}}}
classes:
  interactive: {{weight: 8, deadline: 2s,  deadline_max: 60s}}
  standard:    {{weight: 3, deadline: 10s, deadline_max: 15m}}
  batch:       {{weight: 1, deadline: 30s, deadline_max: 72h}}
pipelines: {{{run}: [answer]}}
topics:
  requests:     {{config: {{retention.ms: 7d, max.message.bytes: 1.25MiB}}}}
  results:      {{config: {{retention.ms: 7d, max.message.bytes: 4MiB}}}}
  dead-letters: {{config: {{retention.ms: 14d, max.message.bytes: 4MiB}}}}
  outcomes:     {{partitions: 1, config: {{retention.ms: 1h}}}}
  breakers:     {{partitions: 1, config: {{cleanup.policy: "compact,delete", retention.ms: 24h}}}}
"""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with the large model, from when to when: seconds after the first arrival may come."""

    begins_at: float
    ends_at: float
    faults: Faults


@dataclass(frozen=True, slots=True)
class Case:
    """What all contenders are asked.

    Attributes:
        name: of the row.
        asks: in order of time.
        trouble: None: all is well.
        work: number of a request -> how many times as long as usual it takes; of all others once.
    """

    name: str
    asks: Sequence[Ask] = field(repr=False)
    trouble: Trouble | None = None
    work: Mapping[int, float] = field(default_factory=dict, repr=False)


class Answer(NamedTuple):
    """The end of a request, as the log has it first.

    Attributes:
        at: seconds after the first arrival may come.
        call: equal for answers that came of one call of a model.
    """

    outcome: str
    tier: str | None
    level: int | None
    at: float
    call: str


@dataclass(frozen=True, slots=True)
class Measured:
    """What one contender made of a case.

    Attributes:
        sent_at: number -> when the broker had it, seconds after the first arrival may come.
        answers: number -> its end; those without one are not there.
        account: model -> what the model server says of its calls.
        late_seconds: how much later than drawn a request was sent, at worst.
        worker_cpu_seconds: that the worker took, warm-up excluded.
        busy_share: of all processors of this machine, whatever it did.
    """

    case: Case
    contender: str
    sent_at: Mapping[int, float]
    answers: Mapping[int, Answer]
    account: Mapping[str, Mapping[str, Any]]
    late_seconds: float
    worker_cpu_seconds: float
    busy_share: float


async def contest(bootstrap: str, contender: str, case: Case, *, run: str, folder: Path, seed: int) -> Measured:
    """Let one contender carry out a case.

    Args:
        bootstrap: of the broker.
        contender: one of CONTENDERS.
        case: what is asked.
        run: names its topics; no two runs on a broker have the same.
        folder: for logs and settings, of this run alone.
        seed: of the models' service times.
    """
    connection, catalogue = Connection(bootstrap), parse(CATALOGUE.format(run=run))
    await admin.apply(connection, catalogue)
    (folder / f"{run}.yaml").write_text(CATALOGUE.format(run=run))
    async with ServedModels(MODELS, seed=seed, folder=folder) as models:
        os.environ.update(BENCH_RUN=run, MODEL_SERVER_URL=models.url)
        command = _command(contender, run, bootstrap=bootstrap, url=models.url, folder=folder)
        async with (
            Fleet(command, size=1, folder=folder, kind=run) as fleet,
            _Reading.of(connection, run, contender) as reading,
        ):
            load = _Load(connection, catalogue, contender, run)
            async with load:
                await load.warm_up(reading)
                before, cpu, ticks, began_at = await models.stats(), _cpu_seconds(run), _ticks(), time.time()
                async with beside(_trouble(case.trouble, models)) as trouble:
                    await load.send(case)
                    await reading.until_all(case, began_at=began_at)
                    await trouble
                fleet.require_running()
                after, worker_cpu, busy = await models.stats(), _cpu_seconds(run) - cpu, _busy_share(ticks)
    return Measured(
        case,
        contender,
        {number: at - began_at for number, at in load.sent_at.items()},
        {number: answer._replace(at=answer.at - began_at) for number, answer in reading.answers.items() if number >= 0},
        {name: _since(before[name], after[name]) for name in after},
        load.late_seconds,
        worker_cpu,
        busy,
    )


def _command(contender: str, run: str, *, bootstrap: str, url: str, folder: Path) -> list[str]:
    if contender == "failsoft":
        options = ["--catalogue", str(folder / f"{run}.yaml"), "--drain", "1s"]
        return [
            sys.executable,
            "-m",
            "failsoft",
            "worker",
            "bench.served_pipeline:pipeline",
            "--bootstrap",
            bootstrap,
            *options,
        ]
    topics = dict.fromkeys(_topic(contender, run, load.request_class) for load in MIX)
    named = [part for topic in topics for part in ("--topic", topic)]
    options = ["--bootstrap", bootstrap, *named, "--results", results_topic(run), "--url", url]
    return [sys.executable, "-m", f"bench.{contender}_worker", *options]


def _topic(contender: str, run: str, request_class: str) -> str:
    """The plain worker has one topic for all."""
    return requests_topic(run, "answer", "standard" if contender == "plain" else request_class)


async def _trouble(trouble: Trouble | None, models: ServedModels) -> None:
    if trouble is None:
        return
    await asyncio.sleep(trouble.begins_at)
    await models.set_faults("large", trouble.faults)
    await asyncio.sleep(trouble.ends_at - trouble.begins_at)
    await models.set_faults("large", Faults())


class _Load:
    """Sends, on time whatever happens to what was sent."""

    def __init__(self, connection: Connection, catalogue: Catalogue, contender: str, run: str) -> None:
        self._outbox = Outbox(connection)
        self._contender, self._run = contender, run
        self.sent_at: dict[int, float] = {}
        self.late_seconds = 0.0

    async def __aenter__(self) -> None:
        await self._outbox.start()

    async def __aexit__(self, *_: object) -> None:
        await self._outbox.close()

    async def warm_up(self, reading: "_Reading") -> None:
        for number in range(1, WARM_UP + 1):
            load = MIX[number % len(MIX)]
            await self._send(Ask(-number, 0.0, load.request_class, load.budget_seconds, -number), work=None)
        await reading.until(WARM_UP, time.time() + READY_SECONDS)
        if len(reading.answers) < WARM_UP:
            raise EnvironmentFailure(
                f"{self._contender} did not answer {WARM_UP} first requests in {READY_SECONDS:g} s"
            )
        self.sent_at.clear()

    async def send(self, case: Case) -> None:
        began_at = time.monotonic()
        async with asyncio.TaskGroup() as sending:
            for ask in case.asks:
                await asyncio.sleep(began_at + ask.at - time.monotonic())
                self.late_seconds = max(self.late_seconds, time.monotonic() - began_at - ask.at)
                sending.create_task(self._send(ask, work=case.work.get(ask.number)))

    async def _send(self, ask: Ask, *, work: float | None) -> None:
        topic = _topic(self._contender, self._run, ask.request_class)
        destination = Destination(f"{self._run}.answer", topic, ask.request_class, ask.budget_seconds)
        body: dict[str, Any] = {"prompt": f"question {ask.content}", "temperature": 0}
        if work is not None:
            body["metadata"] = {"work": f"{work:.4f}"}
        line = RequestLine(str(ask.number), "/v1/completions", body)
        identity = Identity("/bench", str(ask.number))
        record = destination.record(line, encode_request(line), identity, sent_at=time.time())
        place = await self._outbox.send(topic, key=record.key, value=record.value, headers=record.headers)
        self.sent_at[ask.number] = place.appended_at or time.time()


class _Reading:
    """Takes the first end of each request from the log."""

    def __init__(self, consumer: Any, contender: str) -> None:
        self._consumer = consumer
        self._contender = contender
        self.answers: dict[int, Answer] = {}

    @classmethod
    @asynccontextmanager
    async def of(cls, connection: Connection, run: str, contender: str) -> AsyncIterator["_Reading"]:
        topic = results_topic(run)
        count = (await partition_counts(connection, [topic]))[topic]
        consumer = await connected_consumer(connection)
        try:
            consumer.assign([TopicPartition(topic, number) for number in range(count)])
            yield cls(consumer, contender)
        finally:
            await close_consumer(consumer)

    async def until_all(self, case: Case, *, began_at: float) -> None:
        ends_at = began_at + max(ask.deadline_at for ask in case.asks) + SETTLE_SECONDS
        await self.until(len(case.asks) + WARM_UP, ends_at)

    async def until(self, count: int, ends_at: float) -> None:
        while len(self.answers) < count and time.time() < ends_at:
            found = await self._consumer.getmany(timeout_ms=200)
            for records in found.values():
                for record in records:
                    number, answer = self._decode(record)
                    self.answers.setdefault(number, answer)

    def _decode(self, record: Any) -> tuple[int, Answer]:
        at = record.timestamp / 1_000
        if self._contender == "failsoft":
            result = decode_result(record.headers, record.value)
            call = result.coalesced_with or result.id
            return int(result.request.id), Answer(result.outcome.value, result.tier, result.level, at, call)
        said = {name: value.decode() for name, value in record.headers}
        number, level = int(record.key), int(said["level"])
        return number, Answer(said["outcome"], said["tier"] or None, level or None, at, str(number))


def _since(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What an account has grown by. What is in service or queued is as it is now."""
    is_now = {"in_service", "queued"}
    failed = {name: count - before["failed"][name] for name, count in after["failed"].items()}
    grown = {
        name: value if name in is_now else value - before[name] for name, value in after.items() if name != "failed"
    }
    return {**grown, "failed": failed}


def _cpu_seconds(run: str) -> float:
    """What the processes have taken whose command names this run: the worker."""
    ticks = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if run.encode() in (process / "cmdline").read_bytes():
                ticks += sum(map(int, (process / "stat").read_text().rpartition(")")[2].split()[11:13]))
        except OSError:  # it has ended meanwhile
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


def _ticks() -> tuple[int, int]:
    """Of all processors since the machine started: busy, and all."""
    values = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(values) - values[3] - values[4], sum(values)


def _busy_share(since: tuple[int, int]) -> float:
    busy, total = _ticks()
    return (busy - since[0]) / max(1, total - since[1])


def at_home() -> None:
    """Work where workers find the modules of this folder."""
    os.chdir(ROOT)
