"""Does the simulator say what a stage will do? Predicted first, from durations that were measured; then played on Kafka.

    python bench/prediction.py           # seven minutes; a table, and bench/results/prediction.json

Two workers serve a large model (8 slots, .4 s) and a small one (16 slots, .08 s), both lognormal, of `failsoft model-server`, a
process of its own. A first run, at twice the large model's capacity, is there to be measured: how long calls to each
tier took, and how long requests were on their way from the log to a worker, and results back. That, the stage's settings and
the number of workers is all that the prediction is told; the models' law is not. Then each load is predicted as `failsoft
predict --workers 2` does, and played. Load 1 is the large model's capacity, by what was measured.

The arrivals of a load are the same in both, as if a recorded trace had been given; service times are not. The prediction is made
with seven seeds: the median counts, and the span says what is left to chance. Near load 1 that is much: a queue that is
90 % busy makes ten per cent more waiting of one per cent more work. Live figures and predicted ones are counted by the same code
(failsoft/simulation/report.py), from append to append. Between two loads the stage comes to rest.

Judged, for all requests and for each class: level shares within 5 points of the median, and the 95th percentile within 15 % of it
or within the span of the seeds; else exit 1. Which of them only the span excuses is said.
"""

import asyncio
import math
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, NamedTuple

import orjson
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.report import ROOT, Quick, save
from failsoft import Constant, OpenAICompatible, Pipeline
from failsoft.catalogue import parse, results_topic
from failsoft.cli.dice import dice_of
from failsoft.cli.exits import Exit, explained_errors
from failsoft.kafka import Connection, Outbox, ResultReader, admin
from failsoft.policy.errors import EnvironmentFailure
from failsoft.policy.outcome import Ending
from failsoft.runtime.configuration import configure
from failsoft.runtime.submission import choose_destination
from failsoft.simulation.latency_law import Measured
from failsoft.simulation.prediction import Predicted, Question, arrivals, predict_asks
from failsoft.simulation.report import Summary, Tally, quantiles
from failsoft.simulation.workload import Ask, ClassLoad, Phase, poisson
from failsoft.testing import EmbeddedKafka
from failsoft.testing.model_server import ModelSettings
from failsoft.trials.fleet import Fleet
from failsoft.trials.served_models import ServedModels
from failsoft.wire import Identity, RequestLine, Result
from failsoft.wire.body import encode_request
from failsoft.wire.identity import result_id
from failsoft.wire.result import decode_result

MODELS = {
    "large": ModelSettings(slots=8, queue=8, median_seconds=0.4),
    "small": ModelSettings(slots=16, queue=16, median_seconds=0.08),
}
WORKERS = 2
PARTITIONS = 24
MIX = (ClassLoad("interactive", 0.3, 3.0), ClassLoad("standard", 0.4, 8.0), ClassLoad("batch", 0.3, 18.0))
LEVELS = (1, 2, 3)
SHARE_DISTANCE_MAX, P95_DISTANCE_MAX = 0.05, 0.15
MEASURING_PER_SECOND = 2 * 8 / 0.4
"""Of the first run: twice what the author's word on the large model makes its capacity."""
PATIENCE_SECONDS = 90.0

CATALOGUE = """
version: 1
defaults: {partitions: 24, replication: 1, config: {message.timestamp.type: LogAppendTime}}
classes:
  interactive: {weight: 8, deadline: 3s,  deadline_max: 60s}
  standard:    {weight: 3, deadline: 8s,  deadline_max: 15m}
  batch:       {weight: 1, deadline: 18s, deadline_max: 72h}
pipelines: {predicted: [answer]}
topics:
  requests:     {config: {retention.ms: 7d, max.message.bytes: 1.25MiB}}
  results:      {config: {retention.ms: 7d, max.message.bytes: 4MiB}}
  dead-letters: {config: {retention.ms: 14d, max.message.bytes: 4MiB}}
  outcomes:     {partitions: 1, config: {retention.ms: 1h}}
"""

