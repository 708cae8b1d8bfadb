"""Whether requests are handed to the next stage, from how that one ends those that it has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.breaker_settings import BreakerSettings
from failsoft.policy.breaker_states import State
from failsoft.policy.jitter import EvenJitter
from failsoft.policy.outcome import Outcome
from failsoft.policy.register import NEVER_OPENED, Cause, Phase
from failsoft.policy.stage_breaker import SILENCE_SECONDS, StageBreaker


def breaker(settings: BreakerSettings | None = None) -> StageBreaker:
    return StageBreaker(settings or BreakerSettings(), random=EvenJitter("worker"))


def opened(*, now: float = 100.0) -> StageBreaker:
    found = breaker()
    found.heard({Outcome.FAILED: 20}, now=now)
    assert found.state is State.OPEN
    return found


def half_opened(*, now: float = 110.0) -> StageBreaker:
    found = opened()
    assert found.allows(now=now)
    assert found.state is State.HALF_OPEN
    return found


def test_it_opens_when_half_of_twenty_ends_were_bad_whoever_told_of_them():
    found = breaker()
    found.heard({Outcome.OK: 5, Outcome.FAILED: 4}, now=100.0)
    found.heard({Outcome.OK: 5, Outcome.EXPIRED: 5}, now=101.0)
    assert found.allows(now=101.0)
    found.heard({Outcome.UNAVAILABLE: 1}, now=102.0)
    assert not found.allows(now=102.0)


def test_what_is_shed_or_invalid_says_nothing_of_the_stage():
    found = breaker()
    found.heard({Outcome.SHED: 500, Outcome.INVALID: 500}, now=100.0)
    assert found.allows(now=100.0)


def test_bad_ends_of_half_a_minute_ago_are_forgotten():
    found = breaker()
    found.heard({Outcome.FAILED: 19}, now=100.0)
    found.heard({Outcome.FAILED: 1}, now=140.0)
    assert found.allows(now=140.0)


def test_it_opens_when_nothing_is_heard_of_what_was_handed_on_though_it_was_due():
    found = breaker()
    found.handed_on(110.0)
    found.handed_on(200.0)
    found.others_heard(now=110.0 + SILENCE_SECONDS - 0.1)
    assert found.allows(now=110.0 + SILENCE_SECONDS - 0.1)
    found.others_heard(now=110.0 + SILENCE_SECONDS)
    assert not found.allows(now=110.0 + SILENCE_SECONDS)


def test_where_nobody_at_all_is_heard_the_next_stage_is_not_taken_for_dead():
    found = breaker()
    found.others_heard(now=99.0)
    found.handed_on(110.0)
    assert all(found.allows(now=110.0 + seconds) for seconds in range(1_000))
    found = half_opened()
    assert found.allows(now=170.1)
    assert found.state is State.CLOSED


def test_silence_is_none_where_nothing_was_handed_on_or_something_was_heard_since():
    found = breaker()
    assert found.allows(now=1e6)
    found.handed_on(1e6 + 1)
    found.heard({Outcome.OK: 1}, now=1e6)
    assert found.allows(now=2e6)


def test_open_it_lets_nobody_through_and_after_its_wait_five_at_once_and_five_more_each_five_seconds():
    found = opened()
    assert not found.allows(now=102.4)
    assert [found.allows(now=105.1) for _ in range(7)] == [True] * 5 + [False] * 2
    assert [found.allows(now=110.2) for _ in range(7)] == [True] * 5 + [False] * 2


def test_whoever_asks_whether_all_may_go_there_takes_none_of_the_few():
    assert breaker().allows_all(now=100.0)
    found = opened()
    assert not any(found.allows_all(now=now) for now in [102.4, *[105.1] * 20])
    assert [found.allows(now=105.1) for _ in range(7)] == [True] * 5 + [False] * 2


def test_ends_of_what_was_handed_on_before_it_opened_do_not_count_while_it_is_open():
    found = opened()
    found.heard({Outcome.OK: 1_000}, now=101.0)
    assert not found.allows(now=101.0)


def test_five_ends_decide_half_open():
    found = half_opened()
    states = []
    for ends in (4, 1):
        found.heard({Outcome.OK: ends}, now=111.0)
        states.append(found.state)
    assert states == [State.HALF_OPEN, State.CLOSED]
    found = half_opened()
    found.heard({Outcome.OK: 2, Outcome.FAILED: 3}, now=111.0)
    assert found.state is State.OPEN


def test_each_opening_in_a_row_lasts_longer_and_the_first_after_a_recovery_does_not():
    found = half_opened()
    found.heard({Outcome.FAILED: 5}, now=111.0)
    assert not found.allows(now=111.0 + 5.0 - 0.1)
    assert found.allows(now=111.0 + 10.0)
    found.heard({Outcome.OK: 5}, now=122.0)
    found.heard({Outcome.FAILED: 20}, now=123.0)
    assert found.allows(now=128.1)


def test_workers_do_not_all_begin_again_at_once():
    waits = []
    for name in "abcdefghij":
        found = StageBreaker(random=EvenJitter(name))
        found.heard({Outcome.FAILED: 20}, now=100.0)
        waits.append(found.word.open_seconds)
    assert len(set(waits)) == 10
    assert all(2.5 <= wait <= 5.0 for wait in waits)


def test_each_time_it_is_half_open_five_are_let_through_at_once():
    found = half_opened()
    assert [found.allows(now=110.0) for _ in range(5)] == [True] * 4 + [False]
    found.heard({Outcome.FAILED: 5}, now=111.0)
    assert [found.allows(now=121.1) for _ in range(7)] == [True] * 5 + [False] * 2


def test_bad_ends_of_before_it_opened_do_not_open_it_again():
    found = half_opened(now=105.1)
    found.heard({Outcome.OK: 5}, now=106.0)
    found.heard({Outcome.FAILED: 1}, now=107.0)
    assert found.state is State.CLOSED


def test_the_silence_that_has_opened_it_does_not_open_it_again():
    found = breaker()
    found.handed_on(110.0)
    found.others_heard(now=120.0)
    assert not found.allows(now=120.0)
    assert [found.allows(now=125.1) for _ in range(7)] == [True] * 5 + [False] * 2


def test_probes_of_which_nothing_is_heard_open_it_again():
    found = half_opened()
    found.handed_on(1_000.0)
    found.others_heard(now=111.0)
    assert not found.allows(now=170.1)
    assert found.state is State.OPEN


def test_probes_that_never_got_to_the_next_stage_say_nothing_of_it():
    found = half_opened()
    found.others_heard(now=111.0)
    assert [found.allows(now=170.1) for _ in range(7)] == [True] * 5 + [False] * 2
    assert (found.state, found.word.epoch) == (State.HALF_OPEN, 1)


def test_a_stage_that_was_heard_but_has_not_ended_a_probe_yet_is_not_silent():
    found = half_opened()
    found.handed_on(1_000.0)
    found.others_heard(now=111.0)
    found.heard({}, now=111.0)
    assert found.allows(now=170.1)
    assert (found.state, found.word.epoch) == (State.HALF_OPEN, 1)


def test_half_open_too_it_waits_no_longer_for_what_was_handed_on_than_that_may_take():
    found = half_opened()
    found.handed_on(115.0)
    found.others_heard(now=115.0 + SILENCE_SECONDS)
    assert not found.allows(now=115.0 + SILENCE_SECONDS)
    assert found.state is State.OPEN


@pytest.mark.parametrize("every_seconds", [20.0, 90.0, 600.0])
def test_where_requests_are_rare_a_stage_that_is_well_again_is_believed_all_the_same(every_seconds):
    found, now = half_opened(), 110.0
    for _ in range(9):
        found.handed_on(now + 10.0)
        found.heard({Outcome.OK: 1}, now=now + 1.0)
        now += every_seconds
        assert found.allows(now=now)
    assert found.state is State.CLOSED


def test_what_little_was_heard_of_a_stage_that_still_fails_opens_it_again():
    found = half_opened()
    found.heard({Outcome.FAILED: 1}, now=111.0)
    assert not found.allows(now=170.1)


def test_dark_it_lets_all_through():
    found = breaker(BreakerSettings(enforce=False))
    found.heard({Outcome.FAILED: 20}, now=100.0)
    assert all(found.allows(now=101.0 + second) for second in range(50) for _ in range(20))


def silent() -> StageBreaker:
    found = breaker()
    found.handed_on(100.0)
    found.others_heard(now=105.0)
    assert not found.allows(now=105.0)
    return found


def reopened() -> StageBreaker:
    found = half_opened()
    found.heard({Outcome.FAILED: 5}, now=111.0)
    return found


@pytest.mark.parametrize(
    ("made", "epoch", "reopenings", "cause"),
    [(opened, 1, 0, Cause.FAILURE_RATE), (silent, 1, 0, Cause.SILENCE), (reopened, 2, 1, Cause.PROBE)],
)
def test_an_operator_sees_how_often_why_and_for_how_long_it_is_open(made, epoch, reopenings, cause):
    found = made()
    word = found.register(now=200.0).word
    assert (word.epoch, word.phase, word.reopenings, word.causes) == (epoch, Phase.OPEN, reopenings, {cause})
    assert 2.5 <= word.open_seconds <= 5.0 * 2**reopenings


def test_an_operator_sees_since_when_and_what_it_counts_and_how_many_it_lets_through():
    found = breaker()
    found.heard({Outcome.OK: 5, Outcome.FAILED: 4, Outcome.SHED: 9}, now=90.0)
    said = found.register(now=91.0)
    assert (said.word, said.since_seconds) == (NEVER_OPENED, 0.0)
    assert [(bucket.calls, bucket.failed) for bucket in said.buckets] == [(9, 4)]
    found = half_opened()
    said = found.register(now=112.0)
    assert (said.word.phase, said.since_seconds, said.probes) == (Phase.HALF_OPEN, 12.0, 1)
    found.heard({Outcome.OK: 5}, now=112.0)
    said = found.register(now=115.0)
    assert (said.word.epoch, said.word.phase, said.since_seconds, said.probes) == (1, Phase.CLOSED, 15.0, 0)


@pytest.mark.parametrize("made", [breaker, opened, half_opened])
@pytest.mark.parametrize("enforce", [True, False])
def test_forced_open_it_lets_nobody_through_whatever_it_hears_and_however_long(made, enforce):
    found = made() if enforce else breaker(BreakerSettings(enforce=False))
    found.force(State.FORCED_OPEN)
    found.heard({Outcome.OK: 1_000}, now=120.0)
    assert not any(found.allows(now=120.0 + 60.0 * minute) for minute in range(60))


@pytest.mark.parametrize("made", [breaker, opened, half_opened])
def test_kept_closed_it_lets_everybody_through_and_counts(made):
    found = made()
    found.force(State.METRICS_ONLY)
    found.handed_on(121.0)
    found.others_heard(now=130.0)
    found.heard({Outcome.FAILED: 1_000}, now=130.0)
    assert all(found.allows(now=130.0 + second) for second in range(60))
    assert found.register(now=130.0).buckets[0].failed == 1_000


@pytest.mark.parametrize("forced", [State.FORCED_OPEN, State.METRICS_ONLY])
@pytest.mark.parametrize("made", [breaker, opened, half_opened])
def test_taken_back_it_begins_anew(made, forced):
    found = made()
    for state in (forced, forced, None, None):
        found.force(state)
    assert found.state is State.CLOSED
    found.heard({Outcome.FAILED: 19}, now=130.0)
    assert found.allows(now=130.0)
    found.heard({Outcome.FAILED: 1}, now=130.0)
    assert not found.allows(now=130.0)
    assert found.register(now=130.0).word.reopenings == 0


def test_one_word_of_an_operator_follows_another():
    found = breaker()
    found.force(State.FORCED_OPEN)
    found.force(State.METRICS_ONLY)
    assert found.allows(now=100.0)
    found.force(State.FORCED_OPEN)
    assert not found.allows(now=100.0)


@given(
    st.lists(
        st.tuples(
            st.floats(0, 40),
            st.dictionaries(st.sampled_from(Outcome), st.integers(0, 40), max_size=3) | st.floats(-5, 60) | st.none(),
        ),
        max_size=60,
    )
)
def test_whatever_is_heard_it_lets_somebody_through_within_the_longest_wait(steps):
    found, now = breaker(), 0.0
    for seconds, said in steps:
        now += seconds
        if said is None:
            found.allows(now=now)
        elif isinstance(said, float):
            found.handed_on(now + said)
        else:
            found.heard(said, now=now)
    for _ in range(4):  # it may be half-open, with all its probes out, and have to give those up first
        now += 121.0
        if found.allows(now=now):
            return
    raise AssertionError("it lets nobody through for eight minutes")
