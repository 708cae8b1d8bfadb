"""Every runbook of the repository, carried out in the simulator while something goes wrong."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from failsoft.catalogue import load
from failsoft.failover.checks import CheckName
from failsoft.failover.declared import fitted
from failsoft.failover.rehearsal import WARM_UP_SECONDS, Rehearsed, rehearse
from failsoft.failover.run import Verdict
from failsoft.failover.runbook import Runbook, load_runbook
from failsoft.pipeline import Pipeline, load_pipeline
from failsoft.policy.outcome import Outcome
from failsoft.policy.routing import Route
from failsoft.simulation.cluster import Cluster
from failsoft.simulation.endpoints import Condition
from failsoft.simulation.faults import BrokerDown, Crash, Fault, ModelFault
from failsoft.simulation.fleet import ModelPlan, Plan
from failsoft.simulation.latency_law import Lognormal
from failsoft.simulation.workload import ClassLoad, Phase

ROOT = Path(__file__).parents[2]
RUNBOOKS = sorted((ROOT / "runbooks").glob("*.yaml"))
DOWN, HANGS, SLOW = Condition(error_share=1.0), Condition(hangs=True), Condition(slow=8.0)
LONG = 300.0
"""Until the end of the run and a little more."""
LOOK_SECONDS = 15.0
"""What the canaries of a step take at most."""
MIX = (ClassLoad("interactive", 0.6, 5.0), ClassLoad("standard", 0.4, 60.0))
PER_SECOND = 6.0


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setenv("MODEL_SERVER_URLS", "eu=http://eu.invalid,us=http://us.invalid")
        return load_pipeline("workers.served:pipeline")


def world(runbook: Runbook, pipeline: Pipeline, *faults: Fault) -> Plan:
    """The stage of a runbook under an even load, for as long as the runbook takes."""
    settings = pipeline.stages[runbook.stage].settings(load(ROOT / "topics.yaml"))
    models = {
        f"{tier.name}@{region}": ModelPlan(Lognormal(tier.expected_seconds or 1.0), tier.limit or 1)
        for tier in settings.tiers
        for region in tier.regions
    }
    seconds = WARM_UP_SECONDS + sum(step.hold_seconds + LOOK_SECONDS for step in runbook.steps)
    return Plan(settings, models, [Phase(PER_SECOND, 0.0, seconds)], MIX, partitions=6, faults=faults)


def done(
    path: Path, pipeline: Pipeline, *faults: Fault, at_share: Mapping[float, Sequence[Fault]] | None = None
) -> Rehearsed:
    runbook, _ = fitted(load_runbook(path), pipeline)
    plan = world(runbook, pipeline, *faults)
    rehearsed = rehearse(runbook, plan, lambda word: random.Random(f"7 {word}"), at_share=at_share)
    assert rehearsed.fleet.invariants.broken == []
    return rehearsed


def ok_share(rehearsed: Rehearsed, request_class: str) -> float:
    log = rehearsed.fleet.cluster.results
    ends = [entry.value for entry in log.read(0, log.end) if entry.value is not None]
    outcomes = [ending.outcome for ask, ending in ends if ask.request_class == request_class]
    return sum(outcome is Outcome.OK for outcome in outcomes) / len(outcomes)


def test_there_is_a_runbook():
    assert RUNBOOKS


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
@pytest.mark.parametrize(
    "fault", ["nothing", "the origin is down", "the origin hangs", "a worker dies", "the broker is down"]
)
def test_a_runbook_leads_to_the_target_whatever_happens_beside_it(path: Path, fault: str, pipeline: Pipeline):
    runbook = load_runbook(path)
    origin = f"{runbook.tier}@{runbook.origin}"
    always: dict[str, Fault] = {
        "the origin is down": ModelFault(5.0, LONG, origin, DOWN),
        "the origin hangs": ModelFault(5.0, LONG, origin, HANGS),
    }
    beside: dict[str, dict[float, Sequence[Fault]]] = {
        "a worker dies": {0.1: [Crash(3.0, 5.0, 0)], 0.5: [Crash(3.0, 5.0, 1)]},
        "the broker is down": {0.01: [BrokerDown(0.0, 4.0)], 0.1: [BrokerDown(28.0, 4.0)]},
    }
    faults = [always[fault]] if fault in always else []
    rehearsed = done(path, pipeline, *faults, at_share=beside.get(fault))
    assert (rehearsed.run.verdict, rehearsed.share) == (Verdict.PASSED, 1.0), rehearsed.run.findings
    # What a dead worker had in hand comes back after the session timeout of 6 s, past a deadline of 5 s.
    assert ok_share(rehearsed, "interactive") >= (0.98 if fault == "a worker dies" else 0.99)
    target = rehearsed.fleet.model(f"{runbook.tier}@{runbook.target}")
    assert target.in_service == 0


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
@pytest.mark.parametrize("condition", [DOWN, HANGS, SLOW], ids=["down", "hanging", "slow"])
@pytest.mark.parametrize("share", [None, 0.1, 1.0], ids=["before", "at a tenth", "when all has gone over"])
def test_a_runbook_leads_back_when_its_target_is_ill(
    path: Path, condition: Condition, share: float | None, pipeline: Pipeline
):
    runbook = load_runbook(path)
    ill = ModelFault(5.0, LONG, f"{runbook.tier}@{runbook.target}", condition)
    rehearsed = done(path, pipeline, ill) if share is None else done(path, pipeline, at_share={share: [ill]})
    assert (rehearsed.run.verdict, rehearsed.share) == (Verdict.FAILED, 0.0), rehearsed.run.findings
    assert any(not found.passed for found in rehearsed.run.findings)
    assert ok_share(rehearsed, "interactive") >= 0.97


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_a_run_whose_word_reaches_no_worker_does_not_pass(
    path: Path, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
):
    say_route = Cluster.say_route

    def lost(cluster: Cluster, route: Route) -> None:
        if route.share in {1.0, 0.0}:  # where it was before is known
            say_route(cluster, route)

    monkeypatch.setattr(Cluster, "say_route", lost)
    rehearsed = done(path, pipeline)
    assert rehearsed.run.verdict is Verdict.FAILED
    assert [found.check for found in rehearsed.run.findings if not found.passed] == [CheckName.ARRIVED]
