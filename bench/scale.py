"""Does a request cost the same where there is more of everything? CPU of a request, on Kafka and by what is known.

    python bench/scale.py                # seven minutes; a table, and bench/results/scale.json
    python bench/scale.py --quick        # two minutes: the ends of each range only

**On a broker**: what a worker does with Kafka may grow with workers (1, 2, 4), partitions (6 to 48), classes (1 to 6) and backlog
(0 to 1,000,000 records). Each worker calls a model that takes 40 ms, eight at once, so all do 200 requests a second, whatever the
machine; what is measured is CPU time of the worker processes over the results that came meanwhile, in windows of some seconds.
The queue never runs dry; for backlog 0, 190 requests a second are sent instead. One thing is changed at a time, from one
worker, 24 partitions, one class and 20,000 records; each round goes through all cases in an order of its own.

**In virtual time**: what a worker knows is held by the stage machine alone, so this is where it is measured: answers of so many
content keys (0 to 1,000,000) and so many breaker registers (10 to 10,000). 5,000 requests at twice the capacity are simulated
once, and what the machine was told is told again to a fresh one that knows so much; CPU time of that over requests. The answers
are of keys that nobody asks, so every request makes its call. The registers are of two breakers: of five workers that live and
speak once in ten seconds, and of others that have died within the last day. In *live registers* all of them live and speak:
5,000 workers at most.

**Start**: seconds from the start of a process until it is ready, with 10 and with 10,000 registers in its topic.

Aim: nowhere in a range costs a request more than 1.2 times what it costs anywhere before it (less is no fault); 10,000 registers
take less than a second of the start. Exit 1 where that does not hold, except for live registers, which show how it grows: by the
words that are said, of which each is read by all.
"""

import asyncio
import gc
import itertools
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import typer
from aiokafka import AIOKafkaProducer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.machine import Recorder
from bench.overhead import CpuClock
from bench.report import ROOT, Quick, save, spread
from failsoft import Call, Output, Pipeline
from failsoft.catalogue import parse, pipeline_topic, requests_topic, results_topic
from failsoft.cli.exits import Exit, explained_errors
from failsoft.kafka import Connection, Outbox, admin
from failsoft.kafka.operations import log_bounds
from failsoft.policy.actions import Publish, StartCall
from failsoft.policy.answer import AnswerName
from failsoft.policy.answers import AnswersConfig
from failsoft.policy.call_counts import BUCKETS, Counts
from failsoft.policy.errors import EnvironmentFailure
from failsoft.policy.events import AnswerSeen, Arrived, Event, RegisterSeen, Verdict
from failsoft.policy.register import Register
from failsoft.policy.settings import StageSettings
from failsoft.policy.stage import StageMachine
from failsoft.simulation.endpoints import ModelEndpoint
from failsoft.simulation.engine import Engine
from failsoft.simulation.pool import run_pool
from failsoft.simulation.scenarios import CAPACITY, FULL, FULL_LAW, FULL_SLOTS, MIX, SETTINGS, SMALL, SMALL_LAW
from failsoft.simulation.scenarios import SMALL_SLOTS as SLOTS_BELOW
from failsoft.simulation.shell import CallUnderWay, Shell
from failsoft.simulation.workload import UNIQUE, Contents, Phase, poisson
from failsoft.testing import EmbeddedKafka
from failsoft.trials.fleet import Fleet
from failsoft.wire import RequestLine
from failsoft.wire.body import encode_request
from failsoft.wire.register import encode_register

FACTOR_MOST = 1.2
CALL_SECONDS, SLOTS = 0.04, 8
PACED_PER_SECOND = 190.0
BATCH_BYTES = 256 * 1024
WARM_UP_SECONDS = 4.0
BATCH_RECORDS = 2_000
PER_SECOND_LEAST = 100.0
"""Of a worker, half of what the model lets through: with less something else was measured."""
DAY_SECONDS = 86_400.0
RANGES = ("workers", "partitions", "classes", "backlog")
LIVE = "live_registers"
LIVE_REGISTERS = 10
REGISTERS_LEAST, REGISTERS_MOST = 10, 10_000
START_SECONDS_MOST = 1.0
REQUESTS = 5_000
HEARTBEAT_SECONDS = 10.0
LOAD = 2.0
BREAKERS = tuple(f"{SETTINGS.name}/{tier}" for tier in (FULL, SMALL))

