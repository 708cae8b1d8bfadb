"""What does failsoft cost per request, beside a bare loop, FastStream and Faust? CPU, latency, and how much one process carries.

    python bench/overhead.py             # seven minutes; a table, and bench/results/overhead.json
    python bench/overhead.py --quick     # two minutes

Four contenders (``contenders/``) do the same work on one broker, and the model takes no time, so that nothing but overhead is
measured. Each run of each is a process of its own; their order is drawn anew for each round.

1. *Flood*: when the process has answered some requests, it is stopped (SIGSTOP) while a backlog of chat requests of 1 KB is
   queued. From SIGCONT until the last result was seen, time and CPU time are taken: requests a second, and CPU per request under
   full load. What starting costs lies before; whatever is done for one of the requests lies within.
2. *Paced*: 200 requests a second arrive as a seeded Poisson process, whatever the contender does. Latency is from the call of
   ``send`` to the moment at which the same process has read the result. CPU time of the contender's process, from the first
   request to the last result, over requests: what it does at rest is in it.

A run's figures are its own; the table shows the median of the runs, least and most in brackets. Factors are medians over medians.
Requests carry content keys of their own (temperature 0), so failsoft computes one for each and none shares an answer.

Aims, each against the raw loop of the same rounds: CPU <= 3 x, under full load and paced; latency <= 1.5 x at p50 and p99; CPU
below that of FastStream and of Faust. Exit 1 where one is missed.
"""

import asyncio
import ctypes
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from random import Random
from typing import Self

import typer
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.contenders.service import requests_of, results_of
from bench.report import ROOT, Quick, Spread, save, spread
from failsoft.catalogue import Catalogue, parse, requests_topic, results_topic
from failsoft.cli.exits import Exit, explained_errors
from failsoft.kafka import Connection, admin
from failsoft.policy.errors import EnvironmentFailure
from failsoft.runtime.submission import Destination, choose_destination
from failsoft.testing import EmbeddedKafka
from failsoft.trials.fleet import Fleet
from failsoft.trials.ledger import quantile
from failsoft.wire import Identity, Record, RequestLine
from failsoft.wire.body import encode_request
from failsoft.wire.identity import result_id

PARTITIONS = 24
RATE = 200.0
CPU_FACTOR_MOST, LATENCY_FACTOR_MOST = 3.0, 1.5
WARM_UP = 500
PATIENCE_SECONDS = 90.0
SETTLE_SECONDS = 1.0
PEERS = ("raw", "faststream", "faust")
CONTENDERS = (*PEERS, "failsoft")

CATALOGUE = f"""
version: 1
defaults: {{partitions: {PARTITIONS}, replication: 1, config: {{message.timestamp.type: LogAppendTime}}}}
classes:
  standard: {{weight: 1, deadline: 5m, deadline_max: 15m}}
pipelines: {{overhead: [serve]}}
topics:
  requests:     {{config: {{retention.ms: 7d, max.message.bytes: 1.25MiB}}}}
  results:      {{config: {{retention.ms: 7d, max.message.bytes: 4MiB}}}}
  dead-letters: {{config: {{retention.ms: 14d, max.message.bytes: 4MiB}}}}
  outcomes:     {{partitions: 1, config: {{retention.ms: 1h}}}}
"""


@dataclass(frozen=True)
class Size:
    """How much is measured: rounds, requests of a backlog, seconds of arrivals."""

    rounds: int
    backlog: int
    seconds: float


FULL, SHORT = Size(rounds=5, backlog=8_000, seconds=8.0), Size(rounds=3, backlog=3_000, seconds=3.0)


@dataclass(frozen=True)
class Run:
    """What one process has shown. CPU and latencies in seconds."""

    requests_per_second: float
    cpu_per_request_flood: float
    cpu_per_request_paced: float
    p50_seconds: float
    p99_seconds: float


FIGURES = tuple(field.name for field in fields(Run))


