"""`failsoft failover`: what it refuses before it does anything, and what it shows."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from failsoft.cli import app
from failsoft.cli.exits import Exit
from failsoft.policy.clock_offset import ClockOffset
from failsoft.runtime.broker_clock import BrokerClock

CATALOGUE = """
version: 1
defaults: {partitions: 1, replication: 1, config: {message.timestamp.type: LogAppendTime}}
classes: {interactive: {weight: 8, deadline: 5s, deadline_max: 60s}}
pipelines: {NAME: [work]}
topics:
  requests:     {config: {retention.ms: 7d}}
  results:      {config: {retention.ms: 7d}}
  dead-letters: {config: {retention.ms: 14d}}
"""
TOPICS = """\
  breakers:     {config: {cleanup.policy: compact}}
  controls:     {config: {cleanup.policy: compact}}
  drills:       {config: {cleanup.policy: compact}}
"""
PIPELINE = """
from failsoft import OpenAICompatible, Pipeline

pipeline = Pipeline("NAME")
work = pipeline.stage("work")
work.tier("large", OpenAICompatible("m", urls={"eu": "http://127.0.0.1:1", "us": "http://127.0.0.1:2"}))
"""
RUNBOOK = """
version: 1
pipeline: NAME
endpoint: work/large
from: eu
to: us
before: {reachable: true}
during: {breakers: closed}
drill: shadow
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A pipeline of this test's own, in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = "p" + tmp_path.name.replace("-", "_")
    name = module.replace("_", "-").lower()[:40].rstrip("-")
    (tmp_path / "topics.yaml").write_text((CATALOGUE + TOPICS).replace("NAME", name))
    (tmp_path / f"{module}.py").write_text(PIPELINE.replace("NAME", name))
    (tmp_path / "eu-us.yaml").write_text(RUNBOOK.replace("NAME", name))
    return tmp_path


def run(folder: Path, verb: str, *options: str, bootstrap: str = "127.0.0.1:1") -> Result:
    (module,) = (path.stem for path in folder.glob("*.py"))
    arguments = ["failover", verb, "eu-us.yaml", "--pipeline", f"{module}:pipeline", "--bootstrap", bootstrap]
    return CliRunner().invoke(app, [*arguments, *options])


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("verb", ["plan", "drill", "execute", "resume", "rollback"])
def test_a_runbook_that_cannot_work_is_refused_by_every_verb_before_a_broker_is_asked(folder: Path, verb: str):
    edit(folder / "eu-us.yaml", "to: us", "to: mars")
    result = run(folder, verb)
    assert result.exit_code == Exit.USAGE
    assert "eu-us.yaml: to: work/large has no region mars; it has eu, us" in result.output


def test_a_catalogue_without_the_topics_is_refused_with_the_fix(folder: Path):
    edit(folder / "topics.yaml", "  drills:       {config: {cleanup.policy: compact}}\n", "")
    result = run(folder, "drill")
    assert (result.exit_code, "failover needs the topics drills; add them" in result.output) == (Exit.USAGE, True)


def test_force_without_a_reason_is_refused(folder: Path):
    result = run(folder, "execute", "--force")
    assert (result.exit_code, "--why REASON" in result.output) == (Exit.USAGE, True)


def test_without_a_broker_nothing_is_begun(folder: Path):
    result = run(folder, "plan")
    assert (result.exit_code, "no broker answers" in result.output) == (Exit.ENVIRONMENT, True)


@pytest.mark.kafka
def test_what_is_planned_tried_and_told(folder: Path, kafka_bootstrap: str):
    """The target of this runbook answers nobody, so its drill fails; a plan shows what would be done all the same."""
    applied = CliRunner().invoke(app, ["topics", "apply", "--bootstrap", kafka_bootstrap])
    assert applied.exit_code == Exit.OK, applied.output
    plan = run(folder, "plan", bootstrap=kafka_bootstrap)
    assert plan.exit_code == Exit.USAGE
    for line in (
        "1. before: reachable at least 1",
        "2. 1% for 1m, then: breakers at most 0",
        "5. 100% for 1m, then: breakers at most 0",
        "drill: shadow calls only",
        "last drill that passed: never",
        "execute may not begin: eu-us was never drilled",
    ):
        assert line in plan.output

    drill = run(folder, "drill", "--by", "ann", bootstrap=kafka_bootstrap)
    assert drill.exit_code == Exit.BROKEN_PROMISE
    assert "before: reachable 0, at least 1: FAILED" in drill.output
    resumed = run(folder, "resume", bootstrap=kafka_bootstrap)
    assert (resumed.exit_code, "nothing is open" in resumed.output) == (Exit.USAGE, True)

    status = CliRunner().invoke(app, ["failover", "status", "--bootstrap", kafka_bootstrap, "--json", "-"])
    report = json.loads(status.output)
    assert report["routes"] == {"work/large": "all in eu"}
    (found,) = report["runs"]
    assert (found["kind"], found["by"], found["verdict"], found["phase"]) == ("drill", "ann", "failed", "ended")
    told = CliRunner().invoke(app, ["failover", "status", "--bootstrap", kafka_bootstrap])
    assert "drill of eu-us by ann, 0.0 days ago: failed" in told.output


def test_what_is_measured_goes_by_the_broker_s_clock_as_soon_as_one_record_is_acknowledged():
    """Results are stamped by it: by the clock of a machine that is a minute off, none or all would be those of a step."""
    outbox: Any = SimpleNamespace(clock_offset=ClockOffset())
    clock = BrokerClock(lambda: 1_000.0, outbox)
    assert clock.wall() == 1_000.0
    outbox.clock_offset.observe(sent_at=1_000.0, appended_at=1_060.0, acked_at=1_000.004, now=1.0)
    assert clock.wall() == pytest.approx(1_060.0, abs=0.01)
