import json
import socket
from pathlib import Path
from uuid import uuid4

import pytest
from typer.testing import CliRunner, Result

from failsoft.cli import app
from failsoft.cli.exits import Exit
from failsoft.kafka.settings import BOOTSTRAP_VARIABLE

WRITTEN = """
version: 1
defaults: {partitions: 2, replication: 3, config: {min.insync.replicas: 2, message.timestamp.type: LogAppendTime}}
classes:
  interactive: {weight: 8, deadline: 5s, deadline_max: 60s}
pipelines: {PIPELINE: [classify]}
topics:
  requests:     {config: {retention.ms: 7d}}
  results:      {config: {retention.ms: 7d}}
  dead-letters: {config: {retention.ms: 14d}}
"""


class Deployment:
    """A catalogue of the test's own, and the command line on it."""

    def __init__(self, path: Path, servers: str) -> None:
        self.pipeline = f"p{uuid4().hex[:12]}"
        self._path = path
        self._servers = servers
        self.rewrite("", "")

    def rewrite(self, old: str, new: str) -> None:
        self._path.write_text(WRITTEN.replace("PIPELINE", self.pipeline).replace(old, new, 1))

    def run(self, verb: str, *options: str) -> Result:
        arguments = ["topics", verb, "--catalogue", str(self._path), "--bootstrap", self._servers, *options]
        return CliRunner().invoke(app, arguments, catch_exceptions=False)


@pytest.fixture
def deployment(tmp_path, kafka_bootstrap):
    return Deployment(tmp_path / "topics.yaml", kafka_bootstrap)


@pytest.mark.kafka
def test_plan_shows_the_drift_and_exits_2_until_apply_has_run(deployment):
    planned = deployment.run("plan")
    assert planned.exit_code == Exit.USAGE
    assert f"+ {deployment.pipeline}.classify.interactive: 2 partitions, replication 1" in planned.stdout
    assert "    + retention.ms = 604800000" in planned.stdout
    assert "Warning: replication 3 is wanted for 3 topics, but there is 1 broker" in planned.stdout
    assert "Plan: 3 to create, 0 to change, 0 for a person to settle." in planned.stdout

    applied = deployment.run("apply")
    assert applied.exit_code == Exit.OK
    assert "Applied: 3 created, 0 changed." in applied.stdout

    again = deployment.run("plan")
    assert again.exit_code == Exit.OK
    assert "Plan: nothing to do" in again.stdout
    assert "Applied: 0 created, 0 changed." in deployment.run("apply").stdout


@pytest.mark.kafka
def test_a_changed_value_is_shown_old_and_new(deployment):
    deployment.run("apply")
    deployment.rewrite("retention.ms: 14d", "retention.ms: 15d")
    planned = deployment.run("plan")
    assert f"~ {deployment.pipeline}.dead-letters\n    ~ retention.ms: 1209600000 -> 1296000000\n" in planned.stdout
    assert "Plan: 0 to create, 1 to change, 0 for a person to settle." in planned.stdout
    assert deployment.run("apply").exit_code == Exit.OK


@pytest.mark.kafka
def test_partitions_wait_for_a_word_and_fewer_of_them_for_a_person(deployment):
    deployment.run("apply")
    deployment.rewrite("partitions: 2", "partitions: 3")
    held = deployment.run("apply")
    assert held.exit_code == Exit.USAGE
    assert "Not in step yet:\n" in held.stdout
    assert (
        f"~ {deployment.pipeline}.results: 2 -> 3 partitions; keys move, so apply needs --allow-repartition"
        in held.stdout
    )
    assert deployment.run("apply", "--allow-repartition").exit_code == Exit.OK

    deployment.rewrite("partitions: 2", "partitions: 1")
    shrunk = deployment.run("apply", "--allow-repartition")
    assert shrunk.exit_code == Exit.USAGE
    assert f"! {deployment.pipeline}.results: 3 partitions where 1 are wanted" in shrunk.stdout


@pytest.mark.kafka
def test_reports_are_one_object_for_a_machine(deployment, tmp_path):
    planned = deployment.run("plan", "--json", "-")
    report = json.loads(planned.stdout)
    assert planned.exit_code == Exit.USAGE
    assert (report["command"], report["is_in_step"], report["brokers"]) == ("topics plan", False, 1)
    assert [entry["action"] for entry in report["entries"]] == ["create"] * 3

    target = tmp_path / "applied.json"
    assert "Applied: 3 created" in deployment.run("apply", "--json", str(target)).stdout
    applied = json.loads(target.read_text())
    assert [entry["name"] for entry in applied["done"]] == [entry["name"] for entry in report["entries"]]
    assert applied["remaining"]["is_in_step"]


@pytest.mark.kafka
def test_show_lists_what_is_there_with_what_is_set_on_it(deployment):
    assert deployment.run("show").stdout == "Brokers: 1. Topics: 0.\n"
    deployment.run("apply")
    shown = deployment.run("show")
    assert shown.exit_code == Exit.OK
    assert shown.stdout.startswith("Brokers: 1. Topics: 3.\n")
    assert (
        f"{deployment.pipeline}.results: 2 partitions, replication 1\n    message.timestamp.type = LogAppendTime"
        in shown.stdout
    )


def test_a_mistake_in_the_catalogue_is_told_before_any_broker_is_asked(tmp_path):
    path = tmp_path / "topics.yaml"
    path.write_text(WRITTEN.replace("weight: 8", "weight: 0"))
    told = CliRunner().invoke(app, ["topics", "plan", "--catalogue", str(path)])
    assert told.exit_code == Exit.USAGE
    assert f"{path}:5: classes.interactive.weight: should be greater than 0" in told.stderr


def test_a_broker_that_is_not_there_is_the_machines_fault(tmp_path, monkeypatch):
    path = tmp_path / "topics.yaml"
    path.write_text(WRITTEN.replace("PIPELINE", "digits"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv(BOOTSTRAP_VARIABLE, f"127.0.0.1:{taken.getsockname()[1]}")
        told = CliRunner().invoke(app, ["topics", "plan", "--catalogue", str(path)])
    assert told.exit_code == Exit.ENVIRONMENT
    assert "nothing answers at 127.0.0.1" in told.stderr