class Seen:
    """When the results of one topic were read, by key, as a context manager: from its end on."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self._consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, fetch_max_wait_ms=100)
        self.at: dict[bytes, float] = {}
        self._moved = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        places = [TopicPartition(self._topic, number) for number in range(PARTITIONS)]
        self._consumer.assign(places)
        await self._consumer.seek_to_end(*places)
        for place in places:
            await self._consumer.position(place)
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        await self._consumer.stop()

    async def count(self, wanted: int) -> float:
        """Wait until so many have come, and return when it was seen."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.at) < wanted:
                self._moved.clear()
                await self._moved.wait()
        return time.perf_counter()

    async def _read(self) -> None:
        while True:
            taken = await self._consumer.getmany(timeout_ms=500)
            now = time.perf_counter()
            for records in taken.values():
                for record in records:
                    self.at.setdefault(record.key, now)
            self._moved.set()


@dataclass(frozen=True)
class Contender:
    """One of the four."""

    name: str
    requests: str
    results: str
    command: Sequence[str]


@dataclass(frozen=True)
class Asked:
    """One request, as it is sent, and the key of its result."""

    record: Record
    result_key: bytes


def main(
    *,
    seed: int = typer.Option(0, help="Of arrivals, contents and the order of the runs."),
    quick: Quick = False,
) -> None:
    """Measure, print, write bench/results/overhead.json, and judge."""
    started_at, size = time.time(), SHORT if quick else FULL
    os.chdir(ROOT)  # the worker finds bench.contenders.failsoft here
    with explained_errors(), EmbeddedKafka() as kafka, tempfile.TemporaryDirectory(prefix="failsoft-bench-") as folder:
        runs = asyncio.run(_measure(kafka.bootstrap_servers, Path(folder), size, seed))
    found = {name: _spreads(runs[name]) for name in CONTENDERS}
    factors = {name: _factors(found[name], found["raw"]) for name in CONTENDERS}
    missed = _missed(found, factors["failsoft"])
    _print(found, factors, missed)
    result = {
        "size": asdict(size),
        "partitions": PARTITIONS,
        "rate": RATE,
        "contenders": found,
        "factors_of_raw": factors,
        "runs": {name: [asdict(run) for run in runs[name]] for name in CONTENDERS},
        "missed": missed,
    }
    save("overhead", started_at=started_at, seed=seed, result=result, is_quick=quick)
    raise typer.Exit(Exit.BROKEN_PROMISE if missed else Exit.OK)


async def _measure(bootstrap: str, folder: Path, size: Size, seed: int) -> dict[str, list[Run]]:
    """All runs, by contender."""
    catalogue, dice = parse(CATALOGUE), Random(seed)
    (folder / "topics.yaml").write_text(CATALOGUE)
    await admin.apply(Connection(bootstrap), catalogue)
    await _make_topics(bootstrap)
    contenders = _contenders(bootstrap, folder)
    source, runs = Source(catalogue, dice), dict[str, list[Run]]()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        for number in range(size.rounds):
            for contender in dice.sample(contenders, len(contenders)):
                fleet = Fleet(contender.command, size=1, folder=folder, kind=contender.name)
                try:
                    run = await _run(fleet, contender, producer, source, size=size, bootstrap=bootstrap)
                except TimeoutError:
                    raise EnvironmentFailure(f"{contender.name} gave no results for {PATIENCE_SECONDS:g} s") from None
                runs.setdefault(contender.name, []).append(run)
                print(f"round {number + 1}: {contender.name} {_in_words(run)}", file=sys.stderr)
    return runs


def _contenders(bootstrap: str, folder: Path) -> list[Contender]:
    worker = ("-m", "failsoft", "worker", "bench.contenders.failsoft:pipeline", "--bootstrap", bootstrap)
    options = ("--catalogue", str(folder / "topics.yaml"), "--drain", "2s")
    peers = [
        Contender(
            name, requests_of(name), results_of(name), (sys.executable, "-m", f"bench.contenders.{name}", bootstrap)
        )
        for name in PEERS
    ]
    topics = requests_topic("overhead", "serve", "standard"), results_topic("overhead")
    return [*peers, Contender("failsoft", *topics, (sys.executable, *worker, *options))]


