"""What a run comes to: step by step, against another operator, and killed at every step."""

import asyncio
import contextlib
from dataclasses import replace

import pytest

from failsoft.failover.checks import CheckName
from failsoft.failover.operator import Refused, TakenOver
from failsoft.failover.run import Kind, Phase, Run, Verdict
from tests.failover.world import RUNBOOK, SHADOW, WELL, Killed, World, finish

DAY_SECONDS = 86_400.0
SICK = {**WELL, CheckName.P95: 9.0}


def executed(world: World) -> Run:
    return world.run(world.operator().begin(Kind.EXECUTE))


def test_the_real_thing_goes_by_its_steps_until_all_is_in_the_target():
    world = World()
    world.drilled()
    before = len(world.book.routes)
    run = executed(world)
    assert run.verdict is Verdict.PASSED
    assert [route.share for route in world.book.routes[before:]] == [0.01, 0.1, 0.5, 1.0]
    assert {route.epoch for route in world.book.routes[before:]} == {run.epoch}
    assert run.ended_at is not None
    assert run.ended_at - run.started_at >= sum(step.hold_seconds for step in RUNBOOK.steps)
    assert world.share == 1.0


def test_a_drill_moves_what_it_declares_and_brings_it_back():
    world = World()
    run = world.drilled()
    assert run.verdict is Verdict.PASSED
    assert [route.share for route in world.book.routes] == [0.01, 0.0]
    assert [str(found.at) for found in run.findings] == ["before", "before", "1%", "1%"]
    assert (run.by, run.runbook_hash, run.is_open) == ("ann", "h1", False)


def test_a_drill_by_shadow_calls_moves_nothing():
    world = World()
    assert world.drilled(SHADOW).verdict is Verdict.PASSED
    assert world.book.routes == []


@pytest.mark.parametrize("step", range(5))
def test_a_check_that_fails_takes_everything_back_at_any_step(step):
    world = World()
    world.drilled()
    world.figures = [WELL] * step + [SICK]
    run = executed(world)
    assert (run.verdict, run.is_open) == (Verdict.FAILED, False)
    assert world.route is not None
    assert (world.share, world.route.epoch) == (0.0, run.epoch), (
        "also where nothing has moved, the last word is its own"
    )
    assert [str(found.check) for found in run.findings if not found.passed] == ["p95"]


def test_what_could_not_be_measured_has_not_passed():
    world = World(figures=[{**WELL, CheckName.REACHABLE: None}])
    assert world.drilled().verdict is Verdict.FAILED


def test_nothing_is_executed_that_was_never_drilled():
    with pytest.raises(Refused, match=r"never drilled.*failover drill runbooks/eu-us.yaml"):
        executed(World())


def test_nothing_is_executed_whose_drill_failed():
    world = World(figures=[SICK])
    world.drilled()
    with pytest.raises(Refused, match=r"did not pass \(failed\)"):
        executed(world)


@pytest.mark.parametrize(("days", "may"), [(29.9, True), (30.1, False)])
def test_a_drill_holds_for_thirty_days(days, may):
    world = World()
    world.drilled()
    world.now += days * DAY_SECONDS
    if may:
        assert executed(world).verdict is Verdict.PASSED
    else:
        with pytest.raises(Refused, match="30 days old, and holds for 30"):
            executed(world)


def test_a_drill_holds_only_for_what_the_runbook_said():
    world = World()
    world.drilled()
    with pytest.raises(Refused, match="has changed since its last drill"):
        world.run(world.operator(replace(RUNBOOK, hash="h2")).begin(Kind.EXECUTE))


def test_force_passes_over_the_drill_and_the_reason_is_kept():
    world = World()
    run = world.run(world.operator().begin(Kind.EXECUTE, why="eu burns", is_forced=True))
    assert (run.verdict, run.is_forced, run.why) == (Verdict.PASSED, True, "eu burns")


def test_force_does_not_pass_over_an_open_run():
    world = World()
    world.drilled()
    killed(world, 15)
    with pytest.raises(Refused, match="ann has a run of eu-us open"):
        world.run(world.operator().begin(Kind.EXECUTE, why="I want to", is_forced=True))


def test_a_runbook_leads_away_from_where_the_requests_are():
    world = World()
    world.drilled()
    executed(world)
    with pytest.raises(Refused, match="is in us, and eu-us leads away from eu"):
        executed(world)
    home = replace(RUNBOOK, name="us-eu", hash="h3", origin="us", target="eu")
    assert world.drilled(home).verdict is Verdict.PASSED
    assert world.run(world.operator(home).begin(Kind.EXECUTE)).verdict is Verdict.PASSED
    assert world.route is not None
    assert world.route.region("anybody") == "eu"


