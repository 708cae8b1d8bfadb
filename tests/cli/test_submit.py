import hashlib
import json
import os
import re
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from failsoft.cli import app
from failsoft.cli.exits import Exit
from failsoft.kafka.results import ResultRecord
from failsoft.wire import ContextPart, Envelope, Identity, RequestLine
from failsoft.wire.body import decode_request, encode_request
from failsoft.wire.content_key import content_key
from failsoft.wire.envelope import decode_headers
from failsoft.wire.identity import result_id
from failsoft.wire.limits import VALUE_BYTES

DAY_SECONDS = 86_400.0
CRLF = b"\r\n"


def line(custom_id: str = "q", **body) -> bytes:
    return encode_request(RequestLine(custom_id, "/v1/chat/completions", {"model": "m", **body}))


@pytest.fixture
def batch(tmp_path):
    """Write a batch file of these lines; return its path and the id of its job."""

    def write(*lines: bytes, end: bytes = b"\n"):
        path = tmp_path / "requests.jsonl"
        path.write_bytes(end.join(lines) + end)
        return str(path), hashlib.sha256(path.read_bytes()).hexdigest()

    return write


def decoded(records: list[ResultRecord]) -> list[tuple[Envelope, ResultRecord]]:
    return [(decode_headers(each.headers, topic="", partition=0, offset=0), each) for each in records]


@pytest.mark.kafka
def test_each_line_becomes_a_request_named_by_the_file_and_its_number(deployed, batch):
    lines = [line(f"q-{n}", prompt=n) for n in range(40)]
    path, job = batch(*lines)
    before = time.time()
    sent = deployed.run("submit", path, "--tenant", "acme")
    after = time.time()

    assert (sent.exit_code, sent.stdout) == (Exit.OK, f"{job}\n")
    assert sent.stderr.startswith("40 accepted, 0 refused in ")
    requests = decoded(deployed.requests())
    assert {envelope.identity: record.value for envelope, record in requests} == {
        Identity(f"/batch/{job}", str(n)): value for n, value in enumerate(lines, 1)
    }
    for envelope, record in requests:
        sent_at, expires_at = envelope.stamp.sent_at or 0.0, envelope.stamp.expires_at or 0.0
        assert record.key == result_id(envelope.identity).encode()
        assert (envelope.tenant, envelope.stamp.budget_seconds) == ("acme", DAY_SECONDS)
        assert before - 0.001 <= sent_at <= after
        assert expires_at == pytest.approx(sent_at + DAY_SECONDS, abs=0.002)
    for partition in range(3):
        numbers = [int(envelope.identity.id) for envelope, record in requests if record.partition == partition]
        assert numbers == sorted(numbers)


@pytest.mark.kafka
def test_a_line_may_bring_what_was_gathered_for_it(deployed, tmp_path):
    path = tmp_path / "gathered.jsonl"
    parts = {"documents": {"value": ["page"], "produced_at": "2026-01-31T12:00:00.000Z"}, "history": {"value": "hi"}}
    path.write_text(
        json.dumps({"custom_id": "a", "method": "POST", "url": "/v1/x", "body": {}, "context": parts})
        + "\n"
        + json.dumps({"custom_id": "b", "method": "POST", "url": "/v1/x", "body": {}, "context": {"documents": []}})
    )
    told = deployed.run("submit", str(path))
    assert told.exit_code == Exit.USAGE
    assert "line 2: context.documents" in told.stderr
    [record] = deployed.requests()
    assert decode_request(record.value).context == {
        "documents": ContextPart(["page"], produced_at=1_769_860_800.0),
        "history": ContextPart("hi"),
    }


@pytest.mark.kafka
def test_requests_that_ask_for_the_same_answer_share_a_key_and_those_of_two_tenants_do_not(deployed, batch):
    asked = RequestLine("a", "/v1/chat/completions", {"model": "m", "temperature": 0})
    path, _ = batch(encode_request(asked), line("b", temperature=0), line("c", temperature=1))
    deployed.run("submit", path)
    deployed.run("submit", path, "--tenant", "acme")
    keys = [record.key for record in deployed.requests()]
    of_nobody, of_acme = (
        content_key(asked, tenant=tenant, stage=f"{deployed.name}.work") or "" for tenant in (None, "acme")
    )
    assert (len(keys), keys.count(of_nobody.encode()), keys.count(of_acme.encode())) == (6, 2, 2)
    assert of_nobody != of_acme