async def _make_topics(bootstrap: str) -> None:
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await client.start()
    config = {"message.timestamp.type": "LogAppendTime"}
    names = [topic for name in PEERS for topic in (requests_of(name), results_of(name))]
    try:
        await client.create_topics([NewTopic(name, PARTITIONS, 1, topic_configs=config) for name in names])
    finally:
        await client.close()


class Source:
    """Makes requests, none like another.

    Args:
        catalogue: whose only class they are of.
        dice: of contents and arrivals.
    """

    def __init__(self, catalogue: Catalogue, dice: Random) -> None:
        self._destination: Destination = choose_destination(catalogue, request_class="standard")
        self._dice = dice
        self._made = 0

    def make(self, contender: Contender) -> Asked:
        """Make one."""
        self._made += 1
        identity = Identity("/bench", str(self._made))
        line = RequestLine(str(self._made), "/v1/chat/completions", self._body())
        record = self._destination.record(line, encode_request(line), identity, sent_at=time.time())
        is_ours = contender.name == "failsoft"
        return Asked(record, result_id(identity).encode() if is_ours else record.key or b"")

    def gap_seconds(self) -> float:
        """Until the next arrival."""
        return self._dice.expovariate(RATE)

    def _body(self) -> dict[str, object]:
        """About 1 KB, as a chat request has it."""
        words = self._dice.randbytes(250).hex()
        system = "You are the assistant of a shop. Answer in one short sentence, and say so where you do not know. " * 2
        messages = [{"role": "system", "content": system}, {"role": "user", "content": words}]
        return {"model": "large", "messages": messages, "temperature": 0, "max_tokens": 256}


async def _run(
    fleet: Fleet, contender: Contender, producer: AIOKafkaProducer, source: Source, *, size: Size, bootstrap: str
) -> Run:
    """One process: the backlog, then the arrivals."""
    async with Seen(bootstrap, contender.results) as seen, fleet:
        await _send_all(producer, contender, [source.make(contender) for _ in range(WARM_UP)])
        await seen.count(WARM_UP)
        await asyncio.sleep(SETTLE_SECONDS)
        backlog = [source.make(contender) for _ in range(size.backlog)]
        cpu = CpuClock(fleet.pid(1))
        per_second, each = await _flood(producer, contender, seen, backlog, cpu)
        await asyncio.sleep(SETTLE_SECONDS)
        began_with = cpu.seconds()
        latencies = await _paced(producer, contender, source, seen, size.seconds)
        paced = (cpu.seconds() - began_with) / len(latencies)
    return Run(per_second, each, paced, quantile(latencies, 0.5) or 0.0, quantile(latencies, 0.99) or 0.0)


async def _send_all(producer: AIOKafkaProducer, contender: Contender, all_asked: Sequence[Asked]) -> None:
    """Send as fast as the broker takes them."""
    sent = [
        await producer.send(contender.requests, asked.record.value, key=asked.record.key, headers=asked.record.headers)
        for asked in all_asked
    ]
    await asyncio.gather(*sent)


async def _flood(
    producer: AIOKafkaProducer, contender: Contender, seen: Seen, backlog: Sequence[Asked], cpu: "CpuClock"
) -> tuple[float, float]:
    """Requests a second, and CPU seconds of one."""
    before = len(seen.at)
    os.kill(cpu.pid, signal.SIGSTOP)
    try:
        await _send_all(producer, contender, backlog)
        began_at, began_with = time.perf_counter(), cpu.seconds()
    finally:
        os.kill(cpu.pid, signal.SIGCONT)
    ended_at = await seen.count(before + len(backlog))
    return len(backlog) / (ended_at - began_at), (cpu.seconds() - began_with) / len(backlog)


async def _paced(
    producer: AIOKafkaProducer, contender: Contender, source: Source, seen: Seen, seconds: float
) -> list[float]:
    """Send as they come, whatever comes back; return how long each took."""
    before, sent_at = len(seen.at), dict[bytes, float]()
    at = began_at = time.perf_counter()
    while at < began_at + seconds:
        asked = source.make(contender)
        await asyncio.sleep(max(0.0, at - time.perf_counter()))
        sent_at[asked.result_key] = time.perf_counter()
        await producer.send(contender.requests, asked.record.value, key=asked.record.key, headers=asked.record.headers)
        at += source.gap_seconds()
    await seen.count(before + len(sent_at))
    return [seen.at[key] - instant for key, instant in sent_at.items()]


