"""A recorded production load, replayed at chosen speeds: failsoft, a careful worker and a plain one, asked the same.

    python -m bench.trace FILE           # 5 minutes; tables, and bench/results/trace.json
    python -m bench.trace FILE --quick   # 90 seconds, into bench/results/quick

FILE is a CSV, plain or .gz, with the columns TIMESTAMP, ContextTokens and GeneratedTokens (bench/README.md says where there is
one). Of each speed 20 s are replayed, from ``--start`` seconds into the trace: at speed 4 what came in 80 s. Gaps and bursts
stay as they were. Classes and deadlines are drawn, since the trace has none; models, contenders and figures are overload.py's.

The law of service times. Reading a prompt is one pass over all its tokens, writing is a pass for each token; so a token that is
written costs as much as many that are read, here 400, which is our assumption and not in the trace::

    work    = ContextTokens + 400 x GeneratedTokens
    seconds = median of the model x work / mean work of the whole trace x exp(sigma z)

so the mean request is as long as one of overload.py, and what the large model can serve stays 14 a second. The longest are fifty
times as long: they cannot be in time at the large model, which nobody can see before. The blind bound knows this distribution,
and not whose request is whose; a rule that cuts the long calls early can beat it here, at the price of wasted work.

Nothing is judged: how much of this load can be served at level 1 is the trace's affair.
"""

import asyncio
import csv
import gzip
import io
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Annotated, Any, NamedTuple

import typer

from bench.contest import CAPACITY, CONTENDERS, MIX, SIGMA, Case, at_home
from bench.figures import ceiling
from bench.overload import run_all, runs_of
from bench.report import Quick, save
from bench.served_pipeline import LARGE_SECONDS, LARGE_SLOTS, SMALL_SECONDS, SMALL_SLOTS
from failsoft.cli.exits import explained_errors
from failsoft.policy.errors import ConfigurationError
from failsoft.simulation.bound import Station
from failsoft.simulation.workload import trace
from failsoft.testing import EmbeddedKafka

TOKENS_READ_PER_WRITTEN = 400
SECONDS, SPEEDS = 20.0, (2.0, 8.0)
QUICK_SECONDS, QUICK_SPEEDS = 8.0, (2.0,)
START_SECONDS = 180.0
"""Where the first burst of the Azure trace begins that lasts for minutes."""
RANKS = 100
"""Of the works of an excerpt, by which the bound knows their distribution."""
TIMESTAMP_DIGITS = 26
"""What Python reads of one: microseconds."""


class Call(NamedTuple):
    """One line of the trace: seconds since the first, and the work by the law, unscaled."""

    at: float
    work: float


@dataclass(frozen=True, slots=True)
class Mixed:
    """A model whose calls are of many lengths, as the bound sees it: with equal chance each of these stations."""

    stations: Sequence[Station]

    def chance(self, within: float, instant: float) -> float:
        """As :class:`~failsoft.simulation.bound.Served`."""
        return fmean(each.chance(within, instant) for each in self.stations)

    def cost(self, within: float, instant: float) -> float:
        """As :class:`~failsoft.simulation.bound.Served`."""
        return fmean(each.cost(within, instant) for each in self.stations)

    def seconds_between(self, begins_at: float, ends_at: float) -> float:
        """As :class:`~failsoft.simulation.bound.Served`."""
        return self.stations[0].seconds_between(begins_at, ends_at)


def main(
    file: Annotated[Path, typer.Argument(help="The trace, .csv or .csv.gz.")],
    speed: Annotated[list[float] | None, typer.Option(min=0.01, help="Times as fast. Default: 2 and 8.")] = None,
    start: Annotated[float, typer.Option(min=0.0, help="Seconds into the trace.")] = START_SECONDS,
    seed: Annotated[int, typer.Option(help="Of classes and service times.")] = 0,
    *,
    quick: Quick = False,
) -> None:
    """Measure, print, and write."""
    started_at, path = time.time(), file.resolve()
    at_home()
    seconds = QUICK_SECONDS if quick else SECONDS
    with explained_errors():
        calls = read(path)
        speeds = speed or (QUICK_SPEEDS if quick else SPEEDS)
        cases = [_case(calls, each, seconds=seconds, start=start, seed=seed) for each in speeds]
        with EmbeddedKafka() as kafka, tempfile.TemporaryDirectory(prefix="failsoft-bench-") as folder:
            runs = asyncio.run(
                run_all(kafka.bootstrap_servers, cases, CONTENDERS, Path(folder), seed=seed, possible=possible)
            )
    found: dict[str, dict[str, Any]] = {}
    for case in cases:
        most = possible(case)
        facts = {"load": round(_load(case, seconds), 3), "ceiling": round(most, 4)}
        found[case.name] = {**facts, **runs_of(runs[case.name], most)}
    source = {"name": path.name, "calls": len(calls), "start_seconds": start, "seconds": seconds}
    save("trace", started_at=started_at, seed=seed, result={"trace": source, "cases": found}, is_quick=quick)


def read(path: Path) -> list[Call]:
    """Read a trace, in order of time.

    Raises:
        ConfigurationError: it cannot be read, or is none; says what is wrong.
    """
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
        rows = [(_instant(row["TIMESTAMP"]), _work(row)) for row in csv.DictReader(io.StringIO(text))]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
    except (KeyError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"{path}: not a trace with TIMESTAMP, ContextTokens, GeneratedTokens: {error!r}"
        ) from None
    if not rows:
        raise ConfigurationError(f"{path} has no calls")
    first = min(at for at, _ in rows)
    return sorted(Call(at - first, work) for at, work in rows)


def possible(case: Case) -> float:
    """The ceiling of a case whose calls are of many lengths."""
    works = sorted(case.work.values())
    ranks = [works[(2 * rank + 1) * len(works) // (2 * RANKS)] for rank in range(RANKS)]
    large = Mixed([Station(LARGE_SLOTS, LARGE_SECONDS * work, SIGMA) for work in ranks])
    small = Mixed([Station(SMALL_SLOTS, SMALL_SECONDS * work, SIGMA) for work in ranks])
    return ceiling(case, large, small)


def _case(calls: Sequence[Call], speed: float, *, seconds: float, start: float, seed: int) -> Case:
    excerpt = [call for call in calls if start <= call.at < start + speed * seconds]
    if not excerpt:
        raise ConfigurationError(f"the trace has no calls in the {speed * seconds:g} s from second {start:g} on")
    mean = fmean(call.work for call in calls)
    asks = trace([(call.at - start) / speed for call in excerpt], MIX, Random(f"trace {seed}"))
    return Case(
        f"speed {speed:g}", asks, work={ask.number: call.work / mean for ask, call in zip(asks, excerpt, strict=True)}
    )


def _load(case: Case, seconds: float) -> float:
    """Work asked for, in what the large model can do meanwhile."""
    return sum(case.work.values()) / (CAPACITY * seconds)


def _instant(text: str) -> float:
    return datetime.fromisoformat(text[:TIMESTAMP_DIGITS]).replace(tzinfo=UTC).timestamp()


def _work(row: dict[str, str]) -> float:
    work = int(row["ContextTokens"]) + TOKENS_READ_PER_WRITTEN * int(row["GeneratedTokens"])
    if work <= 0:
        raise ValueError("a call without tokens")
    return float(work)


if __name__ == "__main__":
    typer.run(main)