pipeline = Pipeline(os.environ.get("BENCH_SCALE_PIPELINE", "scale"))


@pipeline.stage("serve", coalesce="off").tier(
    "model", limit=SLOTS * int(os.environ.get("BENCH_SCALE_WORKERS", "1")), expect=CALL_SECONDS
)
async def model(_: Call) -> Output:
    """A model that takes its time."""
    await asyncio.sleep(CALL_SECONDS)
    return Output({"read": True})


class Extent(NamedTuple):
    """How much is measured."""

    rounds: int
    windows: int
    window_seconds: float
    workers: tuple[int, ...]
    partitions: tuple[int, ...]
    classes: tuple[int, ...]
    backlog: tuple[int, ...]
    replays: int
    content_keys: tuple[int, ...]
    registers: tuple[int, ...]
    live_registers: tuple[int, ...]


FULL_EXTENT = Extent(
    rounds=2,
    windows=3,
    window_seconds=3.0,
    workers=(1, 2, 4),
    partitions=(6, 24, 48),
    classes=(1, 3, 6),
    backlog=(0, 20_000, 1_000_000),
    replays=5,
    content_keys=(0, 10_000, 100_000, 1_000_000),
    registers=(10, 100, 1_000, 10_000),
    live_registers=(10, 100, 1_000, 10_000),
)
QUICK_EXTENT = Extent(
    rounds=1,
    windows=2,
    window_seconds=3.0,
    workers=(1, 4),
    partitions=(6, 48),
    classes=(1, 6),
    backlog=(0, 100_000),
    replays=3,
    content_keys=(0, 100_000),
    registers=(10, 10_000),
    live_registers=(10, 1_000),
)


@dataclass(frozen=True)
class Case:
    """What stands on the broker."""

    workers: int = 1
    partitions: int = 24
    classes: int = 1
    backlog: int = 20_000
    registers: int = 0

    @property
    def name(self) -> str:
        """Of its pipeline."""
        return f"scale-{self.workers}-{self.partitions}-{self.classes}-{self.backlog}-{self.registers}"

    @property
    def places(self) -> list[tuple[str, int]]:
        """Topic and partition, the classes by turns."""
        topics = [requests_topic(self.name, "serve", name) for name in self.class_names]
        return [(topic, number) for number in range(self.partitions) for topic in topics]

    @property
    def class_names(self) -> list[str]:
        """Most urgent first."""
        return [f"class-{number}" for number in range(self.classes)]

    @property
    def catalogue(self) -> str:
        """topics.yaml."""
        weights = {name: 8 - number for number, name in enumerate(self.class_names)}
        classes = "\n".join(
            f"  {name}: {{weight: {weight}, deadline: 24h, deadline_max: 72h}}" for name, weight in weights.items()
        )
        return f"""
version: 1
defaults: {{partitions: {self.partitions}, replication: 1, config: {{message.timestamp.type: LogAppendTime}}}}
classes:
{classes}
pipelines: {{{self.name}: [serve]}}
topics:
  requests:     {{config: {{retention.ms: 7d, max.message.bytes: 1.25MiB}}}}
  results:      {{config: {{retention.ms: 7d, max.message.bytes: 4MiB}}}}
  dead-letters: {{config: {{retention.ms: 14d, max.message.bytes: 4MiB}}}}
  outcomes:     {{partitions: 1, config: {{retention.ms: 1h}}}}
  breakers:     {{partitions: 1, config: {{cleanup.policy: compact}}}}
"""


USUAL = Case()
Costs = dict[str, dict[int, list[float]]]
"""Range -> how much of it there is -> CPU seconds of a request, one of each run."""


