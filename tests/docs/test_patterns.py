"""docs/patterns.md says what the code says: nothing missing, no default out of date, no metric that is not there."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from failsoft.cli.config import _text
from failsoft.policy.answers import AnswersConfig
from failsoft.policy.outcome import STATUS_CODES, Outcome, Reason
from failsoft.policy.settings import StageSettings, TierSettings
from failsoft.policy.stage import StageMachine
from failsoft.runtime.configuration import Setting, configured
from failsoft.runtime.metrics import Metrics
from tests.policy.driver import APOLOGY, CLASSES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/patterns.md").read_text()
SECTIONS = dict(section.split("\n", 1) for section in TEXT.split("\n## ")[1:])
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line.startswith("| `")]
DEFAULTS = {re.findall(r"`(\w+)`", row[0])[0]: row[1] for row in ROWS if len(row) == 3}

VALUES = {
    "actions", "breaker_states", "durations", "errors", "events", "levels",
    "outcome", "progress", "request", "rollup", "settings", "speed",
}  # fmt: skip
"""Modules of values that all patterns share. Every other module is a pattern, or a part of one, and has its place on the page."""
READ_MODELS = {"degradation", "fleet_latency"}
"""What is made of the workers' roll-ups, by streams/ and not by the stage."""
DECLARED = {"weight", "deadline", "deadline_max", "patience", "level"}
"""Settings whose default is no single value."""
NOT_YET = "Not in force yet"


def modules() -> list[str]:
    return sorted(path.stem for path in (ROOT / "failsoft/policy").glob("*.py") if path.stem != "__init__")


def used_by_the_stage() -> set[str]:
    """Modules that the stage imports, and those that these import in turn."""
    todo = [*(ROOT / "failsoft/policy/stage").glob("*.py"), ROOT / "failsoft/policy/settings.py"]
    seen: set[str] = set()
    while todo:
        for node in ast.walk(ast.parse(todo.pop().read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [f"{name}.{each.name}" for name in names for each in getattr(node, "names", [])]
            for found in (
                name.removeprefix("failsoft.policy.") for name in names if name.startswith("failsoft.policy.")
            ):
                path = ROOT / f"failsoft/policy/{found}.py"
                if found not in seen and path.exists():
                    seen.add(found)
                    todo.append(path)
    return seen


def settings() -> StageSettings:
    large = TierSettings("large", 1)
    return StageSettings("answer", (large, APOLOGY), CLASSES, answers=AnswersConfig(), parts=("documents",))


@pytest.mark.parametrize("module", sorted(set(modules()) - VALUES))
def test_every_pattern_is_on_the_page(module):
    assert f"(../failsoft/policy/{module}.py)" in TEXT, "describe it in docs/patterns.md"


@pytest.mark.parametrize("module", sorted(set(modules()) - VALUES - {"clock_offset", "allotment"} - READ_MODELS))
def test_a_pattern_that_the_stage_does_not_use_says_so_and_one_that_it_uses_does_not(module):
    (section,) = (text for text in SECTIONS.values() if f"(../failsoft/policy/{module}.py)" in text)
    assert (NOT_YET in section) == (module not in used_by_the_stage())


def test_every_pattern_is_in_the_contract_that_keeps_patterns_apart_or_is_a_part_of_one_that_is():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [apart] = [contract["modules"] for contract in contracts if contract["type"] == "independence"]
    parts = {
        name
        for module in set(modules()) - VALUES  # settings know them all, events some
        for name in re.findall(
            r"^from failsoft\.policy\.(\w+) import", (ROOT / f"failsoft/policy/{module}.py").read_text(), re.MULTILINE
        )
    }
    alone = {name for name in set(modules()) - VALUES if name not in parts}
    assert {f"failsoft.policy.{name}" for name in alone} <= set(apart)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_its_row_with_metric_and_sentence(reason):
    (row,) = (row for row in ROWS if row[0] == f"`{reason}`")
    assert len(row) == 4
    assert row[2] == f'`failsoft_reasons_total{{reason="{reason}"}}`'
    assert re.fullmatch(r'".+"', row[3])


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_has_its_row_with_its_status(outcome):
    (row,) = (row for row in ROWS if row[0] == f"`{outcome}`")
    assert row[1].startswith(str(STATUS_CODES[outcome]))


@pytest.mark.parametrize("setting", configured("shop", settings(), {}).settings, ids=lambda setting: setting.knob.name)
def test_every_setting_has_its_row_with_its_default(setting: Setting):
    name = setting.knob.name
    assert f"`{name}`" in TEXT
    if name not in DECLARED:
        assert DEFAULTS[name] == _text(setting)


def test_every_metric_on_the_page_is_there():
    metrics = Metrics()
    metrics.declare(settings(), StageMachine(settings()))
    there = {sample.name for family in metrics.registry.collect() for sample in family.samples}
    there |= {family.name for family in metrics.registry.collect()}
    named = set(re.findall(r"failsoft_\w+", TEXT))
    assert named
    assert named <= there


@pytest.mark.parametrize("title", [title for title, text in SECTIONS.items() if "* Paper:" in text])
def test_every_pattern_has_its_files_its_sentence_of_the_paper_and_its_metrics(title):
    lines = [line for line in SECTIONS[title].splitlines() if line.startswith("* ")]
    assert [line.split(":")[0] for line in lines] == ["* Files", "* Paper", "* Metrics"]


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / "docs" / target).exists(), target
