"""One worker's breaker, by itself and following a fleet that the test plays."""

import math
from dataclasses import replace
from itertools import product
from random import Random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from failsoft.policy.breaker import Breaker
from failsoft.policy.breaker_settings import BreakerSettings
from failsoft.policy.breaker_states import TRANSITIONS, State, Trigger, next_state
from failsoft.policy.call_counts import Counts
from failsoft.policy.errors import ConfigurationError, IllegalTransition
from failsoft.policy.permission import CallResult, Permission
from failsoft.policy.register import NEVER_OPENED, BoardView, Cause, Phase, Pool, Word

GOOD, FAILED, UNREACHABLE, CUT, IGNORED = CallResult
PERMITS = 8
Q95 = 0.5
CLASS_WINDOW = 1.0


def breaker(settings: BreakerSettings | None = None, seed: int = 1) -> Breaker:
    return Breaker(settings or BreakerSettings(), random=Random(seed))


def acquire(found: Breaker, now: float, permits: int = PERMITS) -> Permission | None:
    return found.acquire(permits, q95_seconds=Q95, class_window_seconds=CLASS_WINDOW, now=now)


def taken(found: Breaker, now: float) -> Permission:
    permission = acquire(found, now)
    assert permission is not None
    return permission


def state_of(found: Breaker) -> State:
    return found.state


def call(found: Breaker, result: CallResult, now: float, seconds: float = 0.1) -> bool:
    """One whole call that ends now; False if it was not allowed."""
    permission = acquire(found, now - seconds)
    if permission is not None:
        found.record(permission, result, now=now)
    return permission is not None


def calls(found: Breaker, results: str, begin: float = 100.0, each: float = 0.5) -> float:
    """Calls one after another: g good, f failed, u unreachable, c cut at 1 s, s slow, i ignored; returns the end."""
    kinds = {
        "g": (GOOD, 0.1), "f": (FAILED, 0.1), "u": (UNREACHABLE, 0.1),
        "c": (CUT, 1.0), "s": (GOOD, 1.6), "i": (IGNORED, 0.1),
    }  # fmt: skip
    now = begin
    for letter in results:
        result, seconds = kinds[letter]
        call(found, result, now, seconds)
        now += each
    return now


def opened(seed: int = 1) -> tuple[Breaker, float]:
    """A breaker that has just opened by itself, and when it may probe."""
    found = breaker(seed=seed)
    now = calls(found, "f" * 10, each=0.0)
    assert state_of(found) is State.OPEN
    return found, found.allows_from(PERMITS, now=now)


def recovered() -> tuple[Breaker, float]:
    """A breaker that has just closed again, and when."""
    found, now = opened()
    for _ in range(5):
        assert call(found, GOOD, now + 0.1)
        now += 0.1
    assert state_of(found) is State.CLOSED
    return found, now


def follow(
    found: Breaker, word: Word = NEVER_OPENED, pool: Pool | None = None, probe_at: float = 0.0, now: float = 100.0
):
    found.follow(BoardView(word, pool or Pool(), probe_at), now=now)


# What opens it


@pytest.mark.parametrize(
    ("results", "state"),
    [
        pytest.param("fffffggggf", State.OPEN, id="half of ten"),
        pytest.param("fffffffff", State.CLOSED, id="nine are too few to tell"),
        pytest.param("ffffgggggg", State.CLOSED, id="four of ten"),
        pytest.param("ssssssgggg", State.OPEN, id="six of ten slow"),
        pytest.param("sssssggggg", State.CLOSED, id="five of ten slow"),
        pytest.param("ccccc" + "ggggg", State.OPEN, id="a cut call has failed too: half of ten"),
        pytest.param("uuuuu", State.OPEN, id="five in a row unreachable"),
        pytest.param("uuuuguuuu", State.CLOSED, id="an answer ends the row"),
        pytest.param("uuuufuuuu", State.CLOSED, id="a bad answer ends the row too"),
        pytest.param("uucuuu", State.OPEN, id="no answer does not end it"),
        pytest.param("i" * 50, State.CLOSED, id="what is not its fault does not count"),
        pytest.param("uuuuiu", State.OPEN, id="nor end the row"),
    ],
)
def test_it_opens_by_its_thresholds(results, state):
    found = breaker()
    calls(found, results, each=0.0)
    assert state_of(found) is state


def test_calls_of_more_than_half_a_minute_ago_do_not_count():
    found = breaker()
    calls(found, "f" * 9, begin=100.0, each=0.0)
    call(found, FAILED, 140.0)
    assert state_of(found) is State.CLOSED


