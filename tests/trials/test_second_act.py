"""What the second act is judged by, and what it asks and does: values, without a broker."""

import io
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from rich.console import Console

from failsoft.failover.checks import CheckName, Finding
from failsoft.failover.declared import fitted
from failsoft.failover.memory import MemoryBook
from failsoft.failover.run import Kind, Phase, Run, Step
from failsoft.failover.run import Verdict as RunVerdict
from failsoft.failover.runbook import load_runbook
from failsoft.pipeline import load_pipeline
from failsoft.policy.breaker_settings import DEFAULTS as BREAKER_DEFAULTS
from failsoft.policy.errors import EnvironmentFailure
from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.routing import Route
from failsoft.trials.ledger import ClassTally, Verdict
from failsoft.trials.load import draw_load
from failsoft.trials.second_act import script
from failsoft.trials.second_act.act import SecondAct
from failsoft.trials.second_act.command import FailoverCommand
from failsoft.trials.second_act.home import go_home
from failsoft.trials.second_act.judgement import Shown, expectations
from failsoft.trials.second_act.questions import QUESTIONS, Questions
from failsoft.trials.second_act.report import act_json, act_lines, act_table
from failsoft.trials.second_act.runbook import write_runbook
from failsoft.trials.second_act.script import (
    BACK,
    DRILL,
    EMPTY,
    FAILED,
    FAILOVER,
    HEALTHY,
    MOVED,
    REGION,
    SCENES,
    Scene,
    Verb,
)
from failsoft.trials.second_act.stage import SLICE_SECONDS, pieces
from workers.support import index

FULL, REDUCED = {1: 100}, {2: 100}
FOUND = Finding("before", CheckName.REACHABLE, 1.0, 1.0, passed=True)


def tally(levels: Mapping[int, int], **other: object) -> ClassTally:
    answered = sum(levels.values())
    outcomes = {Outcome.OK: answered}
    plain = ClassTally(answered, answered, 0, 0, levels, {}, outcomes, p50_seconds=0.3, p99_seconds=0.5)
    return replace(plain, **other)  # type: ignore[arg-type]


def shown(
    scene: Scene,
    levels: Mapping[int, int] = FULL,
    reasons: Mapping[Reason, int] | None = None,
    *,
    calls: tuple[int, int] = (100, 0),
) -> Shown:
    code = None if scene.command is None else 0
    return Shown(
        scene=scene,
        classes={"interactive": tally(levels)},
        reasons=Counter(reasons or {}),
        regions=Counter(),
        calls=dict(zip(("eu", "us"), calls, strict=True)),
        seconds=4.0,
        exit_code=code,
    )


def run(kind: Kind, verdict: RunVerdict = RunVerdict.PASSED) -> Run:
    return Run(
        name="n",
        kind=kind,
        runbook="support-eu-us",
        runbook_hash="h",
        endpoint="answer/large",
        origin="eu",
        target="us",
        steps=(Step(1.0, 1.0),),
        started_at=1.0,
        epoch=1,
        session="s",
        by="demo",
        phase=Phase.ENDED,
        verdict=verdict,
        findings=(FOUND,),
    )


VERDICT = Verdict(600, 0, 0, 3, 0, {}, {})
RUNS = (run(Kind.DRILL), run(Kind.EXECUTE))
WELL = {
    HEALTHY: shown(HEALTHY),
    EMPTY: shown(EMPTY, REDUCED, {Reason.CONTEXT_INCOMPLETE: 100}),
    DRILL: shown(DRILL, calls=(100, 20)),
    FAILED: shown(FAILED, REDUCED, {Reason.ENDPOINT_ERROR: 90, Reason.BREAKER_OPEN: 10}),
    FAILOVER: shown(FAILOVER, {1: 50, 2: 50}, {Reason.ENDPOINT_ERROR: 50}, calls=(100, 100)),
    MOVED: shown(MOVED, calls=(0, 100)),
}


def missed(*other: Shown, verdict: Verdict = VERDICT, runs: Sequence[Run] = RUNS) -> list[str]:
    scenes = WELL | {each.scene: each for each in other}
    return [each.text for each in expectations(verdict, list(scenes.values()), runs) if not each.is_met]


def test_an_act_in_which_everything_goes_as_it_must_has_shown_it():
    assert missed() == []


