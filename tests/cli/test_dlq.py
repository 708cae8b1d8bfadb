"""`failsoft dlq` on a real broker: what it lists, shows, sends and leaves alone, and what it keeps to itself."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

from failsoft.catalogue import dead_letters_topic, requests_topic
from failsoft.cli import app
from failsoft.cli.exits import Exit
from failsoft.policy.outcome import Reason
from failsoft.wire import Envelope, Identity, Record
from failsoft.wire.dead_letter import DeadLetter, encode_dead_letter
from failsoft.wire.envelope import encode_request_headers
from failsoft.wire.identity import result_id
from failsoft.wire.limits import LARGE_VALUE_BYTES

NOW = 1_800_000_000.0


def letter(deployed, id_: str, *, reason: Reason = Reason.POISON, value: bytes | None = None) -> DeadLetter:
    envelope = Envelope(Identity("/app", id_), tenant="acme", correlation=(("correlation_id", b"\x1b[2J"),))
    headers = tuple(encode_request_headers(envelope, budget_seconds=5.0, sent_at=NOW))
    topic, stage = requests_topic(deployed.name, "work", "batch"), f"{deployed.name}.work"
    secret = f"the secret of {id_}".encode() if value is None else value
    return DeadLetter(topic, 0, hash_of(id_), stage, reason, "why it was", "an error", id_.encode(), secret, headers)


def hash_of(id_: str) -> int:
    return int.from_bytes(id_.encode(), "big")


def put(deployed, *letters: DeadLetter) -> None:
    asyncio.run(deployed._write(dead_letters_topic(deployed.name), [encode_dead_letter(each) for each in letters]))


def id_of(name: str) -> str:
    return result_id(Identity("/app", name))


@pytest.mark.kafka
def test_open_letters_are_listed_and_counted_without_what_they_hold(deployed):
    put(deployed, letter(deployed, "a"), letter(deployed, "b", reason=Reason.MALFORMED), letter(deployed, "c"))
    listed = deployed.run("dlq", "list")
    assert listed.exit_code == Exit.OK
    assert all(id_of(name) in listed.stdout for name in "abc")
    assert listed.stdout.endswith("3 (2 poison, 1 malformed)\n")
    assert "secret" not in listed.stdout
    filtered = json.loads(deployed.run("dlq", "list", "--reason", "malformed", "--since", "1h", "--json", "-").stdout)
    assert [each["result_id"] for each in filtered["letters"]] == [id_of("b")]
    assert (filtered["reasons"], filtered["open"], filtered["handled"]) == ({"malformed": 1}, 3, 0)
    assert deployed.run("dlq", "list", "--until", "1h").stdout == "none\n"


@pytest.mark.kafka
def test_one_letter_is_shown_whole_and_what_was_asked_only_where_it_is_wanted(deployed):
    put(deployed, letter(deployed, "a"))
    shown = deployed.run("dlq", "show", id_of("a")[:8])
    assert shown.exit_code == Exit.OK
    for said in (id_of("a"), "a of /app", "why it was", "an error", "poison", "ce_tenant: acme", "'\\x1b[2J'"):
        assert said in shown.stdout
    assert "secret" not in shown.stdout
    assert "the secret of a" in deployed.run("dlq", "show", "a", "--payload").stdout
    assert "secret" not in deployed.run("dlq", "show", "a", "--json", "-").stdout
    told = json.loads(deployed.run("dlq", "show", "a", "--payload", "--json", "-").stdout)
    assert told["letters"][0]["value"] == "the secret of a"
    missing = deployed.run("dlq", "show", "nobody")
    assert (missing.exit_code, missing.stdout) == (Exit.USAGE, "")
    assert "no dead letter 'nobody'" in missing.stderr


@pytest.mark.kafka
def test_a_replay_sends_what_was_chosen_and_says_what_it_leaves(deployed):
    put(deployed, letter(deployed, "a"), letter(deployed, "b"), letter(deployed, "big", value=bytes(LARGE_VALUE_BYTES)))
    dry = deployed.run("dlq", "replay", "--dry-run", "--id", "a")
    assert (dry.exit_code, dry.stdout) == (Exit.OK, "to replay: 1 (1 poison)\n1 would be replayed\n")
    assert not deployed.requests()
    assert deployed.run("dlq", "replay", "--id", "a").exit_code == Exit.OK
    rest = deployed.run("dlq", "replay", "--deadline", "1h")
    assert (rest.exit_code, rest.stdout) == (Exit.USAGE, "to replay: 2 (2 poison)\n1 replayed, 1 not: no_value\n")
    assert f"not replayed: {id_of('big')}: its value of" in rest.stderr
    sent = {dict(record.headers)["ce_source"].decode(): dict(record.headers) for record in deployed.requests()}
    assert sent.keys() == {f"/replay/{id_of('a')}", f"/replay/{id_of('b')}"}
    assert {headers["ce_budgetms"] for headers in sent.values()} == {b"86400000", b"3600000"}
    assert {headers["correlation_id"] for headers in sent.values()} == {b"\x1b[2J"}
    assert deployed.run("dlq", "list").stdout.endswith("1 (1 poison); 2 handled are shown by --all\n")


@pytest.mark.kafka
def test_one_letter_can_be_replayed_again_and_its_trail_names_the_new_result(deployed):
    put(deployed, letter(deployed, "a"))
    deployed.run("dlq", "replay")
    assert deployed.run("dlq", "replay", "--id", "a").stdout.startswith("to replay: none\n")
    assert deployed.run("dlq", "replay", "--id", "a", "--again").stdout.endswith("1 replayed\n")
    assert sorted(dict(record.headers)["ce_id"] for record in deployed.requests()) == [b"1", b"2"]
    shown = deployed.run("dlq", "show", "a").stdout
    assert result_id(Identity(f"/replay/{id_of('a')}", "2")) in shown
    assert f"sent to     {deployed.name}.work.batch" in shown


@pytest.mark.kafka
def test_dropped_letters_are_open_no_more_and_all_are_dropped_only_on_demand(deployed):
    put(deployed, letter(deployed, "a"), letter(deployed, "b"))
    nothing = deployed.run("dlq", "drop")
    assert nothing.exit_code == Exit.USAGE
    assert "--until 0s for all" in nothing.stderr
    assert deployed.run("dlq", "drop", "--id", "a", "--dry-run").stdout == "would be dropped: 1 (1 poison)\n"
    assert deployed.run("dlq", "drop", "--id", "a").stdout == "dropped: 1 (1 poison)\n"
    told = json.loads(deployed.run("dlq", "drop", "--until", "0s", "--json", "-").stdout)
    assert (told["selected"], told["dropped"]) == (1, 1)
    assert deployed.run("dlq", "replay").stdout == "to replay: none\n0 replayed\n"
    assert "dropped" in deployed.run("dlq", "list", "--all").stdout


@pytest.mark.kafka
def test_what_is_no_letter_of_ours_is_counted(deployed):
    asyncio.run(deployed._write(dead_letters_topic(deployed.name), [Record(None, b"v", [("type", b"theirs")])]))
    assert deployed.run("dlq", "list").stdout == "none; not dead letters of ours: 1\n"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["replay", "--deadline", "5s", "--keep-deadline"], "say one of them"),
        (["replay", "--again"], "name it with --id"),
        (["list", "--pipeline", "digits", "--since", "yesterday"], "--since yesterday: neither how long ago"),
        (["drop"], "drop what?"),
    ],
)
def test_what_makes_no_sense_is_refused_before_a_broker_is_asked(arguments, problem, monkeypatch):
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    said = CliRunner().invoke(app, ["dlq", *arguments], catch_exceptions=False)
    assert said.exit_code == Exit.USAGE
    assert problem in said.stderr
