"""What was recorded elsewhere and is read for a prediction: arrivals (a trace), and how long calls take.

A *trace* is CSV, gzipped or not, with the columns of the Azure LLM inference traces (``TIMESTAMP, ContextTokens,
GeneratedTokens``), or one arrival a line, in seconds. *Latencies* are JSON: tier -> ``{"median_seconds": .8, "sigma": .4}``, or a
list of measured durations in seconds.

With tokens, a call's time follows the tokens of some line of the trace, drawn anew for each call whichever request it serves::

    work    = GeneratedTokens + ContextTokens / 400
    seconds = expect x work / median work

A prompt is read in parallel, so that hundreds of its tokens take the time of one that is generated. The 400 is an
assumption; who has measured durations names them with --latency, and they are taken instead.
"""

import csv
import gzip
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from failsoft.policy.errors import ConfigurationError
from failsoft.simulation.latency_law import Lognormal, Measured

CONTEXT_TOKENS_PER_TOKEN = 400
TIMESTAMP, CONTEXT, GENERATED = "TIMESTAMP", "ContextTokens", "GeneratedTokens"
GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Trace:
    """Recorded arrivals.

    Attributes:
        instants: of each, seconds, in order of time.
        work: of each, relative to the median, in ascending order; empty where the trace says nothing of tokens.
    """

    instants: tuple[float, ...]
    work: tuple[float, ...]

    def law(self, median_seconds: float) -> Measured | None:
        """Service times of a tier with this median, None where the trace says nothing of tokens."""
        return Measured(tuple(median_seconds * part for part in self.work)) if self.work else None


def read_trace(path: Path) -> Trace:
    """Read recorded arrivals.

    Raises:
        ConfigurationError: names the line, and what should stand there.
    """
    lines = _text(path, "--trace").splitlines()
    reads = _rows if lines and TIMESTAMP in lines[0] else _plain
    rows = sorted(reads(path, lines), key=itemgetter(0))
    if len(rows) < 2 or rows[0][0] == rows[-1][0]:
        raise ConfigurationError(f"--trace {path}: it needs two arrivals at least, at different instants")
    usual = median(work for _, work in rows)
    work = tuple(sorted(work / usual for _, work in rows)) if usual > 0 else ()
    return Trace(tuple(at for at, _ in rows), work)


def read_latencies(path: Path, tiers: Sequence[str]) -> dict[str, Lognormal | Measured]:
    """Read how long the calls of some tiers take.

    Raises:
        ConfigurationError: names the tier, and what should stand there.
    """
    try:
        document = orjson.loads(_text(path, "--latency"))
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"--latency {path}: this is not JSON ({error})") from None
    if not isinstance(document, dict):
        raise ConfigurationError(f"--latency {path}: it is an object of tiers; these are {', '.join(tiers)}")
    for name in document:
        if name not in tiers:
            raise ConfigurationError(
                f"--latency {path}: no tier {name!r} takes calls here; these do: {', '.join(tiers)}"
            )
    return {name: _law(f"--latency {path}, tier {name}", said) for name, said in document.items()}


def _law(place: str, said: Any) -> Lognormal | Measured:
    match said:
        case [_, *_] if all(_is_duration(each) for each in said):
            return Measured(tuple(sorted(map(float, said))))
        case {"median_seconds": usual, "sigma": sigma, **rest} if not rest and _is_duration(usual) and _is_sigma(sigma):
            return Lognormal(float(usual), float(sigma))
        case _:
            raise ConfigurationError(
                f'{place}: write {{"median_seconds": 0.8, "sigma": 0.35}}, or a list of durations in seconds, all above zero'
            )


def _is_duration(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _is_sigma(value: object) -> bool:
    return value == 0 or _is_duration(value)


def _text(path: Path, option: str) -> str:
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if data.startswith(GZIP_MAGIC) else data).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise ConfigurationError(f"{option} {path}: cannot be read as text ({error})") from None


def _plain(path: Path, lines: Sequence[str]) -> Iterator[tuple[float, float]]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _number(line, f"--trace {path}, line {number}", "an arrival in seconds"), 0.0


def _rows(path: Path, lines: Sequence[str]) -> Iterator[tuple[float, float]]:
    reader = csv.DictReader(lines, skipinitialspace=True)
    has_tokens = {CONTEXT, GENERATED} <= set(reader.fieldnames or ())
    for row in reader:
        place = f"--trace {path}, line {reader.line_num}"
        yield _instant(row, place), _work(row, place) if has_tokens else 0.0


def _instant(row: Mapping[str, str | None], place: str) -> float:
    written = row.get(TIMESTAMP) or ""
    try:
        return datetime.fromisoformat(written).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return _number(written, f"{place}, {TIMESTAMP}", "a date and time, or seconds")


def _work(row: Mapping[str, str | None], place: str) -> float:
    context, generated = (_number(row[name] or "", f"{place}, {name}", "a count") for name in (CONTEXT, GENERATED))
    work = generated + context / CONTEXT_TOKENS_PER_TOKEN
    if work <= 0:
        raise ConfigurationError(f"{place}: a call without tokens takes no time; take the line out")
    return work


def _number(written: str, place: str, wanted: str) -> float:
    try:
        value = float(written)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigurationError(f"{place}: {written.strip()!r} is not {wanted}")
    return value
