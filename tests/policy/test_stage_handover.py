"""The breaker before the next stage, as operators see it and have their way with it."""

import itertools
from collections import defaultdict

import pytest

from failsoft.policy.actions import Action, AnnounceRegister
from failsoft.policy.breaker_board import HEARTBEAT_SECONDS, LIVE_SECONDS
from failsoft.policy.breaker_control import Control, Force
from failsoft.policy.breaker_states import State
from failsoft.policy.events import ControlSeen, Event, RollUpSeen, Tick
from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.register import Phase, Register
from failsoft.policy.rollup import Kind, RollUp
from failsoft.policy.settings import LaterStage
from tests.policy.driver import APOLOGY, EPOCH, LARGE, SMALL, Driver, stage

BREAKER = "stage:next/interactive"


class Listener(Driver):
    """Notes what is said of the breakers before the next stage."""

    def __init__(self, *later: str) -> None:
        self.said: defaultdict[str, list[tuple[float, Register]]] = defaultdict(list)
        super().__init__(stage(LARGE, SMALL, APOLOGY, later=tuple(LaterStage(name) for name in later or ("next",))))

    def send(self, event: Event) -> list[Action]:
        actions = super().send(event)
        for action in actions:
            if isinstance(action, AnnounceRegister) and action.breaker.startswith("stage:"):
                self.said[action.breaker].append((self.now, action.register))
        return actions

    def hears(self, outcome: Outcome, count: int = 20, *, of: str = "interactive") -> None:
        self.send(RollUpSeen(RollUp("next", {Kind(of, None, Reason.NONE, outcome): count}, {}), EPOCH))
        self.send(Tick())

    def force(self, force: Force, breaker: str = BREAKER, *, seconds: float = 3600.0, said_at: float = EPOCH) -> None:
        self.send(ControlSeen(breaker, Control(force, said_at, self.now + seconds)))

    def state(self, request_class: str = "interactive") -> State:
        return self.machine.handovers[f"stage:next/{request_class}"].state

    def longest_silence(self, since: float) -> float:
        said = [since, *(at for at, _ in self.said[BREAKER] if at >= since), self.now]
        return max(later - earlier for earlier, later in itertools.pairwise(said))


def seconds(on: Listener, count: int, *, requests: bool) -> None:
    for _ in range(count):
        if requests:
            record = on.arrive("interactive")
            if on.calls[record]:
                on.finish(record)
                on.acknowledge(record)
        on.wait(1.0)


def test_a_worker_says_from_its_first_moment_which_breakers_it_has():
    assert set(Listener().said) == {f"stage:next/{name}" for name in ("interactive", "standard", "batch")}
    assert set(Listener("next", "last").machine.handovers) == set(Listener().said), "only the next stage has one here"


def test_a_last_stage_has_none():
    on = Driver()
    assert not on.machine.handovers
    assert on.machine.words_to_take_back(now=on.now) == ["answer/large", "answer/small"]


def test_it_is_said_at_once_when_one_opens():
    on = Listener()
    on.hears(Outcome.FAILED)
    at, register = on.said[BREAKER][-1]
    assert (at, register.word.phase, register.word.epoch) == (on.now, Phase.OPEN, 1)
    assert len(on.said["stage:next/batch"]) == 1


def test_it_is_said_at_once_also_where_nothing_but_the_news_happens():
    on = Listener()
    failed = {Kind("interactive", None, Reason.NONE, Outcome.FAILED): 20}
    on.send(RollUpSeen(RollUp("next", failed, {}), EPOCH))
    assert on.said[BREAKER][-1][1].word.phase is Phase.OPEN


@pytest.mark.parametrize("is_open", [True, False])
def test_it_is_spoken_of_as_long_as_it_is_in_use_or_open(is_open):
    on = Listener()
    if is_open:
        on.hears(Outcome.FAILED)
    since = on.now
    seconds(on, 100, requests=not is_open)
    assert on.longest_silence(since) <= HEARTBEAT_SECONDS + 1.0 < LIVE_SECONDS


def test_a_closed_one_that_nobody_uses_is_spoken_of_once_an_hour():
    on = Listener()
    on.wait(10_000.0)
    for _ in range(10_000 // 5):  # as the shell has it told of the time
        on.wait(5.0)
    assert len(on.said[BREAKER]) in {3, 4, 5}


def test_who_leaves_takes_all_of_it_back():
    on = Listener()
    on.hears(Outcome.FAILED)
    assert set(on.said) <= set(on.machine.words_to_take_back(now=on.now))


@pytest.mark.parametrize(("breaker", "stopped"), [("stage:next", {"interactive", "batch"}), (BREAKER, {"interactive"})])
def test_held_open_nobody_of_its_class_or_of_all_begins(breaker, stopped):
    on = Listener()
    on.force(Force.OPEN, breaker)
    for name in ("interactive", "batch"):
        record = on.arrive(name)
        assert bool(on.publishes[record]) == (name in stopped)
        if name in stopped:
            assert on.ending(record).reason is Reason.BREAKER_OPEN
            assert on.state(name) is State.FORCED_OPEN


@pytest.mark.parametrize("breaker", ["stage:last", "stage:next/other", "next", "answer/large", "stage:answer"])
def test_a_word_on_another_breaker_is_nothing_to_it(breaker):
    on = Listener("next", "last")
    on.force(Force.OPEN, breaker)
    assert on.state() is State.CLOSED
    assert on.calls[on.arrive()]


def test_kept_closed_all_begin_whatever_is_heard():
    on = Listener()
    on.force(Force.CLOSED)
    on.hears(Outcome.FAILED, 1_000)
    assert on.calls[on.arrive()]
    assert on.state() is State.METRICS_ONLY
    assert on.machine.handovers[BREAKER].forced is Force.CLOSED


@pytest.mark.parametrize("by", ["time", "word"])
def test_it_decides_by_itself_again_when_the_word_has_ended_or_is_taken_back(by):
    on = Listener()
    on.force(Force.OPEN, seconds=60.0)
    assert not on.calls[on.arrive()]
    if by == "time":
        on.wait(60.1)
    else:
        on.force(Force.AUTO, said_at=EPOCH + 1.0)
    assert on.state() is State.CLOSED
    assert on.calls[on.arrive()]


def test_of_two_words_the_later_in_the_log_holds_in_whatever_order_they_are_heard():
    on = Listener()
    on.force(Force.OPEN, "stage:next", said_at=EPOCH + 2.0)
    on.force(Force.CLOSED, BREAKER, said_at=EPOCH + 1.0)
    assert on.state() is State.FORCED_OPEN