def test_all_that_has_gone_over_can_be_taken_back():
    world = World()
    world.drilled()
    executed(world)
    run = world.run(world.operator(by="bob").rollback(why="us is slow"))
    assert (run.verdict, run.by, run.why, world.share) == (Verdict.WITHDRAWN, "bob", "us is slow", 0.0)
    words = [word for _, word in world.book.words if word is not None]
    assert all((word.ended_at is None) is word.is_open for word in words), "one that is taken back is open again"


def test_a_run_that_has_ended_says_where_the_requests_are():
    world = World()
    runs = [world.drilled()]
    world.figures = [WELL, SICK]
    runs.append(executed(world))
    assert [run.route.share for run in runs] == [0.0, 0.0]
    assert executed(world).route.share == world.share == 1.0
    assert world.run(world.operator().rollback()).route.share == world.share == 0.0


def test_there_is_nothing_to_resume_or_to_take_back_where_nothing_is_open():
    world = World()
    with pytest.raises(Refused, match="never been drilled"):
        world.run(world.operator().resume())
    world.drilled()
    with pytest.raises(Refused, match="the last drill of it has passed"):
        world.run(world.operator().resume())
    with pytest.raises(Refused, match="classify/large is in eu"):
        world.run(world.operator().rollback())


def test_a_run_is_not_resumed_with_another_runbook_but_can_be_taken_back():
    world = World()
    world.drilled()
    killed(world, 25)
    changed = replace(RUNBOOK, hash="h2")
    with pytest.raises(Refused, match="other words"):
        world.run(world.operator(changed).resume())
    assert world.run(world.operator(changed).rollback()).verdict is Verdict.WITHDRAWN


def test_what_the_origin_answered_in_the_drill_is_known_when_it_is_needed():
    world = World()
    world.drilled()
    assert executed(world).answers == (("1", "digest"),)


def test_of_what_the_origin_answered_the_latest_is_kept_and_what_it_answers_no_more_too():
    run = World().drilled().remembering({"1": "old", "2": "old"}).remembering({"1": "new"})
    assert dict(run.answers) == {"1": "new", "2": "old"}


def test_whoever_takes_over_says_the_route_again_under_his_own_epoch():
    """The other command may have said more than it has written down, and only a word of a higher epoch ends that."""
    world = next(world for moment in range(100) if (world := left_at(moment)).held.phase is Phase.VERIFY)
    held, said = world.held, len(world.book.routes)
    run = world.run(world.operator(by="bob").resume())
    assert (world.book.routes[said].share, world.book.routes[said].epoch) == (held.route.share, run.epoch)
    assert run.epoch == held.epoch + 1


def test_whoever_takes_over_before_anything_has_moved_looks_first():
    world = next(world for moment in range(100) if (world := left_at(moment)).held.phase is Phase.BEFORE)
    world.figures = [SICK]
    said = len(world.book.routes)
    assert world.run(world.operator(by="bob").resume()).verdict is Verdict.FAILED
    assert [route.share for route in world.book.routes[said:]] == [0.0]


def test_who_takes_a_run_back_without_a_word_leaves_the_reason_of_who_began_it():
    world = World()
    world.run(world.operator().begin(Kind.EXECUTE, why="eu burns", is_forced=True))
    assert world.run(world.operator(by="bob").rollback()).why == "eu burns"


def left_at(moment: int) -> World:
    """A world in which a command was killed there."""
    world = World()
    world.drilled()
    killed(world, moment)
    return world


# Two operators.


def test_of_two_who_begin_at_once_one_is_refused_and_moves_nothing():
    """At every pair of moments: the second command runs whole just before any touch of the first."""
    for moment in range(60):
        world = World()
        world.drilled()
        ends: list[object] = []

        async def other(world: World = world, ends: list[object] = ends) -> None:
            touches = world.touches
            try:
                ends.append(await world.operator(by="bob").begin(Kind.EXECUTE))
            except Refused as refused:
                ends.append(refused)
            world.touches = touches

        first = world.operator()
        world.between = {moment: other}
        try:
            ends.append(world.run(first.begin(Kind.EXECUTE)))
        except Refused as refused:
            ends.append(refused)
        passed = [end for end in ends if isinstance(end, Run)]
        assert len(passed) == 1, moment
        assert world.share == 1.0
        assert len({route.epoch for route in world.book.routes}) == 2  # the drill's and one more
        if world.between:
            return  # the first had ended before
    pytest.fail("the first command never ended")


def test_of_two_who_begin_step_by_step_side_by_side_one_wins():
    world = World()
    world.drilled()

    async def both() -> list[Run | BaseException]:
        commands = [world.operator(by=name).begin(Kind.EXECUTE) for name in ("ann", "bob")]
        return await asyncio.gather(*commands, return_exceptions=True)

    ends = asyncio.run(both())
    assert sorted(type(end).__name__ for end in ends) == ["Refused", "Run"]
    assert world.share == 1.0