pipeline = Pipeline("predicted")
answer = pipeline.stage("answer", coalesce="off")
_url = os.environ.get("MODEL_SERVER_URL", "http://127.0.0.1:8000")
answer.tier("large", OpenAICompatible("large", url=_url, limit=8), expect="400ms")
answer.tier("small", OpenAICompatible("small", url=_url, limit=16), expect="80ms")
answer.tier("canned", Constant({"choices": []}))


class Extent(NamedTuple):
    """How much is measured."""

    loads: tuple[float, ...]
    seconds: float
    measuring_seconds: float
    seeds: int


FULL = Extent((0.5, 0.9, 1.2, 2.0, 4.0), seconds=50.0, measuring_seconds=40.0, seeds=7)
QUICK = Extent((0.9, 2.0), seconds=20.0, measuring_seconds=15.0, seeds=5)


class Played(NamedTuple):
    """One run: what its figures are counted from, and what its results say of themselves."""

    tally: Tally
    results: Mapping[str, tuple[Result, float]]
    accepted_at: Mapping[str, float]
    late_seconds: float


class Compared(NamedTuple):
    """One class at one load, or all classes."""

    load: float
    name: str
    measured: Summary
    predicted: Sequence[Summary]

    @property
    def p95_seconds(self) -> float:
        """The median of the predictions."""
        return median(map(p95, self.predicted))

    def share(self, level: int) -> float:
        """The median of the predictions, 0-1."""
        return median(each.level_share(level) for each in self.predicted)

    @property
    def share_distance(self) -> float:
        """Of the level that is farthest off, 0-1."""
        return max(abs(self.measured.level_share(level) - self.share(level)) for level in LEVELS)

    @property
    def p95_distance(self) -> float:
        """The predicted 95th percentile over the measured one, less 1."""
        return self.p95_seconds / self.measured.p95_seconds - 1

    @property
    def is_within_chance(self) -> bool:
        """Whether one seed predicted at least as much and another at most as much."""
        return min(map(p95, self.predicted)) <= self.measured.p95_seconds <= max(map(p95, self.predicted))

    @property
    def is_kept(self) -> bool:
        """Whether the prediction holds."""
        is_near = abs(self.p95_distance) <= P95_DISTANCE_MAX
        return self.share_distance <= SHARE_DISTANCE_MAX and (is_near or self.is_within_chance)


def p95(summary: Summary) -> float:
    """The 95th percentile, from sending to the result."""
    return summary.p95_seconds


def main(
    *, quick: Quick = False, seed: int = typer.Option(0, help="Of arrivals, service times and predictions.")
) -> None:
    """Measure, print, write bench/results/prediction.json, and judge."""
    started_at = time.time()
    os.chdir(ROOT)  # workers find bench.prediction here
    with explained_errors(), EmbeddedKafka() as kafka, tempfile.TemporaryDirectory(prefix="failsoft-bench-") as folder:
        question, compared, late_seconds = asyncio.run(
            _measure(kafka.bootstrap_servers, QUICK if quick else FULL, Path(folder), seed)
        )
    _print(compared)
    excused = [each for each in compared if each.is_kept and abs(each.p95_distance) > P95_DISTANCE_MAX]
    for each in excused:
        print(f"load {each.load:g}, {each.name}: p95 is {each.p95_distance:+.0%} off, within the span of the seeds")
    is_kept = all(each.is_kept for each in compared)
    print(f"sent at most {late_seconds * 1000:.0f} ms late; the prediction {'holds' if is_kept else 'does not hold'}")
    result = {
        "capacity_per_second": question.capacity,
        "workers": WORKERS,
        "late_seconds": late_seconds,
        "laws": {name: _law(law) for name, law in question.laws.items() if isinstance(law, Measured)},
        "on_the_way": [_law(law) for law in question.on_the_way or ()],
        "rows": [_row(each) for each in compared],
        "excused_by_chance": len(excused),
        "is_kept": is_kept,
    }
    save("prediction", started_at=started_at, seed=seed, result=result, is_quick=quick)
    raise typer.Exit(Exit.OK if is_kept else Exit.BROKEN_PROMISE)