@pytest.mark.kafka
def test_bad_lines_are_named_by_number_and_field_and_stop_no_other(deployed, batch, tmp_path):
    too_long = line(prompt="")[:-3] + b"x" * VALUE_BYTES + b'"}}'
    path, job = batch(
        line("good"),
        b"",
        b"not json",
        b'{"custom_id": "x", "method": "GET", "url": "/v1/embeddings", "body": {}}',
        b'{"custom_id": "x", "method": "POST", "url": "/v1/embeddings"}',
        too_long,
        line("good too"),
        end=CRLF,
    )
    report = tmp_path / "report.json"
    sent = deployed.run("submit", path, "--json", str(report))
    assert (sent.exit_code, sent.stdout) == (Exit.USAGE, f"{job}\n")
    assert "line 3: value: not JSON" in sent.stderr
    assert "line 4: method: only POST is possible" in sent.stderr
    assert "line 5: body: missing" in sent.stderr
    assert f"line 6: value: {len(too_long) + len(CRLF)} bytes, the limit is {VALUE_BYTES}" in sent.stderr
    assert "2 accepted, 4 refused in " in sent.stderr
    assert {(envelope.identity.id, record.value) for envelope, record in decoded(deployed.requests())} == {
        ("1", line("good")),
        ("7", line("good too")),
    }
    told = json.loads(report.read_text())
    assert (told["command"], told["job"], told["stage"]) == ("submit", job, f"{deployed.name}.work")
    assert (told["class"], told["deadline_seconds"]) == ("batch", DAY_SECONDS)
    assert (told["accepted"], told["refused"]) == (2, 4)
    assert [each["line"] for each in told["refusals"]] == [3, 4, 5, 6]


@pytest.mark.kafka
def test_a_line_of_exactly_the_limit_is_a_request(deployed, batch):
    longest = line(prompt="x" * (VALUE_BYTES - len(line(prompt=""))))
    assert len(longest) == VALUE_BYTES
    path, _ = batch(longest, longest[:-3] + b'x"}}', end=CRLF)
    sent = deployed.run("submit", path)
    assert "1 accepted, 1 refused in " in sent.stderr
    assert f"line 2: value: {VALUE_BYTES + 1 + len(CRLF)} bytes" in sent.stderr
    assert [record.value for record in deployed.requests()] == [longest]


@pytest.mark.kafka
def test_the_class_and_its_deadline_can_be_chosen(deployed, batch):
    path, _ = batch(line())
    deployed.run("submit", path, "--class", "interactive")
    deployed.run("submit", path, "--class", "interactive", "--deadline", "60s")
    stamps = [envelope.stamp for envelope, _ in decoded(deployed.requests("interactive"))]
    assert [stamp.budget_seconds for stamp in stamps] == [5.0, 60.0]
    assert deployed.requests("batch") == []


@pytest.mark.kafka
def test_a_custom_id_that_stands_twice_is_sent_twice_with_a_warning(deployed, batch):
    path, _ = batch(line("a"), line("b"), line("a"), line("a"))
    sent = deployed.run("submit", path)
    assert sent.exit_code == Exit.OK
    assert "warning: 2 lines repeat a custom_id, line " in sent.stderr
    assert "that of line 1; their results differ in response.request_id" in sent.stderr
    assert len(deployed.requests()) == 4


@pytest.mark.kafka
def test_standard_input_and_pipes_give_the_same_job_as_the_file(deployed, batch, tmp_path):
    path, job = batch(line("a"), line("b"))
    text = Path(path).read_bytes()
    assert deployed.run("submit", "-", stdin=text).stdout == f"{job}\n"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(text,))
    writer.start()
    assert deployed.run("submit", str(pipe)).stdout == f"{job}\n"
    writer.join()
    assert deployed.run("submit", path, "--json", "-").stdout.startswith('{\n  "command": "submit"')
    identities = [envelope.identity for envelope, _ in decoded(deployed.requests())]
    assert sorted(identity.id for identity in identities) == ["1"] * 3 + ["2"] * 3
    assert {identity.source for identity in identities} == {f"/batch/{job}"}


@pytest.mark.kafka
def test_more_lines_than_may_be_under_way_are_all_sent(deployed, batch):
    path, _ = batch(*(line(f"q-{n}") for n in range(2_500)))
    sent = deployed.run("submit", path)
    assert "2500 accepted, 0 refused" in sent.stderr
    assert len({envelope.identity for envelope, _ in decoded(deployed.requests())}) == 2_500


