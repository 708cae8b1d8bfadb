"""Does a flood of bulk keep urgent requests waiting? From submitting to the start of the call, with and without a flood.

    python bench/isolation.py            # about two minutes; a table, and bench/results/isolation.json
    python bench/isolation.py --quick    # a quarter of the urgent requests: one minute

In one run, on one broker and the same two workers: urgent requests alone; then 20,000 bulk requests of 2 KB are queued, and
the same urgent requests are sent again while the flood keeps every slot busy. Arrivals are a seeded Poisson process. The call
says when it began; sender and workers share a machine, hence a clock.

An urgent request behind a flood has to wait until one of the slots is free, at worst for one service time, and nothing else. So
the promise is p99 with the flood <= 2 x p99 without it + one service time; exit 1 where it is broken. The factor 2 is what the
flood may cost in processor time on a machine that holds broker, workers and sender at once.
"""

import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.report import ROOT, Quick, save
from failsoft import Call, Client, Output, Pipeline
from failsoft.catalogue import Catalogue, parse, results_topic
from failsoft.cli.exits import Exit, explained_errors
from failsoft.kafka import Connection, Outbox, ResultReader, admin
from failsoft.policy.errors import EnvironmentFailure
from failsoft.runtime.batch_file import BatchFile
from failsoft.runtime.submission import Accepted, Refused, choose_destination, submit_batch
from failsoft.testing import EmbeddedKafka
from failsoft.trials.arrivals import Arrivals
from failsoft.trials.fleet import Fleet
from failsoft.trials.ledger import quantile

SERVICE_SECONDS = 0.1
SLOTS = 8
WORKERS = 2
URGENT_PER_SECOND = 20.0
"""A quarter of the slots: what is measured is waiting for others, not for each other."""
WARM_UP = 40
FLOOD_RECORDS = 20_000
FLOOD_BYTES = 2_000

CATALOGUE = """
version: 1
defaults: {partitions: 24, replication: 1, config: {message.timestamp.type: LogAppendTime}}
classes:
  interactive: {weight: 8, deadline: 5s,  deadline_max: 60s}
  batch:       {weight: 1, deadline: 24h, deadline_max: 72h}
pipelines: {isolation: [serve]}
topics:
  requests:     {config: {retention.ms: 7d, max.message.bytes: 1.25MiB}}
  results:      {config: {retention.ms: 7d, max.message.bytes: 4MiB}}
  dead-letters: {config: {retention.ms: 14d, max.message.bytes: 4MiB}}
  outcomes:     {partitions: 1, config: {retention.ms: 1h}}
"""

pipeline = Pipeline("isolation")


@pipeline.stage("serve").tier("model", limit=SLOTS, expect=SERVICE_SECONDS)
async def model(_: Call) -> Output:
    """A model that takes its time and says when it was called."""
    called_at = time.time()
    await asyncio.sleep(SERVICE_SECONDS)
    return Output({"called_at": called_at})


def main(
    seed: int = typer.Option(0, help="Of the arrivals."),
    samples: int = typer.Option(800, min=100, help="Urgent requests, each without and with the flood."),
    *,
    quick: Quick = False,
) -> None:
    """Measure, print, write bench/results/isolation.json, and judge."""
    started_at = time.time()
    os.chdir(ROOT)  # workers find bench.isolation here
    samples = 250 if quick else samples
    with explained_errors(), EmbeddedKafka() as kafka:
        alone, flooded, left = asyncio.run(_measure(kafka.bootstrap_servers, seed=seed, samples=samples))
    figures = {"without": _figures(alone), "with": _figures(flooded)}
    limit_seconds = round(2 * figures["without"]["p99_seconds"] + SERVICE_SECONDS, 4)
    is_kept = figures["with"]["p99_seconds"] <= limit_seconds
    _print(figures, limit_seconds)
    result = {
        "flood": {"records": FLOOD_RECORDS, "bytes": FLOOD_BYTES, "left": left},
        "slots": SLOTS,
        "service_seconds": SERVICE_SECONDS,
        **figures,
        "limit_seconds": limit_seconds,
        "is_kept": is_kept,
    }
    save("isolation", started_at=started_at, seed=seed, result=result, is_quick=quick)
    raise typer.Exit(Exit.OK if is_kept else Exit.BROKEN_PROMISE)


