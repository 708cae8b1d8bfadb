"""A history survives the death of its writers, and one that cannot be believed is refused with file and line."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from failsoft.cli import app
from failsoft.kafka.results import ResultRecord
from failsoft.policy.errors import EnvironmentFailure
from failsoft.policy.outcome import Ending, Outcome, Reason
from failsoft.runtime.line_file import LineFile
from failsoft.trials.history import (
    FaultHistory,
    OffsetHistory,
    ProducerHistory,
    ReaderHistory,
    TrialClass,
    Unreadable,
    load_history,
    text_digest,
)
from failsoft.trials.history.dump import dead_letter_line, request_line, result_line
from failsoft.trials.history.lines import FaultEndLine, FaultSkippedLine, OkLine, ShownLine, UnknownLine
from failsoft.trials.history.loading import UnreadableHistory
from failsoft.wire import Envelope, Identity
from failsoft.wire.dead_letter import DeadLetter, encode_dead_letter
from failsoft.wire.envelope import encode_request_headers
from failsoft.wire.identity import result_id
from failsoft.wire.record import ForeignHeaders
from failsoft.wire.result import encode_result
from tests.trials.histories import CANARIES, PRODUCER, RESULTS, good_history, write_history

WRITES_UNTIL_IT_IS_KILLED = """
import sys
from pathlib import Path
from failsoft.trials.history import ProducerHistory

history = ProducerHistory(Path(sys.argv[1]), 2)
for number in range(10**9):
    history.invoke(f"id-more-{number}", topic="p.s.fast", request_class="fast")
    if number == 1000:
        print("going", flush=True)
"""
REQUEST = Identity("/test", "1")
OK = Ending(Outcome.OK, Reason.NONE, tier="large", level=1)
FAST = TrialClass("p.s.fast", 5.0, 60.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The history of a trial whose promises were kept."""
    write_history(tmp_path, good_history())
    return tmp_path


def record(
    headers: ForeignHeaders, value: bytes | None, *, key: bytes | None = None, at: float = 1000.0
) -> ResultRecord:
    return ResultRecord(0, 7, at, key, value, tuple((name, found or b"") for name, found in headers))


def check(folder: Path, *arguments: str):
    return CliRunner().invoke(app, ["check-history", str(folder), *arguments], catch_exceptions=False)


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


# Writing


def test_what_is_written_is_read_back(folder: Path):
    written, read = good_history(), load_history(folder)
    assert read == written


