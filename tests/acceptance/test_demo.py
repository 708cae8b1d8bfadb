"""The demo keeps its word on what it shows, and says so when the word is broken."""

import json
import math
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance, pytest.mark.timeout(300)]

BROKEN_WORKER = Path(__file__).with_name("broken_worker.py")
CHECKOUT = Path(__file__).parents[2]
PHASES = ["healthy", "overload", "slow", "hang", "killed", "recovered"]


def run_demo(bootstrap: str, report: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    """Run the command as a person does, in the checkout; return its exit code, its report and what it printed."""
    ran = subprocess.run(
        [sys.executable, "-m", "failsoft", "demo", "--bootstrap", bootstrap, "--json", str(report), *options],
        cwd=CHECKOUT,
        env=os.environ | {"COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert report.exists(), ran.stderr
    return ran.returncode, json.loads(report.read_text()), ran.stdout + ran.stderr


class Shown:
    """The report of one run, and the shares that the promises are about."""

    def __init__(self, report: dict[str, Any]) -> None:
        self.report = report
        self.phases: dict[str, dict[str, Any]] = {phase["name"]: phase for phase in report["phases"]}

    def in_time(self, phase: str, request_class: str) -> float:
        tally = self.phases[phase]["classes"][request_class]
        return float(tally["in_time"] / tally["accepted"])

    def level_share(self, phase: str, level: int, *classes: str) -> float:
        """Of the answers."""
        tallies = self.phases[phase]["classes"]
        levels = sum((Counter(tallies[name]["levels"]) for name in classes or tallies), Counter[str]())
        return levels[str(level)] / levels.total()


@pytest.fixture(scope="module")
def shown(kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    code, report, printed = run_demo(kafka_bootstrap, tmp_path_factory.mktemp("demo") / "demo.json")
    assert code == 0, printed
    assert "SIGKILL" in printed
    assert "The promise was kept." in printed
    return Shown(report)


def test_nothing_is_lost_nothing_is_seen_twice_and_every_request_has_an_end(shown: Shown):
    report = shown.report
    assert (report["lost"], report["visible_repeats"], report["phantoms"]) == (0, 0, 0)
    assert list(shown.phases) == PHASES
    tallies = [tally for phase in shown.phases.values() for tally in phase["classes"].values()]
    assert sum(tally["accepted"] for tally in tallies) == report["requests"] > 1_500
    assert sum(sum(tally["outcomes"].values()) for tally in tallies) == report["requests"]


def test_the_load_was_sent_on_time(shown: Shown):
    assert shown.report["sent_late_seconds_max"] < 1.0


def test_a_crash_repeats_little(shown: Shown):
    assert shown.report["repeats_in_log"] <= 0.05 * shown.report["requests"]


@pytest.mark.parametrize("phase", PHASES)
def test_urgent_requests_are_answered_in_time_whatever_happens(shown: Shown, phase: str):
    assert shown.in_time(phase, "interactive") >= (0.90 if phase == "killed" else 0.95)


def test_in_health_the_large_model_answers(shown: Shown):
    assert shown.level_share("healthy", 1) >= 0.90


@pytest.mark.parametrize("request_class", ["interactive", "standard", "batch"])
def test_under_three_times_the_load_every_class_is_in_time(shown: Shown, request_class: str):
    assert shown.in_time("overload", request_class) >= 0.95


def test_under_overload_the_large_model_stays_busy_and_nobody_gets_a_constant_without_need(shown: Shown):
    capacity = shown.report["large_per_second_max"]
    assert shown.phases["overload"]["level_1_per_second"] >= 0.85 * capacity
    assert shown.level_share("overload", 3) <= 0.10


def test_when_the_large_model_hangs_the_small_one_answers_urgent_requests(shown: Shown):
    assert shown.level_share("hang", 2, "interactive") >= 0.90


def test_when_all_is_well_again_quality_is_back_within_fifteen_seconds(shown: Shown):
    assert shown.phases["recovered"]["seconds"] <= 15.0
    assert shown.level_share("recovered", 1) >= 0.90 * shown.level_share("healthy", 1)


def test_lower_tiers_cost_as_much_accuracy_as_their_models_do(shown: Shown):
    tallies = [tally for phase in shown.phases.values() for tally in phase["classes"].values()]
    for tier, share in shown.report["accuracy"].items():
        answers = sum(tally["tiers"].get(tier, 0) for tally in tallies)
        assert round((1 - share) * answers) <= most_wrong(tier, answers), shown.report["accuracy"]
    assert {"large", "small"} <= set(shown.report["accuracy"])


def test_what_was_cut_off_is_on_the_account(shown: Shown):
    large = shown.report["models"]["large"]
    assert 0 < large["cancelled"] < 0.1 * large["calls"]
    assert 0 < large["wasted_seconds"] < 0.25 * large["busy_seconds"]
    assert shown.report["executed"] == sum(model["calls"] for model in shown.report["models"].values())


def most_wrong(tier: str, answers: int) -> float:
    """How many of so many answers may be wrong by chance: which images a tier gets depends on the run."""
    usual = {"large": 0.035, "small": 0.065, "unreadable": 1.0}[tier] * answers
    return usual + 4 * math.sqrt(usual) + 2


def test_workers_that_commit_what_they_have_only_started_lose_requests_and_the_demo_says_so(
    kafka_bootstrap: str, tmp_path: Path
):
    launcher = ["--launcher", sys.executable, "--launcher", str(BROKEN_WORKER)]
    code, report, printed = run_demo(kafka_bootstrap, tmp_path / "demo.json", "--quick", *launcher)
    assert report["lost"] > 0
    assert code == 1
    assert report["lost"] == sum(tally["lost"] for tally in report["phases"][0]["classes"].values())
    assert "THE PROMISE WAS BROKEN." in printed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_demo_that_is_interrupted_leaves_no_process_and_no_file_behind(
    number: signal.Signals, kafka_bootstrap: str, tmp_path: Path
):
    pids, temporary = tmp_path / "pids", tmp_path / "temporary"
    temporary.mkdir()
    launcher = ["/bin/sh", "-c", f'echo $$ >> {pids}; exec "$0" -m failsoft "$@"', sys.executable]
    demo = subprocess.Popen(
        [
            *(sys.executable, "-m", "failsoft", "demo", "--quick", "--bootstrap", kafka_bootstrap),
            *(f"--launcher={word}" for word in launcher),
        ],
        cwd=CHECKOUT,
        env=os.environ | {"TMPDIR": str(temporary)},
        stderr=subprocess.PIPE,
        text=True,
    )
    with demo:
        assert demo.stderr is not None
        told = next((line for line in demo.stderr if "requests/s" in line), None)
        demo.send_signal(number)
        rest = demo.stderr.read()
    assert told, rest
    assert demo.returncode == 128 + signal.SIGINT
    workers = [int(line) for line in pids.read_text().split()]
    assert len(workers) == 2
    assert [is_alive(pid) for pid in workers] == [False, False]
    assert list(temporary.iterdir()) == []


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