@pytest.mark.parametrize("command", ["resume", "rollback"])
def test_a_command_that_wakes_up_after_another_took_over_changes_nothing(command):
    for moment in range(60):
        world = World()
        world.drilled()
        taken: list[Run] = []

        async def other(world: World = world, taken: list[Run] = taken) -> None:
            touches = world.touches
            operator = world.operator(by="bob")
            with contextlib.suppress(Refused):  # nothing was open yet
                taken.append(await (operator.resume() if command == "resume" else operator.rollback()))
            world.touches = touches

        first = world.operator()
        world.between = {moment: other}
        try:
            world.run(first.begin(Kind.EXECUTE))
        except (TakenOver, Refused):
            assert taken
        if not taken and not world.between:
            continue  # it came before anything was open
        if world.between:
            return
        assert world.share == (1.0 if command == "resume" else 0.0), moment
        assert world.held == taken[0]
    pytest.fail("the first command never ended")


# Killed at every step.


def killed(world: World, moment: int, command: str = "execute") -> bool:
    """Run a command and kill it there; False: it had ended before."""
    operator = world.operator()
    world.dies_at = moment
    ways = {
        "drill": lambda: operator.begin(Kind.DRILL),
        "execute": lambda: operator.begin(Kind.EXECUTE),
        "resume": operator.resume,
        "rollback": operator.rollback,
    }
    try:
        world.run(ways[command]())
    except Killed:
        return True
    except Refused:
        return False
    finally:
        world.dies_at = None
    return False


def ended_well(world: World, by: str) -> None:
    """Let a command end what is open; nothing open is well, too."""
    operator = world.operator(by="bob")
    try:
        world.run(operator.resume() if by == "resume" else operator.rollback())
    except Refused:
        assert not finish(world.book.read()).holder("classify/large") or not world.held.is_open
    held = finish(world.book.read()).holder("classify/large")
    if held is None:
        assert world.share == 0.0
        return
    assert held.phase is Phase.ENDED
    is_over = held.kind is Kind.EXECUTE and held.verdict is Verdict.PASSED
    assert world.share == (1.0 if is_over else 0.0)
    assert world.route is None or world.route.epoch <= held.epoch


@pytest.mark.parametrize("by", ["resume", "rollback"])
@pytest.mark.parametrize("kind", ["drill", "execute"])
@pytest.mark.parametrize("sick_at", [None, 0, 1, 2, 4])
def test_a_command_that_is_killed_at_any_step_leaves_what_another_ends_well(kind, by, sick_at):
    moments = 0
    while True:
        world = World()
        if kind == "execute":
            world.drilled()
        if sick_at is not None:
            world.figures = [WELL] * sick_at + [SICK]
        if not killed(world, moments, kind):
            break
        ended_well(world, by)
        moments += 1
    assert moments > (10 if sick_at == 0 or kind == "drill" else 16)


@pytest.mark.parametrize("second", ["resume", "rollback"])
@pytest.mark.parametrize("by", ["resume", "rollback"])
def test_also_where_the_command_that_ends_it_is_killed_at_any_step(second, by):
    first = pairs = 0
    while True:
        moment = 0
        while True:
            world = World()
            world.drilled()
            if not killed(world, first):
                assert pairs > 300
                return
            if not killed(world, moment, second):
                break
            ended_well(world, by)
            pairs, moment = pairs + 1, moment + 1
        first += 1


def test_after_every_kill_what_the_topic_keeps_when_it_is_compacted_says_the_same():
    for moment in range(200):
        world = World()
        world.drilled()
        if not killed(world, moment):
            return
        killed(world, 9, "resume")
        before = world.held
        compact(world)
        assert world.held == before
    pytest.fail("the command never ended")


@pytest.mark.parametrize("command", ["begin", "resume", "rollback"])
def test_also_where_one_of_two_side_by_side_is_killed(command):
    """His claim may stand there for ever, and before the word of the other when that was written again."""
    for moment in range(200):
        world = World()
        world.drilled()
        if command != "begin":
            killed(world, 15)
        ends = asyncio.run(side_by_side(world, command, moment))
        before = world.held
        compact(world)
        assert world.held == before, moment
        if not any(isinstance(end, Killed) for end in ends):
            return
        ended_well(world, "resume")
    pytest.fail("the commands never ended")


async def side_by_side(world: World, command: str, moment: int) -> list[Run | BaseException]:
    """Two run the same command step by step, and one is killed there."""
    operators = [world.operator(by=name) for name in ("ann", "bob")]
    world.dies_at = moment
    both = [each.begin(Kind.EXECUTE) if command == "begin" else getattr(each, command)() for each in operators]
    try:
        ends: list[Run | BaseException] = await asyncio.gather(*both, return_exceptions=True)
    finally:
        world.dies_at = None
    return ends


def compact(world: World) -> None:
    """Keep the last word of each session, where it stands."""
    words = world.book.words
    kept = [word for number, word in enumerate(words) if word[0] not in {session for session, _ in words[number + 1 :]}]
    assert dict(kept) == dict(words)
    world.book.words = kept
