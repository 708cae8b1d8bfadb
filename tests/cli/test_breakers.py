"""`failsoft breakers`: what it shows of what workers have said, and how an operator's word gets to them."""

import asyncio
import json
import re
import signal
import time
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from failsoft.catalogue import parse
from failsoft.cli import app
from failsoft.cli.breakers.force import _check_name
from failsoft.cli.breakers.listing import headlines, lines
from failsoft.cli.breakers.notice_board import NoticeBoard
from failsoft.cli.breakers.reading import Place
from failsoft.cli.exits import Exit
from failsoft.kafka import Connection, ViewRecord, admin
from failsoft.policy.breaker_control import Force
from failsoft.policy.call_counts import Counts
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.register import Cause, Phase, Register, Word
from failsoft.wire import Record
from failsoft.wire.control import BreakerControl, decode_control, encode_control
from failsoft.wire.register import encode_register
from tests.cli.conftest import CATALOGUE, Deployment

BREAKER = "work/large"
NOW = 1_800_000_000.0
OPEN = Word(1, Phase.OPEN, 5.0, 0, frozenset({Cause.FAILURE_RATE}))
SHARED = """
  breakers: {partitions: 1, config: {cleanup.policy: "compact,delete"}}
  controls: {partitions: 1, config: {cleanup.policy: compact}}
"""


def of(record: Record, at: float = NOW) -> ViewRecord:
    return ViewRecord(
        0, 0, record.key, record.value, tuple((name, value or b"") for name, value in record.headers), at, 0.0
    )


def said(process: str, word: Word, at: float, *buckets: Counts, since: float = 0.0) -> ViewRecord:
    return of(encode_register(BREAKER, process, Register(word, since, buckets)), at)


def board(*registers: ViewRecord, controls: tuple[ViewRecord, ...] = ()) -> NoticeBoard:
    made = NoticeBoard()
    made.registers(registers)
    made.controls(controls)
    return made


def text(found: NoticeBoard, now: float = NOW) -> str:
    return "\n".join(lines(found, now))


def test_a_breaker_is_shown_as_all_say_it_stands_with_who_opened_it_and_why():
    found = board(
        said("a", Word(), NOW - 9, Counts(3)),
        said("b", OPEN, NOW - 2),
        said("c", OPEN, NOW - 1, since=1.0),
        said("a", OPEN, NOW),
    )
    shown = text(found)
    assert "work/large                       open            1  opened 2 s ago for 5.0 s by b: failure_rate" in shown
    assert all(f"    {process}: " in shown for process in "abc")


@pytest.mark.parametrize(
    ("word", "age", "state"),
    [
        (Word(), 1.0, "closed"),
        (OPEN, 1.0, "open"),
        (OPEN, 6.0, "waited"),
        (replace(OPEN, phase=Phase.HALF_OPEN), 6.0, "half_open"),
        (replace(OPEN, phase=Phase.CLOSED), 6.0, "closed"),
    ],
)
def test_the_state_of_a_breaker_in_a_word(word, age, state):
    assert board(said("a", word, NOW - age)).breakers[BREAKER].stand(NOW).state(NOW) == state


def test_each_worker_s_counts_are_those_of_the_last_half_minute_and_the_silent_are_only_counted():
    found = board(
        said("a", Word(), NOW - 7, Counts(5, 4, 1), *[Counts(1)] * 9), said("gone", Word(), NOW - 31, Counts(99))
    )
    assert "    a: 12 calls, 4 failed, 1 slow, 0 probes; says closed (0) 7 s ago" in text(found)
    assert "    1 more not heard for half a minute" in text(found)
    assert "99" not in text(found)


def test_an_operator_s_word_is_shown_as_long_as_it_holds_and_without_what_a_terminal_would_obey():
    control = BreakerControl(BREAKER, Force.OPEN, "ada", "they \x1b[2J are ill", NOW + 60)
    found = board(said("a", Word(), NOW), controls=(of(encode_control(control)),))
    assert "forced open until 2027-01-15T08:01:00.000Z by ada: they ?[2J are ill" in text(found)
    assert "forced" not in text(found, NOW + 61)


def test_a_word_on_a_tier_holds_in_all_its_regions():
    found = NoticeBoard()
    found.registers([of(encode_register(f"{BREAKER}/eu", "a", Register()))])
    found.controls([of(encode_control(BreakerControl(BREAKER, Force.CLOSED, "ada", "so", NOW + 60)))])
    assert found.forced(f"{BREAKER}/eu", NOW) is not None
    assert found.forced("other/large/eu", NOW) is None


