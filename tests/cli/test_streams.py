"""`failsoft streams`, where it cannot run, says what is missing; that it runs is shown in tests/streams."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import failsoft
from failsoft.cli import app
from failsoft.cli.exits import Exit
from failsoft.cli.streams import StreamsApp

ROOT = Path(__file__).parents[2]
CATALOGUE = """
version: 1
defaults: {partitions: 1, replication: 1, config: {message.timestamp.type: LogAppendTime}}
classes: {batch: {weight: 1, deadline: 1h, deadline_max: 2h}}
pipelines: {shop: [answer], digits: [classify]}
topics:
  requests:     {config: {retention.ms: 7d}}
  results:      {config: {retention.ms: 7d}}
  dead-letters: {config: {retention.ms: 14d}}
  outcomes:     {config: {retention.ms: 1h}}
  latency:      {config: {cleanup.policy: compact}}
"""


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "topics.yaml").write_text(CATALOGUE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())


def run(*arguments: str):
    return CliRunner().invoke(app, ["streams", *arguments], catch_exceptions=False)


def test_there_is_a_module_for_each_app():
    for each in StreamsApp:
        assert (ROOT / "streams" / f"{each}.py").is_file()


def test_without_the_folder_of_the_apps_it_says_where_they_are(monkeypatch, tmp_path):
    monkeypatch.setattr(failsoft, "__file__", str(tmp_path / "site-packages" / "failsoft" / "__init__.py"))
    refused = run("latency", "--pipeline", "shop")
    assert refused.exit_code == Exit.ENVIRONMENT
    assert "in a checkout of failsoft or in its image" in refused.stderr


def test_without_faust_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    refused = run("latency", "--pipeline", "shop")
    assert refused.exit_code == Exit.ENVIRONMENT
    assert "pip install 'failsoft[streams]'" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["latency"], "say which with --pipeline: there are shop, digits"),
        (["latency", "--pipeline", "shp"], "'shp' is not in topics.yaml: there are shop, digits"),
        (["degradation", "--pipeline", "shop"], "topics.yaml has no topic of degradation"),
        (["ledger"], "'ledger' is not one of"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments, problem):
    refused = run(*arguments)
    assert refused.exit_code == Exit.USAGE
    assert problem in refused.stderr


@pytest.mark.parametrize("said", [[], ["--bootstrap", "b:9092"]])
def test_the_process_becomes_the_app_with_what_was_said(monkeypatch, said):
    became: list[tuple[str, list[str], dict[str, str]]] = []

    class Became(Exception):  # noqa: N818 - it is none
        pass

    def become(*call: Any) -> None:
        became.append(call)
        raise Became

    monkeypatch.setattr("os.execve", become)
    with pytest.raises(Became):
        run("latency", "--pipeline", "shop", *said)
    [(_, command, environment)] = became
    assert command[1:3] == ["-m", "streams.latency"]
    assert dict(zip(command[3::2], command[4::2], strict=True)) == {
        "--pipeline": "shop", "--host": "127.0.0.1", "--port": "0", "--log-format": "console",
    } | dict(zip(said[::2], said[1::2], strict=True))  # fmt: skip
    assert environment["PYTHONPATH"].split(":")[0] == str(ROOT)