def main(
    *, quick: Quick = False, seed: int = typer.Option(0, help="Of arrivals, and of the order of the runs.")
) -> None:
    """Measure, print, write bench/results/scale.json, and judge."""
    started_at, extent = time.time(), QUICK_EXTENT if quick else FULL_EXTENT
    os.chdir(ROOT)  # workers find bench.scale here
    with explained_errors(), EmbeddedKafka() as kafka, tempfile.TemporaryDirectory(prefix="failsoft-bench-") as folder:
        stage = OnBroker(kafka.bootstrap_servers, Path(folder), extent)
        starts = asyncio.run(stage.starts())
        costs = asyncio.run(stage.costs(seed))
    costs |= Knowing(extent, seed).costs()
    growths = {name: _growth(found) for name, found in costs.items()}
    missed = [name for name, growth in growths.items() if growth > FACTOR_MOST and name != LIVE]
    added = statistics.median(starts[REGISTERS_MOST]) - statistics.median(starts[REGISTERS_LEAST])
    missed += ["start"] if added >= START_SECONDS_MOST else []
    _print(costs, growths, added)
    print(f"missed: {', '.join(missed)}" if missed else "every aim is met")
    result = {
        "extent": extent._asdict(),
        "cpu_seconds_per_request": {
            name: {count: asdict(spread(values)) for count, values in found.items()} for name, found in costs.items()
        },
        "growths": growths,
        "start_seconds": {count: asdict(spread(values)) for count, values in starts.items()},
        "missed": missed,
    }
    save("scale", started_at=started_at, seed=seed, result=result, is_quick=quick)
    raise typer.Exit(Exit.BROKEN_PROMISE if missed else Exit.OK)


# On a broker


