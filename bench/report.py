"""What all benches share: where their figures go, what these were measured on, how several runs become one figure.

A figure belongs to a machine, to the versions of what was measured, and to a commit; ``save`` writes all three beside it. A
quick run (``--quick``) is real but short, so its figures stand in a folder of their own and never take the place of a full one's.
"""

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

from failsoft.cli.report import write_json

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
LIBRARIES = ("aiokafka", "faststream", "faust-streaming")

Quick = Annotated[bool, typer.Option("--quick", help="Fewer and shorter runs, written to bench/results/quick.")]


def save(name: str, *, started_at: float, seed: int | None, result: dict[str, Any], is_quick: bool = False) -> Path:
    """Write the figures of one bench, and return where they are.

    Args:
        name: of the bench, without ``bench/`` and ``.py``.
        started_at: epoch seconds.
        seed: of its dice, if it rolls any.
        result: its own keys.
        is_quick: whether this was a quick run.
    """
    path = (RESULTS / "quick" if is_quick else RESULTS) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(
        str(path),
        command=f"bench/{name}",
        started_at=started_at,
        seed=seed,
        result={"is_quick": is_quick, **result, "machine": machine()},
    )
    return path


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "platform": platform.platform(terse=True),
        "processor_count": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        **{name: found for name in LIBRARIES if (found := _version(name))},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:  # Faust and FastStream are needed by one bench only
        return None


@dataclass(frozen=True)
class Spread:
    """One figure of several runs: the median, and the least and the most of them."""

    median: float
    least: float
    most: float
    runs: int

    def text(self, scale: float = 1.0, digits: int = 1) -> str:
        """For a table: the median, and behind it the span."""
        median, least, most = (f"{value * scale:,.{digits}f}" for value in (self.median, self.least, self.most))
        return f"{median} ({least}-{most})"


def spread(values: Sequence[float]) -> Spread:
    """Make one figure of several runs."""
    return Spread(statistics.median(values), min(values), max(values), len(values))