@pytest.mark.parametrize(
    ("result", "seconds", "counts"),
    [
        pytest.param(GOOD, 1.5, Counts(1), id="three times the baseline q95 is not slow yet"),
        pytest.param(GOOD, 1.6, Counts(1, slow=1), id="longer is slow, though answered"),
        pytest.param(FAILED, 0.1, Counts(1, failed=1), id="failed at once"),
        pytest.param(FAILED, 2.0, Counts(1, failed=1, slow=1), id="failed late"),
        pytest.param(CUT, 0.5, Counts(1, failed=1, slow=1), id="cut where 19 of 20 were answered"),
        pytest.param(CUT, 0.4, Counts(1, slow=1), id="cut sooner: it may just have been in a hurry"),
    ],
)
def test_how_a_call_counts(result, seconds, counts):
    found = breaker()
    call(found, result, 100.0, seconds)
    assert found.counts(now=100.0) == counts


def test_what_is_ordinary_for_the_class_is_not_slow():
    found = breaker()
    permission = found.acquire(PERMITS, q95_seconds=Q95, class_window_seconds=10.0, now=100.0)
    assert permission is not None
    found.record(permission, GOOD, now=109.0)
    assert found.counts(now=109.0) == Counts(1)


def test_an_endpoint_that_answers_at_once_is_not_blamed_for_a_late_event_loop():
    found = breaker()
    permission = found.acquire(PERMITS, q95_seconds=0.001, class_window_seconds=0.002, now=100.0)
    assert permission is not None
    found.record(permission, GOOD, now=100.04)
    assert found.counts(now=100.04) == Counts(1)


def test_in_a_spike_only_calls_that_do_not_reach_the_endpoint_open_it():
    found = breaker()
    for result, times in ((FAILED, 20), (CUT, 20), (UNREACHABLE, 4)):
        for _ in range(times):
            permission = taken(found, 100.0)
            found.record(permission, result, is_spike=True, now=101.0)
    assert state_of(found) is State.CLOSED
    found.record(taken(found, 101.0), UNREACHABLE, is_spike=True, now=101.0)
    assert state_of(found) is State.OPEN


# How long it stays open


def test_an_opening_lasts_five_seconds_less_up_to_half_by_jitter():
    waits = [opened(seed)[1] - 100.0 for seed in range(200)]
    assert all(2.5 <= wait <= 5.0 for wait in waits)
    assert sum(waits) / 200 == pytest.approx(3.75, rel=0.05)
    found, until = opened()
    assert not call(found, GOOD, until - 0.01, 0.0)
    assert call(found, GOOD, until + 0.1)


def test_each_reopening_doubles_the_wait_up_to_two_minutes():
    found, until = opened()
    longest = []
    for _ in range(7):
        now = until
        call(found, FAILED, now + 0.1)
        assert state_of(found) is State.OPEN
        until = found.allows_from(PERMITS, now=now + 0.1)
        longest.append(until - now - 0.1)
    for wait, whole in zip(longest, [10, 20, 40, 80, 120, 120, 120], strict=True):
        assert whole / 2 <= wait <= whole


@pytest.mark.parametrize(("pause", "whole"), [(8.0, 10.0), (11.0, 5.0)])
def test_opening_again_before_the_ramp_is_over_is_a_reopening(pause, whole):
    found, now = recovered()
    now += pause
    while state_of(found) is State.CLOSED:
        call(found, UNREACHABLE, now, 0.0)
        now += 0.01
    wait = found.allows_from(PERMITS, now=now) - now
    assert whole / 2 - 0.1 <= wait <= whole


# Probes


def test_three_probes_are_in_flight_at_most_and_five_good_ones_close_it():
    found, now = opened()
    first = [taken(found, now) for _ in range(3)]
    assert acquire(found, now) is None
    for probe in first:
        found.record(probe, GOOD, now=now + 0.1)
    assert state_of(found) is State.HALF_OPEN
    for n in range(2):
        assert state_of(found) is State.HALF_OPEN
        call(found, GOOD, now + 0.3 + n)
    assert state_of(found) is State.CLOSED


@pytest.mark.parametrize(("result", "seconds"), [(FAILED, 0.1), (UNREACHABLE, 0.1), (CUT, 0.6), (GOOD, 1.6)])
def test_a_probe_that_is_bad_or_slow_reopens_it(result, seconds):
    found, now = opened()
    for n in range(4):
        call(found, GOOD, now + n + 0.1)
    call(found, result, now + 10, seconds)
    assert state_of(found) is State.OPEN