def urgent(scene: Scene, **other: object) -> Shown:
    return replace(WELL[scene], classes={"interactive": tally(WELL[scene].levels, **other)})


WRONG: list[tuple[str, Callable[[], list[str]], str]] = [
    ("one is lost", lambda: missed(verdict=replace(VERDICT, lost=1)), "1 lost, 0 seen twice"),
    ("one is seen twice", lambda: missed(verdict=replace(VERDICT, visible_repeats=1)), "0 lost, 1 seen twice"),
    ("one comes unasked", lambda: missed(verdict=replace(VERDICT, phantoms=1)), "0 lost"),
    ("urgent ones are late", lambda: missed(urgent(FAILOVER, in_time=94)), "failover: interactive in time: 94 of 100"),
    ("health is not level 1", lambda: missed(shown(HEALTHY, {1: 89, 2: 11})), "healthy: level 1: 89 of 100"),
    (
        "an answer without documents says that it is level 1",
        lambda: missed(shown(EMPTY, {1: 1, 2: 99}, {Reason.CONTEXT_INCOMPLETE: 100})),
        "empty index: 1 of level 1",
    ),
    (
        "a request fails for want of documents",
        lambda: missed(
            replace(
                WELL[EMPTY],
                classes={"interactive": tally(REDUCED, outcomes={Outcome.OK: 99, Outcome.FAILED: 1})},
            )
        ),
        "empty index: answered: 99 of 100",
    ),
    (
        "an answer does not say why it is not level 1",
        lambda: missed(shown(EMPTY, REDUCED, {Reason.CONTEXT_INCOMPLETE: 99, Reason.QUEUE_LONG: 1})),
        "empty index: said to be for want of context: 99 of 100",
    ),
    ("the drill fails", lambda: missed(replace(WELL[DRILL], exit_code=1)), "drill: exit code 1"),
    ("the drill left no evidence", lambda: missed(runs=RUNS[1:]), "drill: exit code 0, 0 that passed"),
    (
        "somebody goes to us by himself",
        lambda: missed(shown(FAILED, REDUCED, calls=(99, 1))),
        "eu fails: 1 calls in us",
    ),
    (
        "the failover goes back",
        lambda: missed(runs=(RUNS[0], run(Kind.EXECUTE, RunVerdict.FAILED))),
        "failover: exit code 0, 0 that passed",
    ),
    ("eu is still called", lambda: missed(shown(MOVED, calls=(6, 94))), "us serves: calls in us: 94 of 100"),
    ("quality stays away", lambda: missed(shown(MOVED, REDUCED, calls=(0, 100))), "us serves: level 1: 0 of 100"),
    ("nothing was sent", lambda: missed(shown(HEALTHY, {})), "healthy: interactive in time: 0 of 0"),
]