def test_what_a_producer_said_before_it_was_killed_is_there(folder: Path):
    with subprocess.Popen(
        [sys.executable, "-c", WRITES_UNTIL_IT_IS_KILLED, str(folder)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
    lines = load_history(folder).producers["producer-2.jsonl"]
    assert len(lines) > 1000
    assert [line.call for line in lines] == list(range(1, len(lines) + 1))
    assert check(folder).exit_code == 0  # sends of which nothing is known, and of which nothing was seen


def test_a_file_has_one_writer(tmp_path: Path):
    LineFile(tmp_path / "a.jsonl").close()
    with pytest.raises(EnvironmentFailure, match=r"a\.jsonl: cannot be made"):
        LineFile(tmp_path / "a.jsonl")


def test_a_full_disk_is_an_error_and_not_a_gap():
    with Path("/dev/full").open("wb") as full:
        file = LineFile.__new__(LineFile)
        file._path, file._file = Path("/dev/full"), full.fileno()
        with pytest.raises(EnvironmentFailure, match="No space left"):
            file.append({"event": "invoke"})


def test_writers_write_what_they_are_told(folder: Path):
    producer = ProducerHistory(folder, 5)
    first = producer.invoke("id-a", topic="p.s.fast", request_class="fast", budget_seconds=1.0, tenant="ann")
    second = producer.invoke(None, topic="p.s.fast", request_class="fast", is_poison=True)
    producer.unknown(first, "timeout")
    producer.ok(second, "id-b", partition=1, offset=3, appended_at=5.0)
    producer.close()
    reader = ReaderHistory(folder, 5, is_from_beginning=False)
    reader.shown(record([], b"", key=b"id-a"))
    reader.close()
    (folder / "faults.jsonl").unlink()
    faults = FaultHistory(folder)
    gone = Unreadable("p.s.fast", 0, 3)
    faults.end(faults.begin("topic recreated", "p.s.fast"), unreadable=[gone], recreated=["p.s.fast"])
    faults.skipped("full disk", "no root")
    (folder / "offsets.jsonl").unlink()
    OffsetHistory(folder).sample({("p.s.fast", 0): 4}, {("p.s.fast", 0): (1, 9), ("p.s.fast", 1): (0, 2)})
    read = load_history(folder)
    *_, unknown, ok = read.producers["producer-5.jsonl"]
    assert isinstance(unknown, UnknownLine)
    assert isinstance(ok, OkLine)
    assert (unknown.call, unknown.problem, ok.call, ok.id, ok.offset) == (1, "timeout", 2, "id-b", 3)
    shown = read.readers["reader-5.jsonl"][-1]
    assert isinstance(shown, ShownLine)
    assert (shown.id, shown.offset) == ("id-a", 7)
    _, end, skipped = read.faults
    assert isinstance(end, FaultEndLine)
    assert isinstance(skipped, FaultSkippedLine)
    assert (end.unreadable, end.recreated, skipped.kind) == ((gone,), ("p.s.fast",), "full disk")
    assert read.samples[0].places == (("p.s.fast", 0, 4, 1, 9), ("p.s.fast", 1, None, 0, 2))


# Reading


@pytest.mark.parametrize("name", [PRODUCER, "worker-one.s.jsonl", "faults.jsonl", "offsets.jsonl", "reader-1.jsonl"])
def test_a_torn_last_line_was_not_said(folder: Path, name: str):
    append(folder / name, b'{"at":1000000.0,"ev')
    assert load_history(folder) == good_history()


@pytest.mark.parametrize("name", [PRODUCER, "worker-two.s.jsonl", "offsets.jsonl", f"log-{RESULTS}.0.jsonl"])
def test_a_torn_line_elsewhere_is_named(folder: Path, name: str):
    lines = (folder / name).read_bytes().splitlines(keepends=True)
    lines[2] = lines[2][:20]
    (folder / name).write_bytes(b"".join(lines))
    with pytest.raises(UnreadableHistory, match=f"{name}, line 3"):
        load_history(folder)


def test_a_line_that_says_something_else_is_named(folder: Path):
    append(folder / "faults.jsonl", b'{"event":"begin","at":"yesterday","fault":2,"kind":"kill","target":"x"}\n')
    with pytest.raises(UnreadableHistory, match=r"faults\.jsonl, line 3: begin\.at"):
        load_history(folder)


@pytest.mark.parametrize("missing", [-1, 7], ids=["its end", "a record"])
def test_a_dump_that_is_not_whole_is_refused(folder: Path, missing: int):
    path = folder / f"log-{RESULTS}.0.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[missing]
    path.write_bytes(b"".join(lines))
    with pytest.raises(UnreadableHistory, match=r"not whole; it ends after 22[12] records"):
        load_history(folder)


def test_a_topic_without_a_dump_is_refused(folder: Path):
    (folder / f"log-{RESULTS}.0.jsonl").unlink()
    with pytest.raises(UnreadableHistory, match=f"no dump of {RESULTS}"):
        load_history(folder)


def test_a_history_of_nobody_is_refused(folder: Path):
    (folder / PRODUCER).unlink()
    with pytest.raises(UnreadableHistory, match="no producer"):
        load_history(folder)


# What a dump says of records


def test_a_request_in_the_log_has_the_expiry_that_its_worker_can_know():
    headers = encode_request_headers(Envelope(REQUEST, tenant="ann"), budget_seconds=3.0, sent_at=999.5)
    line = request_line(record(headers, b"{}"), FAST)
    assert (line.id, line.tenant, line.offset) == (result_id(REQUEST), "ann", 7)
    assert line.expires_at == pytest.approx(1002.5)


def test_a_malformed_request_in_the_log_is_named_and_has_no_expiry():
    line = request_line(record([("ce_floor", b"nine")], b"{}"), FAST)
    assert (line.id, line.expires_at) == (result_id(Identity.of_place("p.s.fast", 0, 7)), None)


def test_a_result_in_the_log_is_read_with_the_canaries_in_it():
    sent = encode_result(OK, Envelope(REQUEST), pipeline="p", published_at=1.0, custom_id="c", body={"x": "canary-bob"})
    line = result_line(record(sent.headers, sent.value, key=sent.key), CANARIES)
    assert (line.id, line.outcome, line.tier, line.problem) == (result_id(REQUEST), "ok", "large", None)
    assert line.canaries == ("bob",)


def test_an_answer_in_the_log_says_what_it_was_asked():
    for body, answers in (({"asked": "why"}, text_digest("why")), ({"asked": 1}, None), ({}, None)):
        sent = encode_result(OK, Envelope(REQUEST), pipeline="p", published_at=1.0, custom_id="c", body=body)
        assert result_line(record(sent.headers, sent.value, key=sent.key), {}).answers == answers


def test_a_result_that_is_none_or_not_its_own_says_why():
    sent = encode_result(OK, Envelope(REQUEST), pipeline="p", published_at=1.0, custom_id="c", body={})
    forged = [("ce_requestid", b"2") if name == "ce_requestid" else (name, value) for name, value in sent.headers]
    assert "not that of the request" in (result_line(record(forged, sent.value, key=sent.key), {}).problem or "")
    assert "its key is not its id" in (result_line(record(sent.headers, sent.value, key=b"x"), {}).problem or "")
    assert result_line(record([], b"?"), {}).id is None


def test_a_dead_letter_says_where_it_comes_from():
    letter = DeadLetter("p.s.fast", 1, 5, "p.s", Reason.MALFORMED, "depth", "MalformedRecord")
    sent = encode_dead_letter(letter)
    line = dead_letter_line(record(sent.headers, sent.value, key=sent.key))
    assert (line.of_topic, line.of_partition, line.of_offset, line.reason) == ("p.s.fast", 1, 5, "malformed")
    assert dead_letter_line(record([], b"?")).problem is not None


def test_records_that_differ_anywhere_have_different_digests():
    sent = encode_result(OK, Envelope(REQUEST), pipeline="p", published_at=1.0, custom_id="c", body={})
    records = [
        record(sent.headers, sent.value, key=sent.key),
        record(sent.headers, sent.value, key=b""),
        record(sent.headers, sent.value, key=None),
        record(sent.headers[1:], sent.value, key=sent.key),
        record(sent.headers, b"", key=sent.key),
    ]
    assert len({result_line(each, {}).digest for each in records}) == len(records)


# The command


def test_a_kept_promise_exits_with_0_and_reports_the_keys_of_all_trials(folder: Path):
    done = check(folder, "--json", "-")
    assert done.exit_code == 0
    found = orjson.loads(done.stdout)
    assert found["command"] == "check-history"
    keys = ("requests", "lost", "visible_repeats", "repeats_in_log", "phantoms", "commits_ahead")
    assert [found[key] for key in keys] == [222, 0, 0, 0, 0, 0]
    assert (found["executed_after_expiry"], found["lost_by_operator"]) == (0, 0)
    assert found["lost_share_bound"] == pytest.approx(3 / 222)
    assert found["faults"]["kill"]["recovered"] == 1
    assert found["invariants"]["order"]["standing"] == "not applicable"


def test_a_broken_promise_exits_with_1_and_shows_the_first_breaches(folder: Path):
    path = folder / "reader-1.jsonl"
    again = path.read_bytes().splitlines(keepends=True)[5]
    append(path, again)
    done = check(folder)
    assert done.exit_code == 1
    assert "duplicate-visible: reader-1.jsonl was shown id-" in done.stdout
    assert "A PROMISE WAS BROKEN." in done.stdout


def test_an_unreadable_history_exits_with_2(tmp_path: Path):
    done = check(tmp_path)
    assert done.exit_code == 2
    assert "trial.json: cannot be read" in done.stderr
