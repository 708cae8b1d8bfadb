"""The demo keeps its word on what it shows, and says so when the word is broken."""

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance, pytest.mark.timeout(240)]

BROKEN_WORKER = Path(__file__).with_name("broken_worker.py")
CHECKOUT = Path(__file__).parents[2]


def run_demo(bootstrap: str, report: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    """Run the command as a person does, in the checkout; return its exit code, its report and what it printed."""
    ran = subprocess.run(
        [sys.executable, "-m", "failsoft", "demo", "--bootstrap", bootstrap, "--json", str(report), *options],
        cwd=CHECKOUT,
        env=os.environ | {"COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=220,
        check=False,
    )
    assert report.exists(), ran.stderr
    return ran.returncode, json.loads(report.read_text()), ran.stdout + ran.stderr


def most_wrong(tier: str, answers: int) -> float:
    """How many of so many answers may be wrong by chance: which images a tier gets depends on the run."""
    usual = {"large": 0.027, "small": 0.052, "unreadable": 1.0}[tier] * answers
    return usual + 4 * math.sqrt(usual) + 2


def test_a_worker_killed_on_the_way_costs_no_request_and_lower_tiers_cost_little_accuracy(
    kafka_bootstrap: str, tmp_path: Path
):
    code, report, printed = run_demo(kafka_bootstrap, tmp_path / "demo.json", "--images", "300")
    assert (report["lost"], report["visible_repeats"], report["phantoms"]) == (0, 0, 0)
    assert code == 0
    assert report["requests"] == 600
    (phase,) = report["phases"]
    classes = phase["classes"].values()
    assert sum(tally["accepted"] for tally in classes) == 600
    assert sum(sum(tally["outcomes"].values()) for tally in classes) == 600
    for tier, share in report["accuracy"].items():
        answers = sum(tally["tiers"].get(tier, 0) for tally in classes)
        assert round((1 - share) * answers) <= most_wrong(tier, answers), report["accuracy"]
    assert "large" in report["accuracy"]
    assert "SIGKILL" in printed
    assert "The promise was kept." in printed


def test_workers_that_commit_what_they_have_only_started_lose_requests_and_the_demo_says_so(
    kafka_bootstrap: str, tmp_path: Path
):
    launcher = ["--launcher", sys.executable, "--launcher", str(BROKEN_WORKER)]
    code, report, printed = run_demo(kafka_bootstrap, tmp_path / "demo.json", "--images", "300", *launcher)
    assert report["lost"] > 0
    assert code == 1
    assert report["lost"] == sum(tally["lost"] for tally in report["phases"][0]["classes"].values())
    assert "THE PROMISE WAS BROKEN." in printed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_demo_that_is_interrupted_leaves_no_worker_and_no_file_behind(
    number: signal.Signals, kafka_bootstrap: str, tmp_path: Path
):
    pids, temporary = tmp_path / "pids", tmp_path / "temporary"
    temporary.mkdir()
    launcher = ["/bin/sh", "-c", f'echo $$ >> {pids}; exec "$0" -m failsoft "$@"', sys.executable]
    demo = subprocess.Popen(
        [
            *(sys.executable, "-m", "failsoft", "demo", "--bootstrap", kafka_bootstrap, "--images", "100"),
            *(f"--launcher={word}" for word in launcher),
        ],
        cwd=CHECKOUT,
        env=os.environ | {"TMPDIR": str(temporary)},
        stderr=subprocess.PIPE,
        text=True,
    )
    with demo:
        assert demo.stderr is not None
        told = next((line for line in demo.stderr if "submitting" in line), None)
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