@pytest.mark.parametrize(("wrong", "text"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_goes_wrong_is_said(wrong: Callable[[], list[str]], text: str):
    assert any(each.startswith(text) for each in wrong()), wrong()


def act(*other: Shown, runs: Sequence[Run] = RUNS) -> SecondAct:
    scenes = list((WELL | {each.scene: each for each in other}).values())
    return SecondAct(VERDICT, scenes, runs, list(expectations(VERDICT, scenes, runs)))


def test_the_last_lines_say_whether_all_was_shown_and_what_was_not():
    assert list(act_lines(act()))[-1] == "The second act has shown all that it must."
    failed = act(shown(HEALTHY, {1: 89, 2: 11}))
    assert not failed.is_kept
    assert list(act_lines(failed))[-1] == "NOT SHOWN: healthy: level 1: 89 of 100, at least 90%"


def test_a_row_says_levels_reasons_and_calls_by_region_within_a_small_terminal():
    out = io.StringIO()
    Console(file=out, width=80).print(act_table(act()))
    rows = [line.split() for line in out.getvalue().splitlines() if line.strip()]
    empty = next(row for row in rows if row[:2] == ["empty", "index"])
    assert empty[2:] == ["100", "100%", "0%", "100%", "0%", "context_incomplete", "100", "100", "0", "0.50"]


def test_machines_get_the_same():
    report = act_json(act())
    assert (report["requests"], report["lost"], report["repeats_in_log"]) == (600, 0, 3)
    assert [phase["name"] for phase in report["phases"]] == [scene.name for scene in SCENES]
    assert report["phases"][1]["reasons"] == {"context_incomplete": 100}
    assert report["phases"][5]["calls"] == {"eu": 0, "us": 100}
    assert all(each["is_met"] for each in report["expected"])


def test_every_question_finds_a_page():
    assert all(index().nearest(question) for question in QUESTIONS)


def test_no_two_requests_are_the_same_and_none_may_share_an_answer():
    questions = Questions("run", Random(1))
    drawn = [questions.draw().body for _ in range(200)]
    assert len({str(body) for body in drawn}) == 200
    assert not any({"temperature", "seed"} & set(body) for body in drawn)


def test_the_runbook_is_one_that_the_pipeline_can_follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MODEL_SERVER_URLS", "eu=http://127.0.0.1:1,us=http://127.0.0.1:2")
    monkeypatch.delitem(sys.modules, "workers.support", raising=False)
    pipeline = load_pipeline("workers.support:pipeline")
    runbook, _ = fitted(load_runbook(write_runbook(tmp_path)), pipeline)
    assert (runbook.endpoint, runbook.origin, runbook.target) == (script.ENDPOINT, script.HOME, script.AWAY)
    limits = {
        tier.settings.name: tier.settings.limit for tier in pipeline.stages["answer"].tiers if tier.settings.is_model
    }
    assert limits == {name: model.slots for name, model in REGION.items()}


def test_a_load_in_pieces_is_the_same_load():
    load = [each for each in draw_load("run", SCENES, seed=0, asker=Questions) if each.asked.phase == DRILL.name]
    cut = pieces(load, DRILL.seconds)
    assert len(cut) == DRILL.seconds / SLICE_SECONDS
    again = [(number + each.at_seconds, each.identity) for number, piece in enumerate(cut) for each in piece]
    assert [identity for _, identity in again] == [each.identity for each in load]
    assert [at for at, _ in again] == pytest.approx([each.at_seconds for each in load])


async def came_back_from(runs: Sequence[Run], *, share: float, code: int = 0) -> bool:
    """Whether the act has gone home from where these runs have left its endpoint."""
    book, given = MemoryBook(), list[int]()
    for each in runs:
        await book.write(each)
    await book.say(Route("answer/large", "eu", "us", share, 1))

    async def roll_back() -> int:
        given.append(code)
        return code

    has_gone = await go_home(book, roll_back)
    assert has_gone is bool(given)
    return has_gone


async def test_an_endpoint_that_an_earlier_demo_has_left_away_is_taken_back_first():
    ended = replace(run(Kind.EXECUTE), ended_at=2.0)
    assert not await came_back_from([], share=0.0)
    assert await came_back_from([ended], share=1.0)
    assert await came_back_from([ended], share=0.5)
    assert await came_back_from([replace(ended, phase=Phase.SHIFT, verdict=None)], share=0.0)


async def test_an_endpoint_that_cannot_be_taken_back_ends_the_act_with_the_place_to_look():
    with pytest.raises(EnvironmentFailure, match="failover status --pipeline support"):
        await came_back_from([], share=1.0, code=3)


def test_the_load_that_comes_back_is_beside_the_scenes_and_changes_none_of_them():
    alone, beside = (draw_load("r", scenes, seed=3, asker=Questions) for scenes in (SCENES, (*SCENES, BACK)))
    assert [each.line for each in beside][: len(alone)] == [each.line for each in alone]
    assert {each.asked.phase for each in beside[len(alone) :]} == {BACK.name}
    assert BACK.seconds > BREAKER_DEFAULTS.ramp_seconds


async def test_a_command_that_may_not_begin_is_told_with_its_reason_and_its_code(tmp_path: Path):
    told: list[str] = []
    options = ["--pipeline", "workers.support:pipeline", "--bootstrap", "127.0.0.1:1"]
    command = FailoverCommand(
        tmp_path / "nothing.yaml", regions="eu=http://e,us=http://u", options=options, tell=told.append
    )
    assert await command.give(Verb.DRILL, why="a test") == 2
    assert told[0] == "$ failsoft failover drill nothing.yaml"
    assert "nothing.yaml: cannot be read" in " ".join(told[1:])