def test_a_probe_that_is_not_the_endpoints_fault_decides_nothing():
    found, now = opened()
    for n in range(20):
        assert call(found, IGNORED, now + n + 0.1)
    assert state_of(found) is State.HALF_OPEN


def test_probes_that_never_report_reopen_it_instead_of_holding_it_for_ever():
    found, now = opened()
    lost = [taken(found, now) for _ in range(3)]
    until = found.allows_from(PERMITS, now=now)
    assert until == now + 60
    follow(found, now=until - 0.1)
    assert state_of(found) is State.HALF_OPEN
    follow(found, now=until)
    assert state_of(found) is State.OPEN
    found.record(lost[0], GOOD, now=until + 1)
    assert state_of(found) is State.OPEN


def test_a_probe_of_an_endpoint_that_takes_minutes_is_waited_for():
    found, now = opened()
    found.acquire(PERMITS, q95_seconds=40.0, class_window_seconds=1.0, now=now)
    follow(found, now=now + 239)
    assert state_of(found) is State.HALF_OPEN
    follow(found, now=now + 240)
    assert state_of(found) is State.OPEN


def test_after_closing_the_load_comes_back_by_a_ramp():
    found, now = recovered()
    first = [acquire(found, now, permits=50) for _ in range(50)]
    assert sum(permission is not None for permission in first) == 5
    assert all(acquire(found, now + 11, permits=50) for _ in range(45))


# Generations


def test_a_call_admitted_before_the_opening_does_not_vote_afterwards():
    found = breaker()
    late = [taken(found, 99.0) for _ in range(6)]
    calls(found, "f" * 10, each=0.0)
    now = found.allows_from(PERMITS, now=100.0)
    probe = taken(found, now)
    for permission in late[:5]:
        found.record(permission, GOOD, now=now)
    assert state_of(found) is State.HALF_OPEN
    found.record(late[5], FAILED, now=now)
    assert state_of(found) is State.HALF_OPEN
    found.record(probe, FAILED, now=now + 0.1)
    assert state_of(found) is State.OPEN


def test_a_permission_is_handed_back_once():
    found = breaker()
    permission = taken(found, 100.0)
    found.release(permission, now=100.1)
    with pytest.raises(IllegalTransition, match="twice"):
        found.record(permission, GOOD, now=100.2)


# The table


def test_whatever_the_table_does_not_know_is_an_error():
    for state, trigger in product(State, Trigger):
        if (state, trigger) in TRANSITIONS:
            assert next_state(state, trigger) is TRANSITIONS[state, trigger]
        else:
            with pytest.raises(IllegalTransition):
                next_state(state, trigger)


def test_every_state_can_be_left_and_reached_and_only_an_operator_reaches_the_forced_ones():
    for state in State:
        assert any(origin is state and target is not state for (origin, _), target in TRANSITIONS.items())
        assert any(target is state for target in TRANSITIONS.values())
    into_forced = {
        trigger for (_, trigger), target in TRANSITIONS.items() if target in {State.FORCED_OPEN, State.METRICS_ONLY}
    }
    assert into_forced == {Trigger.FORCED, Trigger.DARKENED}


# An operator's word


def test_forced_open_it_allows_nothing_until_it_is_released():
    found = breaker()
    found.force(State.FORCED_OPEN, now=100.0)
    assert not call(found, GOOD, 1e6)
    assert found.allows_from(PERMITS, now=1e6) == math.inf
    found.force(None, now=1e6)
    assert state_of(found) is State.CLOSED
    assert sum(acquire(found, 1e6, permits=50) is not None for _ in range(50)) == 5


def test_released_into_an_opening_of_the_fleet_it_is_open():
    found = breaker()
    found.force(State.FORCED_OPEN, now=100.0)
    follow(found, Word(4, Phase.OPEN, 5.0), probe_at=150.0)
    assert state_of(found) is State.FORCED_OPEN
    found.force(None, now=110.0)
    assert state_of(found) is State.OPEN
    assert not call(found, GOOD, 120.0)
    follow(found, Word(4, Phase.OPEN, 5.0), probe_at=150.0, now=120.0)
    assert found.allows_from(PERMITS, now=120.0) == 150.0


def test_dark_it_lets_all_pass_and_counts_how_often_it_would_have_opened():
    found = breaker(BreakerSettings(enforce=False))
    calls(found, "f" * 25, each=0.0)
    assert state_of(found) is State.METRICS_ONLY
    assert found.trips == 2
    follow(found, Word(1, Phase.OPEN, 5.0), probe_at=math.inf)
    assert call(found, GOOD, 101.0)
    found.force(State.FORCED_OPEN, now=101.0)
    found.force(None, now=102.0)
    assert state_of(found) is State.METRICS_ONLY