@pytest.mark.parametrize("first", [f"{BREAKER}/us", BREAKER])
def test_of_a_word_on_a_tier_and_one_on_a_region_of_it_the_later_holds_as_at_workers(first):
    second = BREAKER if first != BREAKER else f"{BREAKER}/us"
    found = NoticeBoard()
    found.controls([of(encode_control(BreakerControl(first, Force.OPEN, "ada", "why", NOW + 60)))])
    assert found.forced(f"{BREAKER}/us", NOW) is not None
    found.controls([of(encode_control(BreakerControl(second, Force.AUTO, "bob", "why", None)))])
    assert found.forced(f"{BREAKER}/us", NOW) is None
    found.controls([of(encode_control(BreakerControl(first, Force.CLOSED, "eve", "why", NOW + 60)))])
    held = found.forced(f"{BREAKER}/us", NOW)
    assert held is not None
    assert held.force is Force.CLOSED


def test_what_nobody_can_read_is_counted():
    found = board(ViewRecord(0, 0, b"x", b"{", (), NOW, 0.0))
    found.registers([said("a", Word(), NOW)])
    assert "1 records could not be read" in text(found)


def test_news_is_a_change_of_state_and_not_of_counts():
    found = board(said("a", Word(), NOW, Counts(1)))
    before = headlines(found, NOW)
    found.registers([said("a", Word(), NOW, Counts(5, 1))])
    assert headlines(found, NOW) == before
    found.registers([said("a", OPEN, NOW)])
    assert headlines(found, NOW)[BREAKER] == "work/large open, epoch 1, opened by a: failure_rate"


# Between stages.

BEFORE = "stage:answer/interactive"
SILENT = Word(1, Phase.OPEN, 5.0, 0, frozenset({Cause.SILENCE}))


def said_before(process: str, word: Word, at: float, since: float = 0.0) -> ViewRecord:
    return of(encode_register(BEFORE, process, Register(word, since)), at)


def test_between_stages_who_lets_least_through_is_shown_since_when_and_why():
    found = board(
        said_before("a", replace(OPEN, epoch=9, phase=Phase.CLOSED), NOW - 1),
        said_before("b", SILENT, NOW - 1, since=1.0),
        said_before("c", replace(OPEN, epoch=4), NOW, since=1.0),
        said_before("d", replace(OPEN, epoch=5, phase=Phase.HALF_OPEN), NOW, since=99.0),
    )
    [first, *_] = list(lines(found, NOW))[1:]
    assert first == f"{BEFORE:<32} open            1  opened 2 s ago for 5.0 s by b: silence"
    assert headlines(found, NOW)[BEFORE] == f"{BEFORE} open, epoch 1, opened by b: silence"


def test_of_those_who_opened_for_the_same_news_one_goes_on_being_shown_whoever_s_word_comes_a_little_later():
    found, shown = board(), set()
    for late in ({"a": 0.02, "b": 0.0}, {"a": 0.0, "b": 0.02}):
        for process, seconds in late.items():
            found.registers([said_before(process, SILENT, NOW + seconds, since=1.0)])
        shown.add(headlines(found, NOW + 1)[BEFORE])
    assert shown == {f"{BEFORE} open, epoch 1, opened by a: silence"}


def test_between_stages_nobody_is_shown_to_stop_anything_who_does_not_speak_any_more():
    found = board(said_before("gone", SILENT, NOW - 31), said_before("a", Word(), NOW))
    assert found.breakers[BEFORE].stand(NOW).state(NOW) == "closed"
    assert board(said_before("gone", SILENT, NOW - 31)).breakers[BEFORE].stand(NOW).state(NOW) == "closed"
    assert found.breakers[BEFORE].stand(NOW - 10).state(NOW - 30) == "open"


def test_a_word_on_a_stage_holds_for_all_classes():
    found = board(said_before("a", Word(), NOW))
    found.controls([of(encode_control(BreakerControl("stage:answer", Force.OPEN, "ada", "so", NOW + 60)))])
    assert f"{BEFORE} closed, epoch 0; forced open until" in headlines(found, NOW)[BEFORE]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("stage:answer", None),
        (BEFORE, None),
        ("stage:retrieve", "stage:retrieve: no stage of support with one before it; it has answer"),
        ("stage:anwser", "no stage of support with one before it; it has answer"),
        ("stage:answer/large", "no class 'large' in topics.yaml, which has interactive"),
        ("stage:answer/", "no class ''"),
    ],
)
def test_a_breaker_before_a_stage_is_known_by_topics_yaml(name, complaint):
    catalogue = CATALOGUE.format(name="support").replace("[work]", "[retrieve, answer]")
    place = Place(parse(catalogue), "support", Connection("127.0.0.1:1"))
    if complaint is None:
        _check_name(place, name, NoticeBoard())
    else:
        with pytest.raises(ConfigurationError, match=re.escape(complaint)):
            _check_name(place, name, NoticeBoard())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["open", "--why", "x"], "open needs an end"),
        (["closed", "--why", "x"], "closed needs an end"),
        (["auto", "--why", "x", "--until", "1h"], "auto has no end"),
        (["open", "--why", " ", "--until", "1h"], "--why is empty"),
        (["open", "--why", "x", "--until", "soon"], "--until: 'soon' is not a duration"),
        (["open", "--why", "x", "--until", "0s"], "it would end at once"),
        (["open", "--why", "x", "--until", "2020-01-31T12:00:00Z"], "is past"),
    ],
)
def test_a_word_that_cannot_be_is_refused_before_anybody_is_asked(arguments, complaint):
    found = CliRunner().invoke(app, ["breakers", "force", BREAKER, *arguments])
    assert found.exit_code == Exit.USAGE
    assert complaint in found.stderr


