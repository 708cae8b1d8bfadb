"""An operator's word on a breaker: which one holds, and what a stage does on it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.breaker_control import NOTHING_SAID, Control, Force
from failsoft.policy.breaker_states import State
from failsoft.policy.events import ControlSeen, RegisterSeen, RegistersSeen, Tick, Verdict
from failsoft.policy.register import Phase, Register, Word
from tests.policy.driver import Driver

BREAKER = "answer/large"

controls = st.builds(Control, st.sampled_from(Force), st.integers(0, 5).map(float), st.floats(0, 100))


@given(st.lists(controls, unique_by=lambda control: control.said_at), st.randoms(use_true_random=False))
def test_the_later_word_holds_in_whatever_order_they_are_heard_and_how_often(said, rng):
    expected = max(said, key=lambda control: control.said_at, default=NOTHING_SAID)
    heard = said * 2
    rng.shuffle(heard)
    holding = NOTHING_SAID
    for control in heard:
        holding = holding.followed_by(control)
    assert holding == expected


@pytest.mark.parametrize(
    ("force", "state"),
    [(Force.OPEN, State.FORCED_OPEN), (Force.CLOSED, State.METRICS_ONLY), (Force.AUTO, None)],
)
def test_a_word_holds_until_its_end_and_not_longer(force, state):
    control = Control(force, said_at=1.0, ends_at=50.0)
    assert control.state(now=49.9) is state
    assert control.state(now=50.0) is None
    assert control.holds(now=50.0) is Force.AUTO


def state_of(driver: Driver) -> State:
    return driver.machine.conditions["large"].state


def force(driver: Driver, word: Force, *, said_at: float = 1.0, seconds: float = math.inf) -> None:
    driver.send(ControlSeen(BREAKER, Control(word, said_at, driver.now + seconds)))


def test_forced_open_a_tier_is_not_called_and_the_next_one_serves():
    driver = Driver()
    force(driver, Force.OPEN)
    record = driver.arrive("interactive")
    driver.wait(1.0)
    assert [call.tier for call in driver.calls[record]] == ["small"]
    assert driver.machine.conditions["large"].forced is Force.OPEN


def test_a_forced_breaker_is_its_own_again_when_the_word_ends():
    driver = Driver()
    force(driver, Force.OPEN, seconds=30.0)
    driver.wait(29.0)
    driver.send(Tick())
    assert state_of(driver) is State.FORCED_OPEN
    driver.wait(2.0)
    driver.send(Tick())
    assert state_of(driver) is State.CLOSED
    assert driver.machine.conditions["large"].forced is Force.AUTO


def test_auto_takes_a_word_back_and_an_older_word_that_is_heard_again_changes_nothing():
    driver = Driver()
    force(driver, Force.OPEN, said_at=1.0)
    force(driver, Force.AUTO, said_at=2.0)
    force(driver, Force.OPEN, said_at=1.0)
    assert state_of(driver) is State.CLOSED


def test_forced_closed_a_tier_is_called_although_the_fleet_holds_it_open():
    driver = Driver()
    driver.send(RegisterSeen(BREAKER, "other", Register(Word(1, Phase.OPEN, 60.0))))
    assert state_of(driver) is State.OPEN
    force(driver, Force.CLOSED)
    record = driver.arrive("interactive")
    assert [call.tier for call in driver.calls[record]] == ["large"]
    force(driver, Force.AUTO, said_at=2.0)
    driver.finish(record, Verdict.OK)
    assert state_of(driver) is State.OPEN


def test_a_word_on_a_breaker_of_another_stage_is_not_this_one_s():
    driver = Driver()
    driver.send(ControlSeen("other/large", Control(Force.OPEN, 1.0)))
    assert state_of(driver) is State.CLOSED


def test_many_registers_at_once_say_what_they_say_one_by_one():
    words = [
        RegisterSeen(BREAKER, f"process-{n}", Register(Word(n % 3, Phase(n % 2), 60.0)), age_seconds=float(n))
        for n in range(40)
    ]
    one_by_one, at_once = Driver(), Driver()
    for word in words:
        one_by_one.send(word)
    at_once.send(RegistersSeen(tuple(words)))
    assert state_of(one_by_one) is state_of(at_once) is State.OPEN
    board = at_once.machine._endpoints[0].board
    assert board._word == one_by_one.machine._endpoints[0].board._word
