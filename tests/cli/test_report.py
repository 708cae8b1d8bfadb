from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from failsoft.cli import app
from failsoft.cli.exits import Exit


def verbs_with_a_report() -> list[tuple[str, ...]]:
    return list(_found(typer.main.get_command(app), ()))


def _found(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, inner in getattr(command, "commands", {}).items():
        yield from _found(inner, (*words, name))
    if any("--json" in option.opts for option in command.params):
        yield words


def refused(words: tuple[str, ...], path: Path, option: str = "--json") -> str:
    shown = CliRunner().invoke(app, [*words, option, str(path)], catch_exceptions=False)
    assert shown.exit_code == Exit.USAGE
    (line,) = shown.stderr.splitlines()
    return line


@pytest.mark.parametrize("words", verbs_with_a_report(), ids=" ".join)
def test_a_report_that_could_not_be_written_is_refused_before_the_work(words, tmp_path):
    path = tmp_path / "not" / "there.json"
    assert f"--json {path}: there is no folder {path.parent}" in refused(words, path)


@pytest.mark.parametrize("verb", ["simulate", "predict"])
def test_so_is_a_drawing(verb, tmp_path):
    path = tmp_path / "not" / "there.svg"
    assert f"--plot {path}: there is no folder {path.parent}" in refused((verb,), path, "--plot")


def test_a_folder_is_no_place_for_a_report(tmp_path):
    assert f"--json {tmp_path} is a folder; name a file in it" in refused(("simulate",), tmp_path)


def test_a_file_without_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, _mode: path != tmp_path)
    assert "may not be written by this user" in refused(("simulate",), tmp_path / "report.json")


def test_the_verbs_that_print_tables_take_a_report():
    found = {" ".join(words) for words in verbs_with_a_report()}
    assert {"config show", "demo", "doctor", "predict", "results", "run", "simulate", "submit", "topics plan"} <= found
