import json
import re
import signal

import pytest
from typer.testing import CliRunner

from failsoft.cli import app
from failsoft.cli.exits import Exit
from failsoft.policy.outcome import Ending, Outcome, Reason
from failsoft.wire import Envelope, Identity, Record
from failsoft.wire.identity import result_id
from failsoft.wire.result import encode_result

JOB = "a1" * 32
OTHER_JOB = "b2" * 32
OK = Ending(Outcome.OK, Reason.NONE, tier="large", level=1, executions=1)


def record(identity: Identity, ending: Ending = OK, *, custom_id: str | None = None, answer: str = "yes") -> Record:
    return encode_result(
        ending,
        Envelope(identity),
        pipeline="shop",
        published_at=1_800_000_000.5,
        custom_id=custom_id or f"q-{identity.id}",
        body={"answer": answer} if ending.outcome is Outcome.OK else None,
    )


def of_job(count: int, job: str = JOB) -> list[Record]:
    return [record(Identity.of_batch_line(job, number)) for number in range(1, count + 1)]


def lines(records: list[Record]) -> list[bytes]:
    return sorted(each.value or b"" for each in records)


@pytest.mark.kafka
def test_results_are_printed_as_they_are_and_each_once(deployed):
    records = of_job(20)
    deployed.write([*records, *records[:5]])
    printed = deployed.run("results")
    assert printed.exit_code == Exit.OK
    assert sorted(printed.stdout_bytes.splitlines()) == lines(records)
    assert printed.stderr == f"20 results (20 ok); in all of {deployed.name}.results: repeats 5, malformed 0\n"


@pytest.mark.kafka
def test_a_job_is_named_by_its_beginning(deployed):
    mine, others = of_job(3), of_job(4, OTHER_JOB)
    deployed.write([*mine, *others, record(Identity("/elsewhere", "1"))])
    assert sorted(deployed.run("results", "--job", JOB[:8]).stdout_bytes.splitlines()) == lines(mine)
    assert sorted(deployed.run("results", "--job", OTHER_JOB).stdout_bytes.splitlines()) == lines(others)
    nothing = deployed.run("results", "--job", "c3" * 32)
    assert (nothing.exit_code, nothing.stdout) == (Exit.OK, "")
    assert nothing.stderr.startswith("0 results (none)")


@pytest.mark.kafka
def test_a_beginning_that_fits_two_jobs_is_refused(deployed):
    twin = JOB[:-2] + "ff"
    deployed.write([*of_job(1), *of_job(1, twin)])
    printed = deployed.run("results", "--job", JOB[:8])
    assert printed.exit_code == Exit.USAGE
    assert f"--job {JOB[:8]} begins two jobs" in printed.stderr
    assert JOB in printed.stderr
    assert twin in printed.stderr


@pytest.mark.kafka
def test_what_is_no_result_is_named_and_left_out(deployed):
    good, foreign = of_job(2), Record(b"k", b"{}", [("ce_type", b"other")])
    deployed.write([good[0], *[foreign] * 7, good[1]])
    printed = deployed.run("results")
    assert printed.exit_code == Exit.OK
    assert sorted(printed.stdout_bytes.splitlines()) == lines(good)
    # repeats of one key, so a reader sees the first of them only
    assert (
        len(re.findall(rf"not a result, left out: {deployed.name}.results partition \d, offset \d", printed.stderr))
        == 1
    )
    assert printed.stderr.endswith("repeats 6, malformed 1\n")
    many = [Record(None, b"%d" % n, []) for n in range(7)]
    deployed.write(many)
    printed = deployed.run("results")
    assert printed.stderr.count("not a result, left out") == 5
    assert printed.stderr.endswith("repeats 6, malformed 8\n")


@pytest.mark.kafka
def test_lines_go_to_a_file_and_the_report_counts_them(deployed, tmp_path):
    shed = record(Identity("/s", "9"), Ending(Outcome.SHED, Reason.QUEUE_LONG))
    low = record(Identity("/s", "8"), Ending(Outcome.OK, Reason.ENDPOINT_TIMEOUT, tier="small", level=2))
    records = [*of_job(3), shed, low]
    deployed.write([*records, shed])
    out, report = tmp_path / "out.jsonl", tmp_path / "report.json"
    printed = deployed.run("results", "--out", str(out), "--json", str(report))
    assert (printed.exit_code, printed.stdout) == (Exit.OK, "")
    assert sorted(out.read_bytes().splitlines()) == lines(records)
    told = json.loads(report.read_text())
    assert (told["command"], told["results"], told["repeats_in_log"], told["malformed"]) == ("results", 5, 1, 0)
    assert told["outcomes"] == {"ok": 4, "shed": 1}
    assert told["levels"] == {"1": 3, "2": 1}
    assert told["tiers"] == {"large": 3, "small": 1}
    assert json.loads(deployed.run("results", "--json", "-").stdout)["results"] == 5


@pytest.mark.kafka
def test_following_ends_when_the_expected_number_of_the_job_is_there(deployed):
    mine = of_job(4)
    deployed.write([*mine[:2], *of_job(5, OTHER_JOB)])
    with deployed.start("results", "--job", JOB, "--follow", "--expect", "4") as reading:
        first = [reading.stdout.readline() for _ in range(2)]
        deployed.write([mine[1], *mine[2:]])
        rest = reading.stdout.read().splitlines(keepends=True)
    assert reading.returncode == Exit.OK
    assert sorted(line.strip() for line in [*first, *rest]) == lines(mine)


