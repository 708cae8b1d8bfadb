"""A judgement for people, as tables and lines, and for machines, as the keys of ``--json`` (DESIGN §11)."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from failsoft.trials.checks.check import Check
from failsoft.trials.checks.judgement import Judgement

SHOWN = 3
"""Breaches of each invariant in the text; the JSON has more."""


def invariant_table(judgement: Judgement) -> Table:
    """One row for each invariant."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("invariant", "standing"):
        table.add_column(name)
    for name in ("checked", "findings"):
        table.add_column(name, justify="right")
    table.add_column("note")
    for check in judgement.checks:
        table.add_row(check.name, check.standing, str(check.checked), str(check.findings), check.note)
    return table


def fault_table(judgement: Judgement) -> Table:
    """One row for each kind of fault: how many, how long until results in time flowed again, and what was in time meanwhile.

    That time is told of those that recovered alone, and of all, where other faults may have made it longer.
    """
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("fault")
    for name in ("count", "alone", "p50 s", "p99 s", "of all: p50 s", "p99 s", "sent", "in time"):
        table.add_column(name, justify="right")
    for kind, tally in judgement.faults.items():
        share = f"{tally.in_time / tally.requests:.0%}" if tally.requests else ""
        alone = (_seconds(tally.p50_seconds), _seconds(tally.p99_seconds))
        bounds = (_seconds(tally.p50_bound_seconds), _seconds(tally.p99_bound_seconds))
        table.add_row(kind, str(tally.count), str(tally.recovered), *alone, *bounds, str(tally.requests), share)
    return table


def judgement_lines(judgement: Judgement) -> Iterator[str]:
    """Say below the tables what was found."""
    for check in judgement.checks:
        yield from _breaches(check)
    for kind, why in judgement.skipped.items():
        yield f"{kind} was not tried: {why}"
    for phase in judgement.quiet:
        share, seconds = phase.in_time / phase.requests, phase.ended_at - phase.began_at
        yield f"quiet for {seconds:.0f} s: {share:.1%} of {phase.requests} requests in time"
    yield (
        f"Of {judgement.requests} accepted requests {judgement.in_time} were answered in time; of {judgement.unknown} more it is "
        f"unknown whether they were accepted, {judgement.failed} were not. An operator took {judgement.lost_by_operator} away."
    )
    yield (
        f"{judgement.executions} calls, {judgement.repeated_executions} of them for what another owner had called for; "
        f"{judgement.results} results in the log, {judgement.repeats_in_log} of them repeats, "
        f"{judgement.repeats_by_operator} of these because an operator had them read again."
    )
    if judgement.loss_bound is not None:
        yield f"Nothing was lost: a request is lost with a chance below {judgement.loss_bound:.2g} (95 %, rule of three)."
    yield "Every invariant holds." if judgement.is_kept else "A PROMISE WAS BROKEN."


def judgement_json(judgement: Judgement) -> dict[str, Any]:
    """Write the keys that others rely on."""
    return {
        "requests": judgement.requests,
        "lost": judgement.findings("lost"),
        "visible_repeats": judgement.findings("duplicate-visible"),
        "repeats_in_log": judgement.repeats_in_log,
        "repeats_by_operator": judgement.repeats_by_operator,
        "phantoms": judgement.findings("phantom"),
        "commits_ahead": judgement.findings("commit-ahead"),
        "executed_after_expiry": judgement.executed_after_expiry,
        "lost_by_operator": judgement.lost_by_operator,
        "in_time": judgement.in_time,
        "unknown": judgement.unknown,
        "failed": judgement.failed,
        "results": judgement.results,
        "repeats_in_log_share": judgement.repeats_in_log / judgement.results if judgement.results else 0.0,
        "executions": judgement.executions,
        "repeated_executions": judgement.repeated_executions,
        "lost_share_bound": judgement.loss_bound,
        "invariants": {check.name: _check_json(check) for check in judgement.checks},
        "faults": {kind: asdict(tally) for kind, tally in judgement.faults.items()},
        "skipped": dict(judgement.skipped),
        "quiet": [asdict(phase) for phase in judgement.quiet],
    }


def _check_json(check: Check) -> dict[str, Any]:
    return {
        "standing": check.standing,
        "checked": check.checked,
        "findings": check.findings,
        "examples": check.examples,
        "note": check.note,
    }


def _breaches(check: Check) -> Iterator[str]:
    for example in check.examples[:SHOWN]:
        yield f"{check.name}: {example}"
    if check.findings > SHOWN:
        yield f"{check.name}: and {check.findings - SHOWN} more"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
