"""What the demo shows is what is promised: its figures, phase by phase and scene by scene, of one run."""

import math
from collections import Counter
from typing import Any

import pytest

from tests.acceptance.demo_command import run_demo

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance, pytest.mark.alone, pytest.mark.timeout(400)]

PHASES = ["healthy", "overload", "slow", "hang", "killed", "recovered"]


class Shown:
    """The report of one run, and the shares that the promises are about."""

    def __init__(self, report: dict[str, Any]) -> None:
        self.report = report
        self.phases: dict[str, dict[str, Any]] = {phase["name"]: phase for phase in report["phases"]}
        self.second: dict[str, Any] = report["second_act"]
        self.scenes: dict[str, dict[str, Any]] = {scene["name"]: scene for scene in self.second["phases"]}

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
    assert "The second act has shown all that it must." in printed
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


def accepted(scene: dict[str, Any]) -> int:
    return sum(tally["accepted"] for tally in scene["classes"].values())


def test_in_the_second_act_nothing_is_lost_and_nothing_is_seen_twice_either(shown: Shown):
    second = shown.second
    assert (second["lost"], second["visible_repeats"], second["phantoms"]) == (0, 0, 0)
    assert sum(map(accepted, shown.scenes.values())) == second["requests"] > 200
    assert [each["text"] for each in second["expected"] if not each["is_met"]] == []


def test_without_documents_everything_is_answered_at_a_lower_level_and_says_why(shown: Shown):
    scene = shown.scenes["empty index"]
    assert sum(scene["levels"].values()) == accepted(scene) > 20
    assert "1" not in scene["levels"]
    assert scene["reasons"] == {"context_incomplete": accepted(scene)}
    assert shown.scenes["healthy"]["levels"]["1"] >= 0.90 * accepted(shown.scenes["healthy"])


def test_a_region_that_fails_is_left_along_a_runbook_that_was_drilled(shown: Shown):
    ran = [(run["kind"], run["verdict"]) for run in shown.second["runs"]]
    assert ran == [("drill", "passed"), ("execute", "passed")]
    before, after = shown.scenes["eu fails"], shown.scenes["us serves"]
    assert before["calls"]["us"] == 0
    assert after["calls"]["us"] >= 0.95 * sum(after["calls"].values())
    assert after["regions"].get("us", 0) >= 0.90 * accepted(after)
    urgent = after["classes"]["interactive"]
    assert urgent["in_time"] >= 0.95 * urgent["accepted"] > 0


def most_wrong(tier: str, answers: int) -> float:
    """How many of so many answers may be wrong by chance: which images a tier gets depends on the run."""
    usual = {"large": 0.035, "small": 0.065, "unreadable": 1.0}[tier] * answers
    return usual + 4 * math.sqrt(usual) + 2
