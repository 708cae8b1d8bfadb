from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from failsoft.cli import app
from failsoft.cli.exits import Exit

PIPELINE = """
from failsoft import BreakerSettings, Constant, OpenAICompatible, Pipeline

pipeline = Pipeline("digits")
classify = pipeline.stage("classify", patience={"batch": 0.5}, breakers=BreakerSettings(enforce=False))
classify.tier("large", OpenAICompatible("large", url="http://127.0.0.1:9"), target="2s")
classify.tier("sorry", Constant({"content": "?"}))
"""
LIMIT = "FAILSOFT_DIGITS__CLASSIFY__LARGE__LIMIT"


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "shown_by_config.py").write_text(PIPELINE)
    monkeypatch.syspath_prepend(tmp_path)
    return "shown_by_config:pipeline"


def show(*arguments: str, **environment: str):
    return CliRunner().invoke(app, ["config", "show", *arguments], env=environment, catch_exceptions=False)


def line(text: str, name: str) -> list[str]:
    (found,) = (words for words in map(str.split, text.splitlines()) if words[:1] == [name])
    return found[1:]


def test_every_setting_is_shown_with_its_value_in_this_environment(target):
    shown = show("--pipeline", target, **{LIMIT: "6"})
    assert shown.exit_code == Exit.OK
    assert line(shown.stdout, "limit") == ["6"]
    assert line(shown.stdout, "target") == ["2s"]
    assert line(shown.stdout, "bytes_max") == ["32MiB"]
    assert line(shown.stdout, "breaker_enforce") == ["false"]
    assert "stage digits.classify, tier large  FAILSOFT_DIGITS__CLASSIFY__LARGE__<NAME>" in shown.stdout


def test_the_origin_is_a_variable_python_the_catalogue_or_the_module_that_explains_the_default(target):
    text = show("--pipeline", target, "--origin", **{LIMIT: "6"}).stdout
    assert line(text, "limit") == ["6", LIMIT]
    assert line(text, "breaker_enforce") == ["false", "Python"]
    assert line(text, "breaker_ramp") == ["10s", "default,", "see", "failsoft/policy/breaker_settings.py"]
    assert "topics.yaml" in {words[-1] for words in map(str.split, text.splitlines()) if words[0] == "deadline"}


def test_the_report_has_the_values_in_seconds_and_numbers(target, tmp_path):
    file = tmp_path / "config.json"
    assert show("--pipeline", target, "--json", str(file), **{LIMIT: "6"}).exit_code == Exit.OK
    report = orjson.loads(file.read_bytes())
    assert report["command"] == "config show"
    (limit,) = (each for each in report["settings"] if each["tier"] == "large" and each["name"] == "limit")
    assert limit == {
        "pipeline": "digits",
        "stage": "classify",
        "tier": "large",
        "class": None,
        "name": "limit",
        "value": 6,
        "default": 8,
        "origin": LIMIT,
        "variable": LIMIT,
        "explained_in": "failsoft.policy.concurrency",
    }
    (target_seconds,) = (each["value"] for each in report["settings"] if each["name"] == "target_seconds")
    assert target_seconds == 2.0


def test_without_a_pipeline_it_shows_what_can_be_set_at_all():
    shown = show(**{LIMIT: "6"})
    assert shown.exit_code == Exit.OK
    assert "FAILSOFT_<PIPELINE>__<STAGE>__<TIER>__<NAME>" in shown.stdout
    assert line(shown.stdout, "limit") == ["8"]


def test_a_variable_that_is_misspelt_is_told_and_exits_2(target):
    shown = show("--pipeline", target, **{LIMIT + "S": "6"})
    assert shown.exit_code == Exit.USAGE
    assert f"{LIMIT}S: no such setting; the nearest is {LIMIT} " in shown.stderr