async def _measure(bootstrap: str, extent: Extent, folder: Path, seed: int) -> tuple[Question, list[Compared], float]:
    """Ask the question that a first run makes possible, and answer it both ways."""
    stage = Live(Connection(bootstrap), folder)
    await admin.apply(stage.connection, stage.catalogue)
    async with (
        ServedModels(MODELS, seed=seed, folder=folder) as models,
        Fleet(stage.worker_command(models.url), size=WORKERS, folder=folder),
    ):
        phase = Phase(MEASURING_PER_SECOND, 0, extent.measuring_seconds)
        question = _question(stage, await stage.play(poisson([phase], MIX, Random(f"{seed} measuring"))), extent)
        compared, late_seconds = list[Compared](), 0.0
        for load in extent.loads:
            asks = arrivals(question, load, Random(f"{seed} {load}"))
            predicted = [predict_asks(question, load, asks, dice_of(each)) for each in range(extent.seeds)]
            played = await stage.play(asks)
            late_seconds = max(late_seconds, played.late_seconds)
            compared += _compared(load, predicted, played.tally)
    return question, compared, late_seconds


def _question(stage: "Live", played: Played, extent: Extent) -> Question:
    """What a first run lets one ask."""
    took_at, durations = _history(stage.folder)
    to_worker = [took_at[id_] - at for id_, at in played.accepted_at.items()]
    to_log = [at - (result.published_at or at) for result, at in played.results.values()]
    return Question(
        configure([answer], stage.catalogue, {})[0].policy,
        {tier: _measured(found) for tier, found in durations.items()},
        MIX,
        extent.seconds,
        workers=WORKERS,
        partitions=PARTITIONS,
        on_the_way=(_measured(to_worker), _measured(to_log)),
    )


def _measured(durations: Iterable[float]) -> Measured:
    """What was measured, in order. The broker's times have whole milliseconds, so the shortest ways can seem negative."""
    return Measured(tuple(sorted(max(0.0, seconds) for seconds in durations)))


def _history(folder: Path) -> tuple[dict[str, float], Mapping[str, Sequence[float]]]:
    """When each request was taken by a worker, and how long the calls to each tier took that brought an answer."""
    took_at: dict[str, float] = {}
    durations: defaultdict[str, list[float]] = defaultdict(list)
    for path in folder.glob("worker-*.answer.jsonl"):
        under_way: dict[int, tuple[str, float]] = {}
        for line in map(orjson.loads, path.read_bytes().splitlines()):
            match line["event"]:
                case "took":
                    took_at[line["id"]] = line["at"]
                case "execute":
                    under_way[line["call"]] = (line["tier"], line["at"])
                case "ended":
                    tier, began_at = under_way.pop(line["call"])
                    if line["verdict"] == "ok":
                        durations[tier].append(line["at"] - began_at)
    return took_at, durations