def test_a_catalogue_without_the_topics_is_told_what_is_missing(tmp_path):
    (tmp_path / "topics.yaml").write_text(CATALOGUE.format(name="alone"))
    found = CliRunner().invoke(
        app, ["breakers", "--catalogue", str(tmp_path / "topics.yaml"), "--bootstrap", "127.0.0.1:1"]
    )
    assert found.exit_code == Exit.USAGE
    assert "topics.yaml has no topic of breakers" in found.stderr


# On a real broker.


@pytest.fixture
def sharing(tmp_path: Path, kafka_bootstrap: str) -> Deployment:
    name = f"test-{uuid4().hex[:8]}"
    path = tmp_path / "topics.yaml"
    path.write_text(CATALOGUE.format(name=name) + SHARED)
    connection = Connection(kafka_bootstrap)
    asyncio.run(admin.apply(connection, parse(path.read_text())))
    return Deployment(name, path, connection)


def put(sharing: Deployment, *records: Record) -> None:
    asyncio.run(sharing._write(f"{sharing.name}.breakers", records))


def controls(sharing: Deployment) -> list[BreakerControl]:
    found = asyncio.run(sharing._read(f"{sharing.name}.controls"))
    return [control for each in found if (control := decode_control(each.value, each.headers)) is not None]


@pytest.mark.kafka
def test_what_workers_have_said_is_listed_for_people_and_for_machines(sharing):
    assert sharing.run("breakers").stdout == "none: no worker has said anything of a breaker\n"
    put(sharing, encode_register(BREAKER, "a", Register(OPEN, buckets=(Counts(4, 3, 0),))))
    listed = sharing.run("breakers")
    assert listed.exit_code == Exit.OK
    assert "work/large" in listed.stdout
    report = json.loads(sharing.run("breakers", "--json", "-").stdout)
    assert report["command"] == "breakers"
    [breaker] = report["breakers"]
    assert (breaker["breaker"], breaker["epoch"], breaker["opened_by"]) == (BREAKER, 1, "a")
    assert (breaker["causes"], breaker["forced"]) == (["failure_rate"], None)
    assert [(each["process"], each["calls"], each["failed"]) for each in breaker["workers"]] == [("a", 4, 3)]


@pytest.mark.kafka
def test_a_word_is_written_with_who_why_and_until_and_shown_and_taken_back(sharing):
    put(sharing, encode_register(BREAKER, "a", Register()))
    before = time.time()
    given = sharing.run("breakers", "force", BREAKER, "open", "--why", "a drill", "--until", "30m", "--who", "ada")
    assert given.exit_code == Exit.OK, given.stderr
    [control] = controls(sharing)
    assert (control.breaker, control.force, control.who, control.why) == (BREAKER, Force.OPEN, "ada", "a drill")
    assert control.until is not None
    assert before + 1799 <= control.until <= time.time() + 1801
    assert "forced open until" in sharing.run("breakers").stdout
    assert sharing.run("breakers", "force", BREAKER, "auto", "--why", "over").exit_code == Exit.OK
    assert controls(sharing)[-1].force is Force.AUTO
    assert "forced" not in sharing.run("breakers").stdout


@pytest.mark.kafka
def test_a_misspelt_breaker_is_refused_naming_the_nearest(sharing):
    put(sharing, encode_register(BREAKER, "a", Register()), encode_register("work/small/eu", "a", Register()))

    def force(name: str):
        return sharing.run("breakers", "force", name, "open", "--why", "x", "--until", "1h")

    assert "the nearest is work/large" in force("work/larg").stderr
    assert "neither <stage>/<tier> nor stage:<stage> with a stage of" in force("word/large").stderr
    assert "neither <stage>/<tier>" in force("work").stderr
    assert "with one before it; it has none" in force("stage:work").stderr
    assert controls(sharing) == []
    assert force("work/small").exit_code == Exit.OK, "all its regions"


@pytest.mark.kafka
def test_following_tells_what_changes_until_it_is_interrupted(sharing):
    put(sharing, encode_register(BREAKER, "a", Register()))
    following = sharing.start("breakers", "--follow")
    try:
        assert b"BREAKER" in following.stdout.readline()
        assert b"closed" in following.stdout.readline()
        assert b"    a: " in following.stdout.readline()
        put(sharing, encode_register(BREAKER, "a", Register(OPEN)))
        assert b"work/large open, epoch 1, opened by a: failure_rate" in following.stdout.readline()
    finally:
        following.send_signal(signal.SIGINT)
        _, problem = following.communicate(timeout=30)
    assert following.returncode == 0, problem
