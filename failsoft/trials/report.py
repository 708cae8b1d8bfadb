"""What a demo has shown for people, as a table, and for machines, as the keys of `--json` (DESIGN §11)."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from failsoft.policy.outcome import Outcome
from failsoft.trials.demo import DemoOutcome, Played
from failsoft.trials.ledger import ClassTally, Verdict
from failsoft.trials.scenario import LARGE, MODELS, capacity_per_second

LEVELS = (1, 2, 3)


def verdict_table(verdict: Verdict) -> Table:
    """One row per phase and class: what was accepted, how much of it in time, at which levels, how long it took."""
    table = Table(box=SIMPLE_HEAD, padding=0)  # 80 columns are what a log or a small terminal has
    has_others = any(_others(tally) for tally in verdict.tallies)
    for name in ("phase", "class"):
        table.add_column(name)
    others = ["other"] if has_others else []
    for name in ("accepted", "in time", "level 1", "2", "3", "expired", *others, "p50 s", "p99 s"):
        table.add_column(name, justify="right")
    for phase, classes in verdict.phases.items():
        for position, (name, tally) in enumerate(classes.items()):
            cells = _cells(tally, has_others=has_others)
            table.add_row("" if position else phase, name, *cells, end_section=position == len(classes) - 1)
    return table


def _cells(tally: ClassTally, *, has_others: bool) -> Iterator[str]:
    """In percent of what was accepted, but for ends without an answer: those are counted."""
    yield str(tally.accepted)
    yield percent(tally.in_time, tally.accepted)
    for level in LEVELS:
        yield percent(tally.levels.get(level, 0), tally.accepted)
    yield str(tally.outcomes.get(Outcome.EXPIRED, 0))
    if has_others:
        yield str(_others(tally))
    yield seconds_told(tally.p50_seconds)
    yield seconds_told(tally.p99_seconds)


def _others(tally: ClassTally) -> int:
    """Shed, unavailable, invalid and failed."""
    return sum(count for outcome, count in tally.outcomes.items() if outcome not in {Outcome.OK, Outcome.EXPIRED})


def verdict_lines(shown: DemoOutcome) -> Iterator[str]:
    """Say below the table what it means."""
    verdict = shown.verdict
    for tier in served_tiers(verdict):
        answers = sum(tally.tiers.get(tier, 0) for tally in verdict.tallies)
        yield f"{tier}: {answers} answers, {shown.accuracy[tier]:.1%} right"
    for name, stats in shown.models.items():
        yield (
            f"model {name}: {stats['calls']} calls, {stats['cancelled']} of them cut off; of {stats['busy_seconds']:.0f} s "
            f"of its slots {stats['wasted_seconds']:.0f} s were for nothing"
        )
    for played in shown.played:
        if played.phase.load > 1:
            yield (
                f"{played.phase.name}: {played.level_1_per_second:.1f} answers/s of level 1, of {_capacity():.1f} that the "
                f"large model can give; {played.pause_seconds:.0f} s until the last result"
            )
    yield account_line(verdict)
    yield "The promise was kept." if verdict.is_kept else "THE PROMISE WAS BROKEN."


def account_line(verdict: Verdict) -> str:
    """Say what became of all that was accepted."""
    return (
        f"Of {verdict.requests} accepted requests {verdict.lost} were lost, {verdict.visible_repeats} results were seen twice, "
        f"{verdict.phantoms} came unasked; the log holds {verdict.repeats_in_log} repeats that no reader was shown."
    )


def account_json(verdict: Verdict) -> dict[str, Any]:
    """Write what became of all that was accepted."""
    return {
        "requests": verdict.requests,
        "lost": verdict.lost,
        "visible_repeats": verdict.visible_repeats,
        "repeats_in_log": verdict.repeats_in_log,
        "phantoms": verdict.phantoms,
    }


def verdict_json(shown: DemoOutcome) -> dict[str, Any]:
    """Write the keys that others rely on."""
    verdict = shown.verdict
    return account_json(verdict) | {
        "executed": sum(stats["calls"] for stats in shown.models.values()),
        "sent_late_seconds_max": round(shown.late_seconds, 3),
        "large_per_second_max": round(_capacity(), 3),
        "phases": [_phase_json(played, verdict) for played in shown.played],
        "accuracy": {tier: shown.accuracy[tier] for tier in served_tiers(verdict)},
        "models": shown.models,
    }


def served_tiers(verdict: Verdict) -> list[str]:
    """Every tier that answered, best level first."""
    levels = {
        result.tier: result.level
        for result in verdict.results.values()
        if result.tier is not None and result.level is not None
    }
    return sorted(levels, key=lambda tier: (levels[tier], tier))


def _phase_json(played: Played, verdict: Verdict) -> dict[str, Any]:
    return {
        "name": played.phase.name,
        "seconds": played.phase.seconds,
        "load": played.phase.load,
        "level_1_per_second": round(played.level_1_per_second, 3),
        "pause_seconds": round(played.pause_seconds, 3),
        "classes": _classes_json(verdict.phases[played.phase.name]),
    }


def _classes_json(classes: Mapping[str, ClassTally]) -> dict[str, Any]:
    return {name: class_json(tally) for name, tally in classes.items()}


def class_json(tally: ClassTally) -> dict[str, Any]:
    """Write what became of one class in one phase."""
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


def _capacity() -> float:
    return capacity_per_second(MODELS[LARGE])


def percent(part: int, whole: int) -> str:
    """For a table; nothing of nothing."""
    return f"{part / whole:.0%}" if whole else ""


def seconds_told(value: float | None) -> str:
    """For a table; nothing where nothing ended."""
    return "" if value is None else f"{value:.2f}"


def _rounded(seconds: float | None) -> float | None:
    """The broker's clock counts milliseconds; what a difference of two floats has beyond them is noise."""
    return None if seconds is None else round(seconds, 3)
