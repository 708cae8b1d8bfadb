import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from failsoft.cli import app
from failsoft.simulation.scenarios import SCENARIOS


def failsoft(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["simulate", *words])
    return done.exit_code, done.stdout, done.stderr


def test_the_list_names_every_scenario():
    code, shown, _ = failsoft("--list")
    assert code == 0
    assert [line.split()[0] for line in shown.splitlines()] == [scenario.name for scenario in SCENARIOS]


def test_a_scenario_tells_its_figures_and_draws_its_levels(tmp_path: Path):
    report, picture = tmp_path / "report.json", tmp_path / "levels.svg"
    code, shown, _ = failsoft("broker-restart", "--seed", "3", "--json", str(report), "--plot", str(picture))
    assert code == 0
    assert "0 invariants broken" in shown
    found = json.loads(report.read_text())
    assert (found["command"], found["seed"], found["scenario"]) == ("simulate", 3, "broker-restart")
    assert set(found["classes"]) == {"interactive", "standard", "batch"}
    keys = "offered in_time levels value wasted_work calls_per_request p50_seconds p95_seconds p99_seconds"
    assert set(keys.split()) <= set(found["total"])
    assert found["total"]["offered"] == sum(each["offered"] for each in found["classes"].values())
    assert found["invariants_broken"] == 0
    assert all(expected["is_met"] for expected in found["expectations"])
    assert picture.read_text().startswith("<svg")


def test_random_worlds_tell_how_large_they_were():
    code, shown, _ = failsoft("--fuzz", "1", "--seed", "5", "--json", "-")
    assert code == 0
    found = json.loads(shown)
    assert (found["worlds"], found["seed"], found["failing_seeds"]) == (1, 5, [])
    assert set(found["distribution"]) == {"requests", "hosts", "faults", "virtual_seconds", "repeats_in_log"}


@pytest.mark.parametrize(("words", "says"), [(["nope"], "shows them all"), ([], "name a scenario")])
def test_what_cannot_be_simulated_says_what_can(words, says):
    code, _, error = failsoft(*words)
    assert code == 2
    assert says in error
