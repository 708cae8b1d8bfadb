"""docs/aiokafka.md names every trap once, with a module that is there and a test that is there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/aiokafka.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if re.match(r"\| [AF]\d", line)
]
UNTOUCHED = "does not touch our code: "


@cache
def names_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_trap_has_its_row_in_order():
    assert [row[0] for row in ROWS] == [f"A{number}" for number in range(1, 39)] + [
        f"F{number}" for number in range(1, 7)
    ]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_says_trap_effect_answer_and_test(row):
    assert len(row) == 5
    assert all(cell.endswith(".") for cell in row[1:3])
    assert row[3].startswith(UNTOUCHED) == (not row[4])


@pytest.mark.parametrize("row", [row for row in ROWS if row[4]], ids=lambda row: row[0])
def test_the_answer_names_a_module_and_the_test_is_there(row):
    modules = re.findall(r"\]\((\.\./[^)#]+)\)", row[3])
    assert modules
    assert all((ROOT / "docs" / module).exists() for module in modules)
    named = re.findall(r"`(tests/\S+\.py)::(\w+)`", row[4])
    assert named
    for path, test in named:
        assert test.startswith("test_")
        assert test in names_in(path)


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\(([^)#]+)", TEXT):
        assert (ROOT / "docs" / target).exists(), target