class OnBroker:
    """Workers, and what they have to do.

    Args:
        bootstrap: of the cluster.
        folder: of files.
        extent: how much is measured.
    """

    def __init__(self, bootstrap: str, folder: Path, extent: Extent) -> None:
        self._bootstrap = bootstrap
        self._connection = Connection(bootstrap)
        self._folder = folder
        self._extent = extent
        self._queued: set[str] = set()

    async def costs(self, seed: int) -> Costs:
        """CPU seconds of a request, over each range."""
        ranges = {
            name: {count: replace(USUAL, **{name: count}) for count in getattr(self._extent, name)} for name in RANGES
        }
        measured: dict[Case, list[float]] = {}
        distinct = {case for found in ranges.values() for case in found.values()}
        for number in range(self._extent.rounds):
            for case in random.Random(f"{seed} {number}").sample(sorted(distinct, key=str), len(distinct)):
                await self._queue(case)
                measured.setdefault(case, []).extend(await self._measure(case))
        return {name: {count: measured[case] for count, case in found.items()} for name, found in ranges.items()}

    async def starts(self) -> dict[int, list[float]]:
        """Seconds until a worker is ready, by how many registers there are."""
        found = {}
        for count in (REGISTERS_LEAST, REGISTERS_MOST):
            case = replace(USUAL, backlog=0, registers=count)
            await self._make(case)
            await self._register(case)
            found[count] = [await self._start(case) for _ in range(self._extent.rounds + 1)]
        return found

    async def _make(self, case: Case) -> None:
        self._queued.add(case.name)
        await admin.apply(self._connection, parse(case.catalogue))

    async def _queue(self, case: Case) -> None:
        """Queue the backlog once, in batches made here: sending records one by one takes ten times as long.

        Requests without an identity have one by their place in the log.
        """
        if case.name in self._queued:
            return
        await self._make(case)
        value, left, sent = _value(), case.backlog, []
        share_most = max(1, min(BATCH_RECORDS, case.backlog // (case.partitions * case.classes)))
        async with AIOKafkaProducer(bootstrap_servers=self._bootstrap, max_batch_size=BATCH_BYTES) as producer:
            for topic, number in itertools.cycle(case.places):
                if left <= 0:
                    break
                batch, count = producer.create_batch(), 0
                while count < min(left, share_most) and batch.append(key=None, value=value, timestamp=None) is not None:
                    count += 1
                sent.append(await producer.send_batch(batch, topic, partition=number))
                left -= count
            await asyncio.gather(*sent)

    async def _register(self, case: Case) -> None:
        outbox = Outbox(self._connection)
        await outbox.start()
        records = [encode_register("serve/model", f"dead-{number}", Register()) for number in range(case.registers)]
        topic = pipeline_topic(case.name, "breakers")
        await asyncio.gather(
            *(outbox.send(topic, key=each.key, value=each.value, headers=each.headers) for each in records)
        )
        await outbox.close()

    async def _start(self, case: Case) -> float:
        began_at = time.monotonic()
        async with self._fleet(case):
            return time.monotonic() - began_at

    def _fleet(self, case: Case) -> Fleet:
        folder = self._folder / case.name
        folder.mkdir(exist_ok=True)
        (folder / "topics.yaml").write_text(case.catalogue)
        environment = ["env", f"BENCH_SCALE_PIPELINE={case.name}", f"BENCH_SCALE_WORKERS={case.workers}"]
        # On a busy machine calls of 40 ms take .4 s; a breaker that opens would leave nothing to measure.
        environment.append(f"FAILSOFT_{case.name.upper().replace('-', '_')}__SERVE__BREAKER_ENFORCE=false")
        command = [sys.executable, "-m", "failsoft", "worker", "bench.scale:pipeline", "--bootstrap", self._bootstrap]
        options = ["--catalogue", str(folder / "topics.yaml"), "--drain", "1s"]
        return Fleet([*environment, *command, *options], size=case.workers, folder=folder)

    async def _measure(self, case: Case) -> list[float]:
        """CPU seconds of a request, in each window."""
        async with self._fleet(case) as fleet:
            sending = None if case.backlog else asyncio.create_task(self._send_paced(case))
            try:
                await asyncio.sleep(WARM_UP_SECONDS)
                clocks = [CpuClock(fleet.pid(number + 1)) for number in range(case.workers)]
                return [await self._window(case, clocks) for _ in range(self._extent.windows)]
            finally:
                if sending is not None:
                    sending.cancel()
                    await asyncio.wait({sending})

    async def _window(self, case: Case, clocks: Sequence[CpuClock]) -> float:
        results_before, spent_before = await self._results(case), sum(clock.seconds() for clock in clocks)
        await asyncio.sleep(self._extent.window_seconds)
        results = await self._results(case) - results_before
        spent = sum(clock.seconds() for clock in clocks) - spent_before
        per_second = results / self._extent.window_seconds / case.workers
        print(f"{case.name}: {per_second:.0f}/s a worker, {spent / max(1, results) * 1e6:.0f} us", file=sys.stderr)
        if per_second < PER_SECOND_LEAST:
            raise EnvironmentFailure(
                f"{case.name}: {per_second:.0f} requests a second a worker; the machine is too busy"
            )
        return spent / results

    async def _results(self, case: Case) -> int:
        bounds = await log_bounds(self._connection, {results_topic(case.name): case.partitions})
        return sum(end for _, end in bounds.values())

    async def _send_paced(self, case: Case) -> None:
        at, value = time.monotonic(), _value()
        async with AIOKafkaProducer(bootstrap_servers=self._bootstrap) as producer:
            for topic, number in itertools.cycle(case.places):
                at += 1 / PACED_PER_SECOND
                await asyncio.sleep(at - time.monotonic())
                await producer.send(topic, value, partition=number)


def _value() -> bytes:
    return encode_request(RequestLine("1", "/v1/completions", {"prompt": "which digit is it?"}))


# In virtual time


class Words:
    """Live workers of a simulated fleet, who say that they are well; a watch that begins with the run.

    Args:
        engine: of the run.
        count: how many registers, of both breakers.
        until: when they fall silent.
    """

    def __init__(self, engine: Engine, count: int, until: float) -> None:
        self._engine = engine
        self._count = count
        self._until = until
        self._has_begun = False

    def call_started(self, shell: Shell, action: StartCall) -> None:
        """They say the same whatever is called."""

    def call_ended(self, shell: Shell, call: CallUnderWay, verdict: Verdict) -> None:
        """They say the same whatever comes of it."""

    def decided(self, shell: Shell, action: Publish) -> None:
        """They say the same whatever is decided."""

    def handled(self, shell: Shell, event: Event) -> None:
        """Begin to speak."""
        if self._has_begun:
            return
        self._has_begun = True
        well = Register(buckets=(Counts(10),) * BUCKETS)
        for number in range(self._count // len(BREAKERS)):
            at = HEARTBEAT_SECONDS * number * len(BREAKERS) / self._count
            while at < self._until:
                for breaker in BREAKERS:
                    self._engine.at(at, shell.feed, RegisterSeen(breaker, f"live {number}", well))
                at += HEARTBEAT_SECONDS


class Knowing:
    """What the machine costs, by how much it knows.

    Args:
        extent: how much is measured.
        seed: of the arrivals.
    """

    def __init__(self, extent: Extent, seed: int) -> None:
        self._extent = extent
        self._seed = seed

    def costs(self) -> Costs:
        """CPU seconds of a request, over each range."""
        extent = self._extent
        sharing = replace(SETTINGS, answers=AnswersConfig(bytes_max=8 * 1024**3))
        shared, alone = (
            self._recorded(sharing, Contents(10**7, exponent=0.0)),
            self._recorded(SETTINGS, UNIQUE, LIVE_REGISTERS),
        )
        live = {count: self._recorded(SETTINGS, UNIQUE, count) for count in extent.live_registers}
        found: Costs = {"content_keys": {}, "registers": {}, LIVE: {}}
        for _ in range(extent.replays):
            for count in extent.content_keys:
                found["content_keys"].setdefault(count, []).append(_replayed(sharing, shared, _answers(count)))
            for count in extent.registers:
                found["registers"].setdefault(count, []).append(
                    _replayed(SETTINGS, alone, _dead(count - LIVE_REGISTERS))
                )
            for count, told in live.items():
                found[LIVE].setdefault(count, []).append(_replayed(SETTINGS, told, ()))
        return found

    def _recorded(self, settings: StageSettings, contents: Contents, live: int = 0) -> list[tuple[float, Event]]:
        """What a machine was told in one run."""
        rate = LOAD * CAPACITY
        seconds = REQUESTS / rate
        asks = poisson([Phase(rate, 0, seconds)], MIX, random.Random(f"{self._seed} arrivals"), contents)
        engine, recorder = Engine(), Recorder()
        models = {
            FULL: ModelEndpoint(engine, FULL_LAW, slots=FULL_SLOTS, rng=random.Random(FULL)),
            SMALL: ModelEndpoint(engine, SMALL_LAW, slots=SLOTS_BELOW, rng=random.Random(SMALL)),
        }
        run_pool(engine, settings, models, asks, watches=(recorder, Words(engine, live, seconds)))
        return recorder.events


def _replayed(settings: StageSettings, told: Sequence[tuple[float, Event]], known: Iterable[Event]) -> float:
    """CPU seconds of a request at a machine that knows this. The first event gives it its partitions."""
    machine, (first, *others) = StageMachine(settings), told
    machine.handle(first[1], now=first[0])
    for event in known:
        machine.handle(event, now=first[0])
    gc.collect()
    began_at = time.process_time()
    for now, event in others:
        machine.handle(event, now=now)
        machine.next_wakeup()
    return (time.process_time() - began_at) / sum(isinstance(event, Arrived) for _, event in told)


def _answers(count: int) -> Iterator[Event]:
    """Answers of keys that nobody asks."""
    for number in range(count):
        yield AnswerSeen(AnswerName(f"other {number:058d}", 1), 0, FULL, 200, age_seconds=1.0, fresh_seconds=300.0)


def _dead(count: int) -> Iterator[Event]:
    """Registers of workers that have died within the last day."""
    for number in range(count):
        age_seconds = 60 + number / max(1, count) * (DAY_SECONDS - 3_600)
        yield RegisterSeen(BREAKERS[number % len(BREAKERS)], f"dead {number}", Register(), age_seconds)


# What it comes to


def _growth(found: Mapping[int, Sequence[float]]) -> float:
    """The most that a request costs, over what it costs anywhere before in the range."""
    medians = [statistics.median(values) for values in found.values()]
    return max(later / min(medians[: place + 1]) for place, later in enumerate(medians))


def _print(costs: Costs, growths: Mapping[str, float], start_seconds: float) -> None:
    table = Table(box=SIMPLE_HEAD, title="CPU of a request, us: median (least-most)")
    for name in ("range", "there are", "us", "most growth"):
        table.add_column(name, justify="left" if name == "range" else "right", no_wrap=True)
    for name, found in costs.items():
        for place, (count, values) in enumerate(found.items()):
            is_last = place == len(found) - 1
            growth = f"x {growths[name]:.2f}" if is_last else ""
            table.add_row(
                "" if place else name.replace("_", " "),
                f"{count:,}",
                spread(values).text(1e6, 0),
                growth,
                end_section=is_last,
            )
    console = Console(width=100)
    console.print(table)
    console.print(f"{REGISTERS_MOST:,} registers take {start_seconds:+.2f} s of a start")


if __name__ == "__main__":
    typer.run(main)
