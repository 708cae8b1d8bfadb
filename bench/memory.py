"""Does a worker's memory stay where it is under a flood of large, unique requests? Resident memory over time, and its bound.

    python bench/memory.py               # about two minutes; a table, and bench/results/memory.json
    python bench/memory.py --quick       # half of the flood: one minute

One worker, one broker. 6,000 requests of 100 KB, all different, are in the log long before they can be served: 600 MB against a
worker that may hold 32 MiB of a class. Equal requests would share calls and answers, so each of these costs an entry there, and
its answer of 20 KB is kept (32 MiB of answers at most), so that whatever grows with the number of requests shows.

What a worker holds is bounded by bytes, not by requests:

    base       resident after the first answers, before the flood
    requests   32 MiB, the room of the one class that floods (policy/stage/room.py)
    answers    32 MiB, as set here
    fetched    24 partitions x 256 KiB of the one class: once as the response, once as records (kafka/fetcher.py)
    bound      base + 1.5 x (requests + answers + 2 x fetched)     1.5: what Python's allocator leaves unused between objects

Two things are judged, exit 1 where one does not hold: the highest sample is within the bound, and the line is flat: from the
middle third of the flood to its last third the median grows by 8 MiB at most, while some 200 MB of requests went through.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.report import ROOT, Quick, save
from failsoft import CachedAnswer, Call, Client, Output, Pipeline
from failsoft.catalogue import parse, requests_topic, results_topic
from failsoft.cli.exits import Exit, explained_errors
from failsoft.kafka import Connection, Outbox, ResultReader, admin
from failsoft.policy.errors import EnvironmentFailure
from failsoft.testing import EmbeddedKafka
from failsoft.trials.arrivals import Arrivals
from failsoft.trials.fleet import Fleet
from failsoft.wire import Envelope, Identity, RequestLine
from failsoft.wire.body import encode_request
from failsoft.wire.envelope import encode_request_headers
from failsoft.wire.identity import result_id

MEBIBYTE = 1024 * 1024

REQUEST_BYTES = 100_000
ANSWER_BYTES = 20_000
SERVICE_SECONDS = 0.05
SLOTS = 8
PARTITIONS = 24
ANSWERS_BYTES = 32 * MEBIBYTE
FETCHED_BYTES = PARTITIONS * 256 * 1024
ALLOCATOR = 1.5
GROWTH_BYTES = 8 * MEBIBYTE
SENDERS = 32
SAMPLE_SECONDS = 0.5
BUDGET_SECONDS = 3_600.0
WARM_UP = 20

CATALOGUE = f"""
version: 1
defaults: {{partitions: {PARTITIONS}, replication: 1, config: {{message.timestamp.type: LogAppendTime}}}}
classes:
  interactive: {{weight: 8, deadline: 5s,  deadline_max: 60s}}
  batch:       {{weight: 1, deadline: 24h, deadline_max: 72h}}
pipelines: {{memory: [serve]}}
topics:
  requests:     {{config: {{retention.ms: 7d, max.message.bytes: 1.25MiB}}}}
  results:      {{config: {{retention.ms: 7d, max.message.bytes: 4MiB}}}}
  dead-letters: {{config: {{retention.ms: 14d, max.message.bytes: 4MiB}}}}
  outcomes:     {{partitions: 1, config: {{retention.ms: 1h}}}}
"""

pipeline = Pipeline("memory")
serve = pipeline.stage("serve", coalesce="always")


@serve.tier("model", limit=SLOTS, expect=SERVICE_SECONDS)
async def model(_: Call) -> Output:
    """A model that takes its time, answers at length, and says which process called it."""
    await asyncio.sleep(SERVICE_SECONDS)
    return Output({"pid": os.getpid(), "content": "y" * ANSWER_BYTES})


serve.tier("known", CachedAnswer())
ROOM_BYTES = serve.settings(parse(CATALOGUE)).bytes_max


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen at one moment: seconds since the flood began, resident bytes, requests answered so far."""

    at: float
    resident_bytes: int
    answered: int


def main(
    requests: int = typer.Option(6_000, min=1_000, help="How many, of 100 KB each."),
    seed: int = typer.Option(0, help="Of their contents."),
    *,
    quick: Quick = False,
) -> None:
    """Measure, print, write bench/results/memory.json, and judge."""
    started_at = time.time()
    os.chdir(ROOT)  # the worker finds bench.memory here
    requests = 3_000 if quick else requests
    os.environ["FAILSOFT_MEMORY__SERVE__ANSWERS_BYTES_MAX"] = str(ANSWERS_BYTES)
    with explained_errors(), EmbeddedKafka() as kafka:
        base, samples = asyncio.run(_measure(kafka.bootstrap_servers, requests=requests, seed=seed))
    bound = base + round(ALLOCATOR * (ROOM_BYTES + ANSWERS_BYTES + 2 * FETCHED_BYTES))
    growth = _growth(samples)
    highest = max(sample.resident_bytes for sample in samples)
    is_kept = highest <= bound and growth <= GROWTH_BYTES
    _print(samples, base=base, bound=bound, highest=highest, growth=growth)
    result = {
        "requests": requests,
        "request_bytes": REQUEST_BYTES,
        "base_bytes": base,
        "highest_bytes": highest,
        "bound_bytes": bound,
        "growth_bytes": growth,
        "growth_limit_bytes": GROWTH_BYTES,
        "samples": [
            {"at": round(each.at, 1), "resident_bytes": each.resident_bytes, "answered": each.answered}
            for each in samples
        ],
        "is_kept": is_kept,
    }
    save("memory", started_at=started_at, seed=seed, result=result, is_quick=quick)
    raise typer.Exit(Exit.OK if is_kept else Exit.BROKEN_PROMISE)