def test_taking_back_what_was_not_said_changes_nothing():
    found, now = opened()
    generation = found.generation
    found.force(None, now=now)
    assert (state_of(found), found.generation) == (State.OPEN, generation)


@pytest.mark.parametrize("state", [State.CLOSED, State.HALF_OPEN])
def test_an_operator_cannot_set_what_only_calls_can_show(state):
    found, _ = opened()
    found.force(State.FORCED_OPEN, now=100.0)
    with pytest.raises(IllegalTransition, match="operator"):
        found.force(state, now=100.0)


# The fleet

SICK = Pool(Counts(20, failed=18), Counts(15, failed=13), is_heard=True)


def test_an_opening_of_the_fleet_is_followed():
    found = breaker()
    follow(found, Word(3, Phase.OPEN, 5.0, 1, frozenset({Cause.FAILURE_RATE})), probe_at=104.0)
    assert state_of(found) is State.OPEN
    assert (found.word.epoch, found.word.phase) == (3, Phase.OPEN)
    assert not call(found, GOOD, 103.0, 0.0)
    assert call(found, GOOD, 104.1)
    assert found.word.phase is Phase.HALF_OPEN


def test_another_that_probes_leaves_it_open():
    found = breaker()
    follow(found, Word(3, Phase.HALF_OPEN, 5.0), probe_at=200.0)
    assert (state_of(found), found.word.phase) == (State.OPEN, Phase.OPEN)


def test_when_another_closes_it_closes_and_ramps():
    found = breaker()
    follow(found, Word(3, Phase.OPEN, 5.0), probe_at=200.0)
    follow(found, Word(3, Phase.CLOSED, 5.0))
    assert state_of(found) is State.CLOSED
    assert sum(acquire(found, 100.0, permits=50) is not None for _ in range(50)) == 5


def test_a_late_close_of_an_earlier_epoch_is_ignored():
    found = breaker()
    follow(found, Word(4, Phase.OPEN, 5.0), probe_at=200.0)
    follow(found, Word(3, Phase.CLOSED, 5.0), probe_at=200.0)
    assert state_of(found) is State.OPEN


def test_what_it_has_seen_fail_itself_others_cannot_declare_well():
    found, until = opened()
    follow(found, Word(3, Phase.CLOSED, 5.0))
    assert state_of(found) is State.OPEN
    assert found.word.epoch == 3
    assert found.allows_from(PERMITS, now=100.0) == until


def test_pooled_counts_open_it_for_all():
    found = breaker()
    follow(found, Word(2, Phase.CLOSED), SICK)
    assert state_of(found) is State.OPEN
    assert (found.word.epoch, found.word.phase, found.word.causes) == (3, Phase.OPEN, frozenset({Cause.FAILURE_RATE}))
    assert 2.5 <= found.word.open_seconds <= 5.0


@pytest.mark.parametrize(
    "pool",
    [
        pytest.param(replace(SICK, total=Counts(19, failed=18)), id="too few calls"),
        pytest.param(replace(SICK, rest=Counts(15, failed=7)), id="one worker is the trouble"),
        pytest.param(replace(SICK, rest=Counts()), id="nobody else knows"),
        pytest.param(replace(SICK, is_heard=False), id="the others cannot be heard"),
        pytest.param(replace(SICK, rest=Counts(15, slow=15)), id="the others see something else"),
    ],
)
def test_what_only_one_worker_sees_does_not_open_it_for_all(pool):
    found = breaker()
    follow(found, pool=pool)
    assert (state_of(found), found.word) == (State.CLOSED, NEVER_OPENED)


def test_its_own_trip_is_its_own_as_long_as_nobody_else_makes_calls():
    found, _ = opened()
    follow(found, pool=Pool(Counts(30, failed=30), Counts(), is_heard=True))
    assert (state_of(found), found.word) == (State.OPEN, NEVER_OPENED)


def test_its_own_failures_stay_in_the_pool_after_it_has_opened_for_itself():
    found, _ = opened()
    assert sum(found.register(now=101.0).buckets, Counts()) == Counts(10, failed=10)