@pytest.mark.kafka
def test_ctrl_c_says_what_was_accepted_and_how_to_go_on(deployed, batch):
    path, job = batch(*(line(f"q-{n}") for n in range(200_000)))
    with deployed.start("submit", path) as submitting:
        assert submitting.stdout.readline().decode() == f"{job}\n"
        submitting.send_signal(signal.SIGINT)
        told = submitting.stderr.read().decode()
    assert submitting.returncode == 130
    assert "cut off; submitting the same file again completes it" in told
    [accepted] = re.findall(r"^(\d+) accepted, 0 refused", told, re.MULTILINE)
    assert int(accepted) <= len(deployed.requests()) < 200_000


@pytest.mark.kafka
def test_a_topic_that_is_missing_is_told_instead_of_waited_for(deployed, batch):
    path, _ = batch(line())
    deployed.catalogue.write_text(deployed.catalogue.read_text().replace(deployed.name, f"{deployed.name}-other"))
    sent = deployed.run("submit", path)
    assert (sent.exit_code, sent.stdout) == (Exit.USAGE, "")
    assert "other.work.batch; run `failsoft topics apply`" in sent.stderr


CATALOGUE = """
version: 1
defaults: {partitions: 1, replication: 1, config: {message.timestamp.type: LogAppendTime}}
classes:
  interactive: {weight: 8, deadline: 5s,  deadline_max: 60s}
  slow:        {weight: 1, deadline: 10m, deadline_max: 1h}
pipelines: {shop: [answer], support: [answer]}
topics:
  requests:     {config: {retention.ms: 7d}}
  results:      {config: {retention.ms: 7d}}
  dead-letters: {config: {retention.ms: 14d}}
"""


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "which pipeline? topics.yaml has shop, support; pass --pipeline NAME"),
        (["--pipeline", "shops"], "no pipeline 'shops' in topics.yaml, which has shop, support"),
        (["--pipeline", "shop", "--class", "batch"], "no class 'batch' in topics.yaml, which has interactive, slow"),
        (["--pipeline", "shop", "--deadline", "2h"], "at most 3600 s (deadline_max in topics.yaml)"),
        (["--pipeline", "shop", "--deadline", "0s"], "a deadline of 0 s is not possible in the class slow"),
        (["--pipeline", "shop", "--deadline", "5"], "--deadline: '5' is not a duration"),
        (["--pipeline", "shop", "--tenant", "a\tb"], "ce_tenant: has a control character"),
        (["--pipeline", "shop"], "missing.jsonl: cannot be read (No such file or directory)"),
    ],
)
def test_what_is_wrong_with_all_requests_is_told_before_any_broker_is_asked(tmp_path, options, told):
    path = tmp_path / "topics.yaml"
    path.write_text(CATALOGUE)
    command = ["submit", str(tmp_path / "missing.jsonl"), "--catalogue", str(path), "--bootstrap", "127.0.0.1:1"]
    sent = CliRunner().invoke(app, [*command, *options], catch_exceptions=False)
    assert sent.exit_code == Exit.USAGE
    assert told in sent.stderr


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "topics.yaml").write_text(CATALOGUE)
    command = ["submit", "-", "--catalogue", str(tmp_path / "topics.yaml"), "--bootstrap", "127.0.0.1:1"]
    sent = CliRunner().invoke(app, [*command, "--pipeline", "shop"], input="", catch_exceptions=False)
    assert sent.exit_code == Exit.USAGE
    assert "-: nothing is in it" in sent.stderr


def test_a_broker_that_is_not_there_is_the_machines_fault(tmp_path, batch):
    path, _ = batch(line())
    (tmp_path / "topics.yaml").write_text(CATALOGUE)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        servers = f"127.0.0.1:{taken.getsockname()[1]}"
        command = ["submit", path, "--catalogue", str(tmp_path / "topics.yaml"), "--bootstrap", servers]
        sent = CliRunner().invoke(app, [*command, "--pipeline", "shop"], catch_exceptions=False)
    assert (sent.exit_code, sent.stdout) == (Exit.ENVIRONMENT, "")
    assert f"no broker answers at {servers}" in sent.stderr
    assert "accepted" not in sent.stderr
