"""docs/operations.md has every alert and exit code; no page names a command, an option or a link that is not there."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from failsoft.cli import app
from failsoft.cli.exits import Exit

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")]
    if not page.parent.name.startswith(".")
)
OPERATIONS = (ROOT / "docs/operations.md").read_text()
ALERTS = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/observability/rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
ENTRY = ["What you see", "Why", "What to do", "What not to do"]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page; comments in blocks of code are none."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        place = page.parent / target if target else page
        if not place.exists() or (anchor and anchor not in anchors(place)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_of_a_page_leads_somewhere(page):
    assert not broken_links(page)


def test_a_link_to_a_page_or_heading_that_is_not_there_would_have_been_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One\n[a](page.md#one) [b](#two) [c](gone.md)\n```\n# Two\n```\n")
    assert broken_links(page) == ["#two", "gone.md"]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_and_every_test_that_a_page_names_is_there(page):
    """A path of the repository between backticks; ``file.py::test`` names a test in it."""
    named = re.findall(
        r"`((?:bench|deploy|docs|failsoft|streams|tests|workers)/[\w/.-]+)(?:::(\w+))?`", page.read_text()
    )
    gone = [path for path, _ in named if not (ROOT / path).exists()]
    gone += [
        test for path, test in named if test and path not in gone and f"def {test}(" not in (ROOT / path).read_text()
    ]
    assert not gone


# The commands that pages name.


@cache
def commands() -> dict[str, set[str]]:
    """Every command, "" being none, with its options."""
    found: dict[str, set[str]] = {}

    def walk(command: Any, path: str) -> None:
        found[path] = {option for known in command.params for option in [*known.opts, *known.secondary_opts]}
        found[path].add("--help")
        for word, part in getattr(command, "commands", {}).items():
            walk(part, f"{path} {word}".strip())

    walk(typer.main.get_command(app), "")
    return found


def said(page: str) -> list[str]:
    """Each command line in a page: what stands in a block of code or between backticks and begins with ``failsoft``."""
    blocks = re.findall(r"```\w*\n(.*?)```", page, flags=re.DOTALL)
    spans = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", page, flags=re.DOTALL))
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    found = [re.match(r"\s*(?:\$ )?(?:[A-Z_]+=\S+ )*failsoft ([a-z][^#]*)", line) for line in [*lines, *spans]]
    return [re.sub(r"\s+", " ", match[1]) for match in found if match]


def problem(line: str) -> str | None:
    """What of a command line is not there. ``topics plan|apply`` says several commands."""
    line = re.sub(r'"[^"]*"', "TEXT", line).partition("&")[0].strip()
    words = re.split(r"[ ,]+", line)
    verbs = words[0].split("|")
    subs = [f"{verbs[0]} {sub}" for sub in words[1].split("|")] if len(words) > 1 else []
    paths = subs if subs and any(path in commands() for path in subs) else verbs
    for path in paths:
        if path not in commands():
            return f"no command {path}"
    for option in re.findall(r"(?<!\S)\[?(--[a-z-]+)", line):
        if not any(option in commands()[path] for path in paths):
            return f"{paths[0]} has no {option}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_that_a_page_names_is_there_with_its_options(page):
    assert not [found for line in said(page.read_text()) if (found := problem(line))]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("topics plan", None),
        ("topics plan|apply", None),
        ('breakers force answer/large open --why "x --y" --until 2h', None),
        ("topic plan", "no command topic"),
        ("topics plan|destroy", "no command topics destroy"),
        ("worker workers.digits:pipeline --dry", "worker has no --dry"),
    ],
)
def test_a_command_that_is_not_there_would_have_been_noticed(line, found):
    assert problem(line) == found


# Alerts and exit codes.


@cache
def entries() -> dict[str, str]:
    """Heading of the third level -> what stands below it."""
    parts = re.split(r"^#{2,3} (.+)$", OPERATIONS, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_has_its_entry_that_says_what_it_is_and_what_to_do_and_not_to_do(rule):
    entry = entries()[rule["alert"]]
    assert re.findall(r"^\* \*\*(.+?)\*\*", entry, flags=re.MULTILINE) == ENTRY
    assert f"**What you see** ({rule['labels']['severity']}):" in entry


def test_no_entry_is_of_an_alert_that_is_not_there():
    assert {heading for heading in entries() if heading.startswith("Failsoft")} == {rule["alert"] for rule in ALERTS}


@pytest.mark.parametrize("code", Exit, ids=lambda code: code.name)
def test_every_exit_code_has_its_line(code):
    assert f"| {code.value} | {code.name} |" in entries()["Exit codes"]


def test_every_command_has_its_line_of_exit_codes():
    rows = [line.split("|")[1] for line in entries()["Exit codes"].splitlines() if line.startswith("| `")]
    named = set()
    for row in rows:
        group = ""
        for path in re.findall(r"`([a-z -]+)`", row):
            group = path.split(" ")[0] if " " in path else group
            named.add(path if path in commands() else f"{group} {path}")
    ends = {path for path in commands() if path and not any(other.startswith(f"{path} ") for other in commands())}
    assert named - {"breakers"} == ends