class CpuClock:
    """CPU seconds that a process has used, all threads, in nanosecond steps (POSIX ``clock_getcpuclockid``)."""

    def __init__(self, pid: int) -> None:
        clock = ctypes.c_int()
        if ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)):
            raise EnvironmentFailure(f"this system does not tell the CPU time of process {pid}")
        self.pid = pid
        self._clock = clock.value

    def seconds(self) -> float:
        """Return what it has used until now."""
        return time.clock_gettime(self._clock)


def _spreads(runs: Iterable[Run]) -> dict[str, Spread]:
    rows = [asdict(run) for run in runs]
    return {name: spread([row[name] for row in rows]) for name in FIGURES}


def _factors(found: Mapping[str, Spread], raw: Mapping[str, Spread]) -> dict[str, float]:
    return {name: round(found[name].median / raw[name].median, 3) for name in FIGURES}


def _missed(found: Mapping[str, Mapping[str, Spread]], factors: Mapping[str, float]) -> list[str]:
    """The aims that do not hold, in words."""
    missed = []
    for name in ("cpu_per_request_flood", "cpu_per_request_paced"):
        if factors[name] > CPU_FACTOR_MOST:
            missed.append(f"{name}: {factors[name]:.2f} x the raw loop, aim {CPU_FACTOR_MOST:g}")
        own = found["failsoft"][name].median
        missed += [f"{name}: not below {peer}" for peer in PEERS[1:] if own >= found[peer][name].median]
    for name in ("p50_seconds", "p99_seconds"):
        if factors[name] > LATENCY_FACTOR_MOST:
            missed.append(f"{name}: {factors[name]:.2f} x the raw loop, aim {LATENCY_FACTOR_MOST:g}")
    return missed


def _in_words(run: Run) -> str:
    return (
        f"{run.requests_per_second:,.0f}/s, CPU {run.cpu_per_request_flood * 1e6:.0f} us, at {RATE:g}/s "
        f"{run.cpu_per_request_paced * 1e6:.0f} us, p50 {run.p50_seconds * 1e3:.1f} ms, p99 {run.p99_seconds * 1e3:.1f} ms"
    )


COLUMNS = {
    "requests_per_second": ("most a second", 1.0, 0),
    "cpu_per_request_flood": ("CPU us, flood", 1e6, 0),
    "cpu_per_request_paced": (f"CPU us, {RATE:g}/s", 1e6, 0),
    "p50_seconds": ("p50 ms", 1e3, 1),
    "p99_seconds": ("p99 ms", 1e3, 1),
}


def _print(
    found: Mapping[str, Mapping[str, Spread]], factors: Mapping[str, Mapping[str, float]], missed: Sequence[str]
) -> None:
    table = Table(box=SIMPLE_HEAD, title="overhead of one process: median (least-most), and x of the raw loop")
    table.add_column("")
    for title, _, _ in COLUMNS.values():
        table.add_column(title, justify="right", no_wrap=True)
    for name, row in found.items():
        table.add_row(name, *(row[key].text(scale, digits) for key, (_, scale, digits) in COLUMNS.items()))
        table.add_row("", *(f"x {factors[name][key]:.2f}" for key in COLUMNS), end_section=True)
    console = Console(width=120)
    console.print(table)
    raw, own = found["raw"], found["failsoft"]
    added = {name: (own[name].median - raw[name].median) * 1e3 for name in ("p50_seconds", "p99_seconds")}
    console.print(
        f"failsoft adds {added['p50_seconds']:.1f} ms at p50 and {added['p99_seconds']:.1f} ms at p99, at {RATE:g}/s"
    )
    for line in missed or ["every aim is met"]:
        console.print(line)


if __name__ == "__main__":
    typer.run(main)