async def _measure(bootstrap: str, *, seed: int, samples: int) -> tuple[list[float], list[float], int]:
    """Waits without the flood, waits with it, and how much of the flood was left at the end."""
    catalogue, connection = parse(CATALOGUE), Connection(bootstrap)
    await admin.apply(connection, catalogue)
    with tempfile.TemporaryDirectory(prefix="failsoft-bench-") as name:
        folder = Path(name)
        (folder / "topics.yaml").write_text(CATALOGUE)
        _write_flood(folder / "flood.jsonl")
        command = [sys.executable, "-m", "failsoft", "worker", "bench.isolation:pipeline", "--bootstrap", bootstrap]
        options = ["--catalogue", str(folder / "topics.yaml"), "--drain", "2s"]
        async with (
            Fleet([*command, *options], size=WORKERS, folder=folder),
            Client(bootstrap, catalogue=catalogue) as client,
        ):
            await _waits(client, WARM_UP, seed)
            alone = await _waits(client, samples, seed)
            flood = await _queue_flood(connection, catalogue, folder / "flood.jsonl")
            reader = ResultReader(connection, results_topic("isolation"), start="beginning")
            async with Arrivals(reader, flood) as ended:
                flooded = await _waits(client, samples, seed)
                left = FLOOD_RECORDS - ended.count
    if left <= SLOTS:
        raise EnvironmentFailure("the flood was over before the measurement was; take fewer --samples")
    return alone, flooded, left


async def _waits(client: Client, samples: int, seed: int) -> list[float]:
    """Send urgent requests as they come, and return how long each waited for its call."""
    rng, asked = random.Random(seed), []
    at = asyncio.get_running_loop().time()
    for _ in range(samples):
        at += rng.expovariate(URGENT_PER_SECOND)
        await asyncio.sleep(at - asyncio.get_running_loop().time())
        asked.append(asyncio.create_task(_wait(client)))
    return await asyncio.gather(*asked)


async def _wait(client: Client) -> float:
    submitted_at = time.time()
    result = await client.request({"prompt": "which digit is it?"}, request_class="interactive")
    if not result.is_ok:
        raise EnvironmentFailure(f"an urgent request ended as {result.outcome}: the machine is too slow for this bench")
    return float(result.body["called_at"] - submitted_at)


def _write_flood(path: Path) -> None:
    line = {"method": "POST", "url": "/v1/completions", "body": {"prompt": "x" * FLOOD_BYTES}}
    path.write_bytes(b"\n".join(orjson.dumps({"custom_id": str(number), **line}) for number in range(FLOOD_RECORDS)))


async def _queue_flood(connection: Connection, catalogue: Catalogue, path: Path) -> list[str]:
    """Queue a batch file, and return the ids of its results when the broker has all of it."""
    accepted: list[str] = []

    def note(end: Accepted | Refused) -> None:
        if isinstance(end, Refused):
            raise EnvironmentFailure(f"the flood was refused: {end.problem}")
        accepted.append(end.result_id)

    outbox = Outbox(connection)
    await outbox.start()
    try:
        with path.open("rb") as opened:
            destination = choose_destination(catalogue, request_class="batch")
            await submit_batch(outbox, BatchFile(opened), destination, note)
    finally:
        await outbox.close()
    return accepted


def _figures(waits: Sequence[float]) -> dict[str, Any]:
    seconds = {"p50": quantile(waits, 0.5), "p99": quantile(waits, 0.99), "max": max(waits)}
    return {"samples": len(waits), **{f"{name}_seconds": round(value or 0.0, 4) for name, value in seconds.items()}}


def _print(figures: dict[str, dict[str, Any]], limit_seconds: float) -> None:
    table = Table(box=SIMPLE_HEAD, title="urgent requests, from submitting to the start of the call")
    for name in ("", "requests", "p50 ms", "p99 ms", "max ms"):
        table.add_column(name, justify="right" if name else "left")
    for name, row in figures.items():
        times = (row["p50_seconds"], row["p99_seconds"], row["max_seconds"])
        table.add_row(f"{name} the flood", str(row["samples"]), *(f"{seconds * 1000:.0f}" for seconds in times))
    console = Console()
    console.print(table)
    console.print(
        f"p99 with the flood may be {limit_seconds * 1000:.0f} ms: 2 x without + {SERVICE_SECONDS * 1000:.0f} ms"
    )


if __name__ == "__main__":
    typer.run(main)