async def _measure(bootstrap: str, *, requests: int, seed: int) -> tuple[int, list[Sample]]:
    """Resident memory before the flood, and while it is served."""
    catalogue, connection = parse(CATALOGUE), Connection(bootstrap)
    await admin.apply(connection, catalogue)
    with tempfile.TemporaryDirectory(prefix="failsoft-bench-") as name:
        (Path(name) / "topics.yaml").write_text(CATALOGUE)
        command = [sys.executable, "-m", "failsoft", "worker", "bench.memory:pipeline", "--bootstrap", bootstrap]
        options = ["--catalogue", f"{name}/topics.yaml", "--drain", "2s"]
        async with (
            Fleet([*command, *options], size=1, folder=Path(name)),
            Client(bootstrap, catalogue=catalogue) as client,
        ):
            pid = [await _pid_of_worker(client, number) for number in range(WARM_UP)][-1]
            base = _resident_bytes(pid)
            samples = await _flood(connection, pid, requests=requests, rng=Random(seed))
    return base, samples


async def _pid_of_worker(client: Client, number: int) -> int:
    result = await client.request({"prompt": f"warm up {number}"}, request_class="batch")
    if not result.is_ok:
        raise EnvironmentFailure(f"a first request ended as {result.outcome}: the machine is too slow for this bench")
    return int(result.body["pid"])


async def _flood(connection: Connection, pid: int, *, requests: int, rng: Random) -> list[Sample]:
    """Send all as fast as the broker takes them, and look at the worker until all are answered."""
    samples: list[Sample] = []
    reader = ResultReader(connection, results_topic("memory"))
    async with Arrivals(reader, [result_id(_identity(number)) for number in range(requests)]) as ended:
        began_at = time.monotonic()
        sending = asyncio.create_task(_send_all(connection, requests, rng))
        while ended.count < requests:
            ended.require_reading()
            if sending.done():
                sending.result()
            samples.append(Sample(time.monotonic() - began_at, _resident_bytes(pid), ended.count))
            await asyncio.sleep(SAMPLE_SECONDS)
        await sending
    return samples


async def _send_all(connection: Connection, requests: int, rng: Random) -> None:
    outbox = Outbox(connection)
    await outbox.start()
    numbers = iter(range(requests))
    try:
        async with asyncio.TaskGroup() as senders:
            for _ in range(SENDERS):
                senders.create_task(_send_each(outbox, numbers, rng))
    finally:
        await outbox.close()


async def _send_each(outbox: Outbox, numbers: Iterator[int], rng: Random) -> None:
    topic = requests_topic("memory", "serve", "batch")
    for number in numbers:
        identity = _identity(number)
        content = rng.randbytes(REQUEST_BYTES // 2).hex()
        value = encode_request(RequestLine(str(number), "/v1/completions", {"prompt": content}))
        headers = encode_request_headers(Envelope(identity), budget_seconds=BUDGET_SECONDS, sent_at=time.time())
        await outbox.send(topic, key=result_id(identity).encode(), value=value, headers=headers)


def _identity(number: int) -> Identity:
    return Identity("/bench", str(number))


def _resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise EnvironmentFailure(f"/proc/{pid}/status does not tell the resident memory; this bench needs Linux")


def _growth(samples: Sequence[Sample]) -> int:
    """By how much the median grows from the middle third, by time, to the last."""
    third = len(samples) // 3
    middle, last = samples[third : 2 * third], samples[2 * third :]
    return round(_median(last) - _median(middle))


def _median(samples: Sequence[Sample]) -> float:
    return statistics.median(sample.resident_bytes for sample in samples)


def _print(samples: Sequence[Sample], *, base: int, bound: int, highest: int, growth: int) -> None:
    table = Table(box=SIMPLE_HEAD, title="resident memory of the worker, while 100 KB requests come in")
    for name in ("second", "answered", "MiB"):
        table.add_column(name, justify="right")
    table.add_row("before", "0", f"{base / MEBIBYTE:.0f}")
    for sample in samples[:: max(1, len(samples) // 20)]:
        table.add_row(f"{sample.at:.0f}", str(sample.answered), f"{sample.resident_bytes / MEBIBYTE:.0f}")
    console = Console()
    console.print(table)
    console.print(f"highest {highest / MEBIBYTE:.0f} MiB of {bound / MEBIBYTE:.0f} MiB that it may take")
    console.print(f"from the middle third to the last {growth / MEBIBYTE:+.1f} MiB of {GROWTH_BYTES / MEBIBYTE:.0f}")


if __name__ == "__main__":
    typer.run(main)
