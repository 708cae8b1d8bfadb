"""What the second act has shown: a row for each scene, sentences for people, keys for machines."""

from collections.abc import Iterator
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from failsoft.trials.report import LEVELS, account_json, account_line, class_json, percent, seconds_told
from failsoft.trials.second_act.act import SecondAct
from failsoft.trials.second_act.judgement import URGENT, Shown
from failsoft.trials.second_act.script import AWAY, HOME


def act_table(shown: SecondAct) -> Table:
    """One row per scene: how much was in time, at which levels and why not the first, and who was called."""
    table = Table(box=SIMPLE_HEAD, padding=0)  # 80 columns, as in the first act
    table.add_column("scene")
    for name in ("asked", "in time", "level 1", "2", "3"):
        table.add_column(name, justify="right")
    table.add_column("why not level 1", overflow="fold")
    for name in (HOME, AWAY, "p99 s"):
        table.add_column(name, justify="right")
    for each in shown.scenes:
        table.add_row(each.scene.name, *_cells(each))
    return table


def _cells(shown: Shown) -> Iterator[str]:
    """In percent of what was accepted; reasons and calls are counted."""
    yield str(shown.accepted)
    yield percent(sum(tally.in_time for tally in shown.classes.values()), shown.accepted)
    for level in LEVELS:
        yield percent(shown.levels[level], shown.accepted)
    yield "\n".join(f"{reason} {count}" for reason, count in sorted(shown.reasons.items(), key=lambda each: -each[1]))
    for region in (HOME, AWAY):
        yield str(shown.calls[region])
    yield seconds_told(shown.classes[URGENT].p99_seconds)


def act_lines(shown: SecondAct) -> Iterator[str]:
    """Say below the table what it means."""
    yield f"{HOME}, {AWAY}: calls that the model servers counted, an operator's canaries among them; p99 s: of interactive ones."
    for run in shown.runs:
        passed = sum(found.passed for found in run.findings)
        yield f"{run.kind} of {run.runbook}: {run.verdict}, {passed} of {len(run.findings)} checks passed"
    yield account_line(shown.verdict)
    yield from (f"NOT SHOWN: {each.text}" for each in shown.expected if not each.is_met)
    if shown.is_kept:
        yield "The second act has shown all that it must."


def act_json(shown: SecondAct) -> dict[str, Any]:
    """Write the keys that others rely on."""
    return account_json(shown.verdict) | {
        "phases": [_scene_json(each) for each in shown.scenes],
        "runs": [
            {"kind": run.kind, "runbook": run.runbook, "verdict": run.verdict, "checks": len(run.findings)}
            for run in shown.runs
        ],
        "expected": [{"text": each.text, "is_met": each.is_met} for each in shown.expected],
    }


def _scene_json(shown: Shown) -> dict[str, Any]:
    return {
        "name": shown.scene.name,
        "seconds": round(shown.seconds, 3),
        "command": shown.scene.command,
        "exit_code": shown.exit_code,
        "levels": {str(level): count for level, count in sorted(shown.levels.items())},
        "reasons": dict(sorted(shown.reasons.items())),
        "regions": dict(sorted(shown.regions.items())),
        "calls": dict(shown.calls),
        "classes": {name: class_json(tally) for name, tally in shown.classes.items()},
    }
