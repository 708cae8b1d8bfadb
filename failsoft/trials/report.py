"""A verdict for people, as a table, and for machines, as the keys of `--json` (DESIGN §11)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from failsoft.policy.outcome import Outcome
from failsoft.trials.ledger import ClassTally, Verdict


def verdict_table(verdict: Verdict) -> Table:
    """One column per class: what was accepted, by what it was answered, what went wrong, how long it took."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("")
    for name in verdict.classes:
        table.add_column(name, justify="right")
    for word, cells in _rows(verdict):
        table.add_row(word, *map(str, cells))
    return table


def _rows(verdict: Verdict) -> Iterator[tuple[str, Sequence[object]]]:
    tallies = list(verdict.classes.values())
    yield "accepted", [tally.accepted for tally in tallies]
    yield "in time", [tally.in_time for tally in tallies]
    for tier in served_tiers(verdict):
        yield f"answered by {tier}", [tally.tiers.get(tier, 0) for tally in tallies]
    for outcome in Outcome:
        counts = [tally.outcomes.get(outcome, 0) for tally in tallies]
        if outcome is Outcome.EXPIRED or (any(counts) and outcome is not Outcome.OK):
            yield outcome.value, counts
    yield "lost", [tally.lost for tally in tallies]
    yield "seen twice", [tally.visible_repeats for tally in tallies]
    yield "half took at most", [_seconds(tally.p50_seconds) for tally in tallies]
    yield "99 % took at most", [_seconds(tally.p99_seconds) for tally in tallies]


def verdict_lines(verdict: Verdict, accuracy: Mapping[str, float]) -> Iterator[str]:
    """Say below the table what it means."""
    for tier in served_tiers(verdict):
        if tier in accuracy:
            answers = sum(tally.tiers.get(tier, 0) for tally in verdict.classes.values())
            yield f"{tier}: {answers} answers, {accuracy[tier]:.1%} right"
    yield (
        f"Of {verdict.requests} accepted requests {verdict.lost} were lost, {verdict.visible_repeats} results were seen twice, "
        f"{verdict.phantoms} came unasked; the log holds {verdict.repeats_in_log} repeats that no reader was shown."
    )
    yield "The promise was kept." if verdict.is_kept else "THE PROMISE WAS BROKEN."


def verdict_json(verdict: Verdict, accuracy: Mapping[str, float], *, phase: str) -> dict[str, Any]:
    """Write the keys that others rely on.

    Args:
        verdict: of a trial of one phase.
        accuracy: by tier.
        phase: its name.
    """
    return {
        "requests": verdict.requests,
        "lost": verdict.lost,
        "visible_repeats": verdict.visible_repeats,
        "repeats_in_log": verdict.repeats_in_log,
        "phantoms": verdict.phantoms,
        "phases": [{"name": phase, "classes": {name: _class_json(tally) for name, tally in verdict.classes.items()}}],
        "accuracy": {tier: accuracy[tier] for tier in served_tiers(verdict)},
    }


def served_tiers(verdict: Verdict) -> list[str]:
    """Every tier that answered, best level first."""
    levels = {
        result.tier: result.level
        for result in verdict.results.values()
        if result.tier is not None and result.level is not None
    }
    return sorted(levels, key=lambda tier: (levels[tier], tier))


def _class_json(tally: ClassTally) -> dict[str, Any]:
    return {
        "accepted": tally.accepted,
        "in_time": tally.in_time,
        "lost": tally.lost,
        "visible_repeats": tally.visible_repeats,
        "levels": {str(level): count for level, count in sorted(tally.levels.items())},
        "tiers": dict(sorted(tally.tiers.items())),
        "outcomes": {outcome.value: count for outcome, count in sorted(tally.outcomes.items())},
        "p50_seconds": _rounded(tally.p50_seconds),
        "p99_seconds": _rounded(tally.p99_seconds),
    }


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s"


def _rounded(seconds: float | None) -> float | None:
    """The broker's clock counts milliseconds; what a difference of two floats has beyond them is noise."""
    return None if seconds is None else round(seconds, 3)
