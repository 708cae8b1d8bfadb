"""The same question as ``coalescing.py``, live: a broker, two workers, one minute at twice the load with a quarter of repeats.

    python bench/coalescing_live.py            # two minutes; figures, and bench/results/coalescing_live.json
    python bench/coalescing_live.py --quick    # a third of it: one minute

What is asked is drawn as there, and sent as senders of ours do. The full model has 8 slots and takes .2 s, the small one .04 s,
both lognormal. Who was served by which call is read from the workers' histories and the results: a result names the request
whose call it shared, and a history names for which record a call was made, when, and how it ended. All clocks are this machine's.
The oracle is that of ``coalescing.py``; its deadlines begin when a worker took the record.

Judged: all requests have a result, and the share is at least .95; else exit 1.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import orjson
import typer

from bench.coalescing import SHARE_LEAST, Answered, Asked, drawn, struck
from bench.report import ROOT, Quick, save
from failsoft import Call, Constant, Output, Pipeline
from failsoft.catalogue import Catalogue, parse, results_topic
from failsoft.cli.exits import Exit, explained_errors
from failsoft.kafka import Connection, Outbox, ResultReader, admin
from failsoft.policy.errors import EnvironmentFailure
from failsoft.runtime.submission import choose_destination
from failsoft.simulation.workload import Ask, ClassLoad, Phase, poisson
from failsoft.testing import EmbeddedKafka
from failsoft.trials.fleet import Fleet
from failsoft.wire import Identity, RequestLine, Result
from failsoft.wire.body import encode_request
from failsoft.wire.identity import result_id
from failsoft.wire.result import decode_result

SLOTS, FULL_SECONDS, SMALL_SECONDS, SIGMA = 8, 0.2, 0.04, 0.35
CAPACITY = SLOTS / (FULL_SECONDS * 1.063)
"""Requests a second that the full model serves: 1.063 is the mean of a lognormal of this sigma over its median."""
LOAD, REPEATS = 2.0, 0.25
WORKERS = 2
MIX = (ClassLoad("interactive", 0.2, 2.0), ClassLoad("standard", 0.5, 10.0), ClassLoad("batch", 0.3, 60.0))
PATIENCE_SECONDS = 90.0

CATALOGUE = """
version: 1
defaults: {partitions: 24, replication: 1, config: {message.timestamp.type: LogAppendTime}}
classes:
  interactive: {weight: 8, deadline: 2s,  deadline_max: 60s}
  standard:    {weight: 3, deadline: 10s, deadline_max: 15m}
  batch:       {weight: 1, deadline: 60s, deadline_max: 72h}
pipelines: {sharing: [serve]}
topics:
  requests:     {config: {retention.ms: 7d, max.message.bytes: 1.25MiB}}
  results:      {config: {retention.ms: 7d, max.message.bytes: 4MiB}}
  dead-letters: {config: {retention.ms: 14d, max.message.bytes: 4MiB}}
  outcomes:     {partitions: 1, config: {retention.ms: 1h}}