def test_a_bad_probe_of_the_fleets_opening_begins_the_next_epoch():
    found = breaker()
    word = Word(3, Phase.OPEN, 5.0, 2)
    follow(found, word, probe_at=100.0)
    acquire(found, 100.0)
    assert found.register(now=100.0).probes == 1
    found.record(taken(found, 100.0), FAILED, now=101.0)
    assert (found.word.epoch, found.word.phase, found.word.reopenings) == (4, Phase.OPEN, 3)
    assert 20 <= found.word.open_seconds <= 40


def test_good_probes_of_the_fleets_opening_close_the_epoch_they_act_on():
    found = breaker()
    follow(found, Word(3, Phase.OPEN, 5.0), probe_at=100.0)
    for n in range(5):
        call(found, GOOD, 101.0 + n)
    assert (found.word.epoch, found.word.phase) == (3, Phase.CLOSED)


def test_a_whole_epoch_that_passed_unseen_makes_earlier_counts_void_and_slows_nobody():
    found = breaker()
    calls(found, "f" * 9, each=0.0)
    follow(found, Word(1, Phase.CLOSED, 5.0))
    assert found.counts(now=100.0) == Counts()
    assert all(acquire(found, 100.0) for _ in range(PERMITS))


@pytest.mark.parametrize(
    "wrong",
    [
        {"failure_rate_threshold": 0.0}, {"failure_rate_threshold": 50.0}, {"slow_call_rate_threshold": 1.1},
        {"minimum_number_of_calls": 0}, {"permitted_number_of_calls_in_half_open": 0}, {"good_calls_to_close": 0},
        {"wait_duration_in_open_seconds": 200.0}, {"wait_duration_in_open_seconds": 0.0}, {"ramp_seconds": 0.0},
        {"ramp_from": 0.0}, {"max_wait_duration_in_half_open_seconds": 0.0},
    ],
)  # fmt: skip
def test_a_breaker_that_cannot_work_is_refused(wrong):
    with pytest.raises(ConfigurationError):
        BreakerSettings(**wrong)


class AnyCalls(RuleBasedStateMachine):
    """Calls begin and end in any order, some never; the fleet and an operator interfere."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = breaker()
        self.now = 100.0
        self.out: list[Permission] = []
        self.fleet = NEVER_OPENED
        self.last_epoch = 0

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 4.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(times=st.integers(1, 12))
    def begin(self, times: int) -> None:
        for _ in range(times):
            allowed = self.breaker.allows_from(PERMITS, now=self.now) <= self.now
            was_probing = self.breaker.state is State.HALF_OPEN
            permission = acquire(self.breaker, self.now)
            if permission is not None:
                self.out.append(permission)
            if was_probing:  # asking may find out that a probe was lost
                assert permission is None or allowed
            else:
                assert (permission is not None) == allowed

    @precondition(lambda self: self.out)
    @rule(choice=st.integers(0, 1_000), result=st.sampled_from(CallResult))
    def end(self, choice: int, result: CallResult) -> None:
        permission = self.out.pop(choice % len(self.out))
        before = self.breaker.generation
        self.breaker.record(permission, result, now=self.now)
        if permission.generation != before or result is IGNORED:
            assert self.breaker.generation == before

    @rule(phase=st.sampled_from(Phase), later=st.integers(0, 2), probe_in=st.sampled_from([0.0, 5.0]))
    def hear(self, phase: Phase, later: int, probe_in: float) -> None:
        said = Word(self.fleet.epoch + later, phase, 5.0)
        self.fleet = self.fleet.join(said).join(self.breaker.word)
        follow(self.breaker, self.fleet, probe_at=self.now + probe_in, now=self.now)

    @rule(state=st.sampled_from([State.FORCED_OPEN, State.METRICS_ONLY, None]))
    def operate(self, state: State | None) -> None:
        self.breaker.force(state, now=self.now)
        if state:
            assert self.breaker.state is state

    @invariant()
    def at_most_three_probes(self) -> None:
        probes = [permission for permission in self.out if permission.generation == self.breaker.generation]
        assert self.breaker.state is not State.HALF_OPEN or len(probes) <= 3

    @invariant()
    def what_it_says_is_what_it_does(self) -> None:
        if self.breaker.state is State.HALF_OPEN:
            assert self.breaker.word.phase in {Phase.HALF_OPEN, Phase.CLOSED}
        elif self.breaker.state is State.CLOSED:
            assert self.breaker.word.phase is Phase.CLOSED

    @invariant()
    def its_word_never_goes_back(self) -> None:
        assert self.breaker.word.epoch >= self.last_epoch
        self.last_epoch = self.breaker.word.epoch


TestAnyCalls = AnyCalls.TestCase