@pytest.mark.kafka
def test_ctrl_c_is_the_orderly_end_of_following(deployed):
    mine = of_job(2)
    deployed.write(mine)
    with deployed.start("results", "--follow") as reading:
        found = [reading.stdout.readline().strip() for _ in range(2)]
        reading.send_signal(signal.SIGINT)
        told = reading.stderr.read()
    assert reading.returncode == Exit.OK
    assert sorted(found) == lines(mine)
    assert told == b"2 results (2 ok); in all of %s.results: repeats 0, malformed 0\n" % deployed.name.encode()


@pytest.mark.kafka
def test_a_reader_of_the_lines_that_leaves_ends_it_without_an_error(deployed):
    mine = of_job(3)
    deployed.write(mine[:1])
    with deployed.start("results", "--follow") as reading:
        assert reading.stdout.readline().strip() == mine[0].value
        reading.stdout.close()
        deployed.write(mine[1:])
        told = reading.stderr.read()
    assert reading.returncode == Exit.OK
    assert b"Traceback" not in told
    assert b"BrokenPipe" not in told


@pytest.mark.kafka
def test_the_trail_of_a_request_tells_how_it_ended_and_where_that_stands(deployed):
    identity = Identity.of_batch_line(JOB, 7)
    ending = Ending(
        Outcome.OK,
        Reason.ENDPOINT_TIMEOUT,
        tier="small",
        level=2,
        executions=2,
        queue_seconds=0.12,
        call_seconds=0.45,
        slack_seconds=3.2,
    )
    served = record(identity, ending, custom_id="mine")
    deployed.write([served, *of_job(3), served])
    trails = [deployed.run("results", "--id", name) for name in ("mine", "7", result_id(identity))]
    assert {trail.exit_code for trail in trails} == {Exit.OK}
    assert len({trail.stdout for trail in trails}) == 1
    told = trails[0].stdout
    for said in (
        f"request     7 of /batch/{JOB}",
        "custom_id   mine",
        f"result      {result_id(identity)}",
        "outcome     ok, status 200",
        "reason      endpoint_timeout",
        "wanted      level 1",
        "served      level 2, tier small",
        "executions  2",
        "queued      0.120 s",
        "in calls    0.450 s",
        "slack       3.200 s",
        "decided at  2027-01-15T08:00:00.500Z",
    ):
        assert f"{said}\n" in told
    place = r"partition (\d), offset (\d+), at \d{4}-\d\d-\d\dT"
    [(partition, offset)] = re.findall(rf"^stands at   {deployed.name}\.results {place}", told, re.MULTILINE)
    [(same_partition, later_offset)] = re.findall(f"^repeats     {place}", told, re.MULTILINE)
    assert partition == same_partition
    assert int(offset) < int(later_offset)

    [trail] = json.loads(deployed.run("results", "--id", "mine", "--json", "-").stdout)["requests"]
    assert (trail["result_id"], trail["outcome"], trail["slack_seconds"]) == (result_id(identity), "ok", 3.2)
    assert [each["offset"] for each in (trail["record"], *trail["repeats"])] == [int(offset), int(later_offset)]


@pytest.mark.kafka
def test_a_name_that_several_requests_share_shows_them_all_and_a_job_narrows_it(deployed):
    deployed.write([*of_job(1), *of_job(1, OTHER_JOB)])
    both = deployed.run("results", "--id", "1").stdout
    assert both.count("outcome     ok") == 2
    one = deployed.run("results", "--id", "1", "--job", OTHER_JOB[:8]).stdout
    assert f"request     1 of /batch/{OTHER_JOB}\n" in one
    assert one.count("outcome") == 1


@pytest.mark.kafka
def test_a_request_without_an_answer_says_why_and_nothing_of_it_steers_the_terminal(deployed):
    invalid = encode_result(
        Ending(Outcome.INVALID, Reason.REQUEST_REFUSED),
        Envelope(Identity("/s", "1")),
        pipeline="shop",
        published_at=0.0,
        custom_id="\x1b[2J",
        message="bad \x1b]0;title\x07",
        status_code=422,
    )
    deployed.write([invalid])
    told = deployed.run("results", "--id", "1").stdout
    assert "outcome     invalid, status 422\n" in told
    assert "served      by no tier\n" in told
    assert "repeats     none in the log\n" in told
    assert r"custom_id   '\x1b[2J'" in told
    assert r"error       'bad \x1b]0;title\x07'" in told
    assert "\x1b" not in told


@pytest.mark.kafka
def test_a_name_that_is_unknown_is_a_message_and_exit_2(deployed):
    told = deployed.run("results", "--id", "nobody")
    assert (told.exit_code, told.stdout) == (Exit.USAGE, "")
    assert f"no result of 'nobody' in {deployed.name}.results" in told.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--job", "a1b2"], "--job a1b2: not what submit prints; pass at least its first 8 characters"),
        (["--job", "../../../etc"], "not what submit prints"),
        (["--expect", "3"], "--expect counts the results of one job as they come; pass --job and --follow with it"),
        (["--id", "x", "--follow"], "leave --follow and --out out"),
        (["--id", "x", "--out", "y"], "leave --follow and --out out"),
    ],
)
def test_options_that_do_not_go_together_are_told_before_any_broker_is_asked(options, told):
    printed = CliRunner().invoke(app, ["results", "--bootstrap", "127.0.0.1:1", *options], catch_exceptions=False)
    assert printed.exit_code == Exit.USAGE
    assert told in printed.stderr