class Live:
    """The stage on Kafka.

    Args:
        connection: to the cluster.
        folder: of its files.
    """

    def __init__(self, connection: Connection, folder: Path) -> None:
        self.connection = connection
        self.folder = folder
        self.catalogue = parse(CATALOGUE)
        self._runs = 0
        (folder / "topics.yaml").write_text(CATALOGUE)

    def worker_command(self, models_url: str) -> list[str]:
        """Start one worker, which writes its history."""
        command = [sys.executable, "-m", "failsoft", "worker", "bench.prediction:pipeline"]
        options = ["--catalogue", str(self.folder / "topics.yaml"), "--drain", "2s", "--history", str(self.folder)]
        where = ["--bootstrap", self.connection.bootstrap_servers]
        return ["env", f"MODEL_SERVER_URL={models_url}", *command, *options, *where]

    async def play(self, asks: Sequence[Ask]) -> Played:
        """Send these as they come, and return when all have their result."""
        self._runs += 1
        names = {ask.number: Identity(f"/bench/{self._runs}", str(ask.number)) for ask in asks}
        ids = {number: result_id(identity) for number, identity in names.items()}
        reader = ResultReader(self.connection, results_topic(pipeline.name), start="end")
        await reader.start()
        reading = asyncio.create_task(_read(reader, set(ids.values())))
        try:
            accepted_at, late_seconds = await self._send(asks, names)
            async with asyncio.timeout(PATIENCE_SECONDS):
                results = await reading
        except TimeoutError:
            raise EnvironmentFailure("not all results came: is the machine too slow?") from None
        finally:
            reading.cancel()
            await asyncio.wait({reading})
            await reader.stop()
        tally = Tally()
        for ask in asks:
            accepted = replace(ask, at=accepted_at[ids[ask.number]])
            tally.asked(accepted)
            result, at = results[ids[ask.number]]
            tally.result(accepted, Ending(result.outcome, result.reason, tier=result.tier, level=result.level), at)
        return Played(tally, results, accepted_at, late_seconds)

    async def _send(self, asks: Sequence[Ask], names: Mapping[int, Identity]) -> tuple[dict[str, float], float]:
        """When each was appended, and how late one was sent at worst."""
        outbox, began_at, late_seconds = Outbox(self.connection), time.monotonic(), 0.0
        accepted_at: dict[str, float] = {}

        async def send(ask: Ask) -> None:
            destination = choose_destination(self.catalogue, request_class=ask.request_class)
            prompt = {"role": "user", "content": str(ask.number)}
            line = RequestLine(str(ask.number), "/v1/chat/completions", {"messages": [prompt]})
            record = destination.record(line, encode_request(line), names[ask.number], sent_at=time.time())
            done = await outbox.send(destination.topic, key=record.key, value=record.value, headers=record.headers)
            accepted_at[result_id(names[ask.number])] = done.appended_at or math.nan

        await outbox.start()
        try:
            async with asyncio.TaskGroup() as sending:
                for ask in asks:
                    await asyncio.sleep(began_at + ask.at - time.monotonic())
                    late_seconds = max(late_seconds, time.monotonic() - began_at - ask.at)
                    sending.create_task(send(ask))
        finally:
            await outbox.close()
        return accepted_at, late_seconds


async def _read(reader: ResultReader, wanted: Collection[str]) -> dict[str, tuple[Result, float]]:
    """Results by id, each with the instant of its append."""
    found: dict[str, tuple[Result, float]] = {}
    async for record in reader.records():
        result = decode_result(record.headers, record.value)
        if result.id in wanted:
            found[result.id] = (result, record.timestamp)
            if len(found) == len(wanted):
                break
    return found


def _compared(load: float, predicted: Sequence[Predicted], tally: Tally) -> Iterator[Compared]:
    yield Compared(load, "all", tally.summary(), [each.total for each in predicted])
    for name in (each.request_class for each in MIX):
        yield Compared(load, name, tally.summary(name), [each.classes[name] for each in predicted])


def _row(each: Compared) -> dict[str, Any]:
    return {
        "load": each.load,
        "class": each.name,
        "measured": asdict(each.measured),
        "predicted": [asdict(summary) for summary in each.predicted],
        "share_distance": each.share_distance,
        "p95_distance": each.p95_distance,
        "is_p95_within_chance": each.is_within_chance,
        "is_kept": each.is_kept,
    }


def _law(law: Measured) -> dict[str, Any]:
    p50, p95_, p99 = quantiles(law.recorded, (0.5, 0.95, 0.99))
    return {"samples": len(law.recorded), "mean_seconds": law.mean_seconds, "p50": p50, "p95": p95_, "p99": p99}


def _print(compared: Sequence[Compared]) -> None:
    table = Table(box=SIMPLE_HEAD, title="predicted / measured", padding=(0, 1, 0, 0))
    headings = ("load", "class", "level 1 %", "level 2 %", "level 3 %", "points", "p95 s", "span of p95", "off")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "class" else "right", no_wrap=True)
    for each in compared:
        shares = (f"{each.share(level) * 100:.1f} / {each.measured.level_share(level) * 100:.1f}" for level in LEVELS)
        span = f"{min(map(p95, each.predicted)):.2f}-{max(map(p95, each.predicted)):.2f}"
        times = f"{each.p95_seconds:.2f} / {each.measured.p95_seconds:.2f}"
        points = f"{each.share_distance * 100:.1f}"
        table.add_row(f"{each.load:g}", each.name, *shares, points, times, span, f"{each.p95_distance:+.0%}")
    Console(width=120).print(table)


if __name__ == "__main__":
    typer.run(main)