"""

pipeline = Pipeline("sharing")
serve = pipeline.stage("serve")
_dice = Random()


@serve.tier("full", limit=SLOTS, expect=FULL_SECONDS)
async def full(_: Call) -> Output:
    """The model that everybody wants."""
    await asyncio.sleep(_dice.lognormvariate(0.0, SIGMA) * FULL_SECONDS)
    return Output({"by": "full"})


@serve.tier("small", limit=2 * SLOTS, expect=SMALL_SECONDS)
async def small(_: Call) -> Output:
    """The one that is fast."""
    await asyncio.sleep(_dice.lognormvariate(0.0, SIGMA) * SMALL_SECONDS)
    return Output({"by": "small"})


serve.tier("canned", Constant({"by": "nobody"}))
LEVELS = {"full": 1, "small": 2, "canned": 3}


def main(
    seconds: float = typer.Option(60.0, min=10.0, help="Of arrivals."),
    seed: int = typer.Option(0, help="Of the arrivals."),
    *,
    quick: Quick = False,
) -> None:
    """Measure, print, write bench/results/coalescing_live.json, and judge."""
    started_at = time.time()
    os.chdir(ROOT)  # workers find bench.coalescing_live here
    seconds = 20.0 if quick else seconds
    dice = Random(f"live {seed}")
    asks = drawn(poisson([Phase(LOAD * CAPACITY, 0, seconds)], MIX, dice), REPEATS, dice)
    with explained_errors(), EmbeddedKafka() as kafka, tempfile.TemporaryDirectory(prefix="failsoft-bench-") as folder:
        results = asyncio.run(_measure(kafka.bootstrap_servers, asks, Path(folder)))
        calls = _calls(asks, results, Path(folder))
    saved = sum(len(call.waiters) for call in calls) - len(calls)
    missed = struck(calls, keeps_level=False)
    figures = {
        "requests": len(asks),
        "results": len(results),
        "served_by_models": saved + len(calls),
        "calls": len(calls),
        "saved": saved,
        "struck": missed,
        "share": round(saved / max(1, saved + missed), 4),
        "in_time_share": round(sum(each.is_ok and each.slack_seconds >= 0 for each in results.values()) / len(asks), 4),
    }
    is_kept = len(results) == len(asks) and figures["share"] >= SHARE_LEAST
    for name, value in figures.items():
        print(f"{name:<18}{value:>10,}")
    result = {"load": LOAD, "repeats": REPEATS, **figures, "is_kept": is_kept}
    save("coalescing_live", started_at=started_at, seed=seed, result=result, is_quick=quick)
    raise typer.Exit(Exit.OK if is_kept else Exit.BROKEN_PROMISE)


async def _measure(bootstrap: str, asks: Sequence[Ask], folder: Path) -> dict[str, Result]:
    """Send all of them as they come, and return their results by id."""
    catalogue, connection = parse(CATALOGUE), Connection(bootstrap)
    await admin.apply(connection, catalogue)
    (folder / "topics.yaml").write_text(CATALOGUE)
    command = [sys.executable, "-m", "failsoft", "worker", "bench.coalescing_live:pipeline", "--bootstrap", bootstrap]
    options = ["--catalogue", str(folder / "topics.yaml"), "--drain", "2s", "--history", str(folder)]
    async with Fleet([*command, *options], size=WORKERS, folder=folder):
        await _send(connection, catalogue, asks)
        return await _results(connection, len(asks))


async def _send(connection: Connection, catalogue: Catalogue, asks: Sequence[Ask]) -> None:
    outbox = Outbox(connection)
    await outbox.start()
    began_at = time.monotonic()

    async def send(ask: Ask) -> None:
        destination = choose_destination(catalogue, request_class=ask.request_class)
        line = RequestLine(str(ask.number), "/v1/completions", {"prompt": ask.key, "temperature": 0})
        record = destination.record(line, encode_request(line), _identity(ask), sent_at=time.time())
        await outbox.send(destination.topic, key=record.key, value=record.value, headers=record.headers)

    try:
        async with asyncio.TaskGroup() as sending:
            for ask in asks:
                await asyncio.sleep(began_at + ask.at - time.monotonic())
                sending.create_task(send(ask))
    finally:
        await outbox.close()


def _identity(ask: Ask) -> Identity:
    return Identity("/bench", str(ask.number))


async def _results(connection: Connection, count: int) -> dict[str, Result]:
    """Read the results until all are there."""
    reader, found = ResultReader(connection, results_topic("sharing"), start="beginning"), dict[str, Result]()
    await reader.start()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for record in reader.records():
                result = decode_result(record.headers, record.value)
                found[result.id] = result
                if len(found) == count:
                    break
    except TimeoutError:
        raise EnvironmentFailure(
            f"{count - len(found)} of {count} results did not come: is the machine too slow?"
        ) from None
    finally:
        await reader.stop()
    return found


def _calls(asks: Sequence[Ask], results: Mapping[str, Result], folder: Path) -> list[Answered]:
    """The calls that answered, and whom each served, in the order of their starts."""
    came_at, made = _history(folder)
    waiters: defaultdict[str, list[Asked]] = defaultdict(list)
    for ask in asks:
        id_ = result_id(_identity(ask))
        result = results[id_]
        if result.tier in {"full", "small"}:
            waiters[result.coalesced_with or id_].append(Asked(came_at[id_], came_at[id_] + ask.budget_seconds, 3))
    keys = {result_id(_identity(ask)): str(ask.key) for ask in asks}
    found = []
    for id_, served in waiters.items():
        tier, started_at, ended_at = made[id_]
        found.append(Answered(keys[id_], LEVELS[tier], started_at, ended_at, served))
    return sorted(found, key=lambda call: call.started_at)


def _history(folder: Path) -> tuple[dict[str, float], dict[str, tuple[str, float, float]]]:
    """When each request was taken; and whose body was called with, where, from when to when, for the last call that answered."""
    came_at: dict[str, float] = {}
    made: dict[str, tuple[str, float, float]] = {}
    for path in folder.glob("worker-*.serve.jsonl"):
        ids: dict[tuple[Any, ...], str] = {}
        under_way: dict[int, tuple[str, str, float]] = {}
        for line in _lines(path):
            place = (line.get("request_class"), line.get("partition"), line.get("offset"))
            match line["event"]:
                case "took":
                    ids[place] = line["id"]
                    came_at.setdefault(line["id"], line["at"])
                case "execute":
                    under_way[line["call"]] = (ids[place], line["tier"], line["at"])
                case "ended":
                    id_, tier, began_at = under_way.pop(line["call"])
                    if line["verdict"] == "ok":
                        made[id_] = (tier, began_at, line["at"])
    return came_at, made


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    return map(orjson.loads, path.read_bytes().splitlines())


if __name__ == "__main__":
    typer.run(main)
