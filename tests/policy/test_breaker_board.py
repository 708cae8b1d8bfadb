"""One worker's board; what it does for a whole fleet: test_breaker_fleet.py."""

from random import Random
from typing import Any

import pytest

from failsoft.policy.breaker_board import (
    ANNOUNCE_SECONDS,
    FORGET_SECONDS,
    HEARTBEAT_SECONDS,
    LIVE_SECONDS,
    PROMPT_WORKERS,
    REFRESH_SECONDS,
    TURN_SECONDS_MIN,
    BreakerBoard,
)
from failsoft.policy.call_counts import NO_CALLS, Counts
from failsoft.policy.register import NEVER_OPENED, BoardView, Phase, Register, Word

NOW = 1_000.0
OPEN = Word(3, Phase.OPEN, 5.0)
CLOSED = Word(3, Phase.CLOSED, 5.0)


def board(*others: tuple[str, Register], process: str = "me", now: float = NOW) -> BreakerBoard:
    """A board that hears its own first register and those of others."""
    found = BreakerBoard("large|eu", process)
    found.seen(process, Register(), now=now)
    for name, register in others:
        found.seen(name, register, now=now)
    return found


def view(
    found: BreakerBoard, word: Word = NEVER_OPENED, counts: Counts = NO_CALLS, q95: float = 0.2, now: float = NOW
) -> BoardView:
    return found.view(word, counts, q95_seconds=q95, now=now)


def counted(calls: int, failed: int = 0, word: Word = NEVER_OPENED) -> Register:
    return Register(word, buckets=(Counts(calls, failed=failed),))


# Counts


def test_the_pool_is_what_all_live_workers_count_with_ones_own():
    found = board(("a", counted(10, 4)), ("b", counted(5, 1)))
    pool = view(found, counts=Counts(3, failed=3)).pool
    assert (pool.total, pool.rest) == (Counts(18, failed=8), Counts(8, failed=4))
    assert pool.is_heard


def test_the_rest_leaves_out_whoever_has_most_trouble_oneself_too():
    found = board(("a", counted(10, 4)))
    assert view(found, counts=Counts(9, failed=9)).pool.rest == Counts(10, failed=4)


def test_ones_own_register_that_comes_back_is_not_counted_again():
    found = board(("a", counted(10, 4)))
    found.seen("me", counted(3, 3), now=NOW)
    assert view(found, counts=Counts(3, failed=3)).pool.total == Counts(13, failed=7)


def test_news_counts_from_when_it_is_heard_on():
    found = board(("a", counted(10, 4)))
    view(found)
    found.seen("a", counted(12, 6), now=NOW + 0.1)
    assert view(found, now=NOW + 0.1).pool.total == Counts(12, failed=6)


def fleet(count: int) -> BreakerBoard:
    """A board that has heard so many others, and has added them up."""
    found = board(*((f"other {number}", counted(1)) for number in range(count)))
    view(found)
    return found


def test_a_hundred_are_heard_at_once_and_of_more_the_news_within_a_second():
    news, soon = counted(5, 5), NOW + 0.01
    few, many = fleet(PROMPT_WORKERS), fleet(5_000)
    for found in (few, many):
        found.seen("other 1", news, now=soon)
    assert view(few, now=soon).pool.total.failed == 5
    assert view(many, now=soon).pool.total.failed == 0
    assert view(many, now=NOW + ANNOUNCE_SECONDS).pool.total.failed == 5
    assert view(fleet(50_000), now=NOW + ANNOUNCE_SECONDS).pool.total.calls == 50_000


def test_an_opening_is_heard_at_once_however_many_there_are():
    found = fleet(5_000)
    found.seen("other 1", counted(0, word=OPEN), now=NOW + 0.01)
    seen = view(found, now=NOW + 0.01)
    assert seen.word == OPEN
    assert seen.pool.total == NO_CALLS, "what came before an opening says nothing about what comes after"


def test_those_that_died_in_the_last_day_are_not_looked_at_again():
    """A start reads them one by one: each that was added up anew made 10,000 of them take seconds."""
    added_up = 0

    class Counting(BreakerBoard):
        def _refresh(self, *args: Any) -> None:
            nonlocal added_up
            added_up += 1
            super()._refresh(*args)

    found = Counting("large|eu", "me")
    for number in range(1_000):
        found.seen(f"dead {number}", counted(3, 3), age_seconds=LIVE_SECONDS + number, now=NOW)
        assert view(found).pool.total == NO_CALLS
    assert added_up == 1
    found.seen("dead 7", counted(2, 1), now=NOW)
    assert view(found).pool.total == Counts(2, failed=1)
    found.seen("dead 7", counted(2, 1), age_seconds=LIVE_SECONDS, now=NOW)
    assert view(found).pool.total == NO_CALLS


def test_slow_calls_are_trouble_too():
    found = board(("a", Register(buckets=(Counts(10, slow=8),))), ("b", counted(10, 5)))
    assert view(found).pool.rest == Counts(10, failed=5)


def test_counts_of_another_epoch_do_not_mix():
    found = board(("a", counted(10, 10)), ("b", counted(7, word=CLOSED)))
    assert view(found, word=CLOSED).pool.total == Counts(7)


def test_counts_age_after_they_were_heard_and_the_dead_count_no_more():
    found = BreakerBoard("large|eu", "me")
    found.seen("a", Register(buckets=(Counts(1), Counts(2), Counts(4))), now=NOW)
    totals = {age: view(found, now=NOW + age).pool.total.calls for age in (0, 20, 23, 26, 29, 31)}
    assert totals == {0: 7, 20: 7, 23: 7, 26: 3, 29: 1, 31: 0}


def test_after_half_a_minute_of_silence_the_others_cannot_be_heard():
    found = board()
    assert view(found, now=NOW + LIVE_SECONDS - 0.1).pool.is_heard
    assert not view(found, now=NOW + LIVE_SECONDS).pool.is_heard


def test_before_anything_was_heard_the_others_cannot_be_heard():
    assert not view(BreakerBoard("large|eu", "me")).pool.is_heard


def test_the_word_is_the_greatest_that_was_heard_whoever_spoke_last():
    found = board(("a", Register(OPEN)), ("b", Register(Word(2, Phase.CLOSED, 5.0))))
    assert view(found).word == OPEN


# Probing


def first_turns(processes: list[str], word: Word = OPEN, now: float = NOW) -> dict[str, float]:
    """From when each may probe, after all have heard each other."""
    turns = {}
    for process in processes:
        found = board(*((other, Register(word)) for other in processes if other != process), process=process, now=now)
        turns[process] = view(found, word, now=now).probe_at
    return turns


def test_turns_follow_each_other_from_the_end_of_the_wait_on():
    turns = first_turns(["a", "b", "c", "d"])
    assert sorted(turns.values()) == [NOW + 5.0 + TURN_SECONDS_MIN * rank for rank in range(4)]


def test_the_first_turn_goes_round_from_epoch_to_epoch():
    names = [f"w{n}" for n in range(5)]
    first = [
        min(turns, key=turns.__getitem__)
        for turns in (first_turns(names, Word(e, Phase.OPEN, 5.0)) for e in range(1, 101))
    ]
    assert all(10 <= first.count(name) <= 35 for name in names)


def test_a_turn_of_a_slow_endpoint_is_twice_its_q95():
    names = ["a", "b"]
    found = [board((other, Register(OPEN)), process=name) for name, other in (names, names[::-1])]
    assert sorted(view(each, OPEN, q95=20.0).probe_at for each in found) == [NOW + 5, NOW + 5 + 40]


def test_while_somebody_probes_the_others_wait_and_the_next_rank_follows_a_turn_after_the_last_progress():
    names = ["a", "b", "c"]
    order = sorted(names, key=first_turns(names).__getitem__)
    boards = {
        name: board(*((other, Register(OPEN)) for other in names if other != name), process=name) for name in names
    }
    probing = Register(Word(3, Phase.HALF_OPEN, 5.0), probes=1)
    for at in (NOW + 6, NOW + 8):
        for name, other in (order[1:], order[:0:-1]):
            boards[name].seen(order[0], probing, now=at)
            boards[name].seen(other, Register(OPEN), now=at)
    after = [view(boards[name], OPEN, now=NOW + 8).probe_at for name in order[1:]]
    assert after == [NOW + 8 + TURN_SECONDS_MIN, NOW + 8 + 2 * TURN_SECONDS_MIN]


def test_a_half_open_register_without_probes_is_no_progress():
    found = board(("a", Register(OPEN)))
    before = view(found, OPEN).probe_at
    found.seen("a", Register(Word(3, Phase.HALF_OPEN, 5.0), probes=0), now=NOW + 3)
    assert view(found, OPEN, now=NOW + 3).probe_at in {before, before - TURN_SECONDS_MIN}


def test_probes_of_an_earlier_epoch_are_no_progress():
    found = board(("a", Register(OPEN)), ("b", Register(OPEN)))
    before = view(found, OPEN).probe_at
    found.seen("b", Register(Word(2, Phase.HALF_OPEN, 5.0), probes=1), now=NOW + 1)
    assert view(found, OPEN, now=NOW + 1).probe_at == before


def test_probes_of_one_epoch_do_not_put_off_those_of_the_next():
    found = board(("a", Register(OPEN)))
    found.seen("a", Register(Word(3, Phase.HALF_OPEN, 5.0), probes=1), now=NOW + 6)
    again = Word(4, Phase.OPEN, 5.0)
    found.seen("a", Register(again), now=NOW + 7)
    assert view(found, again, now=NOW + 7).probe_at in {NOW + 12, NOW + 12 + TURN_SECONDS_MIN}


def test_who_takes_over_from_a_prober_is_not_put_off_by_what_that_one_has_done():
    found = board(("a", Register(OPEN)))
    probing = Word(3, Phase.HALF_OPEN, 5.0)
    found.seen("a", Register(probing, probes=1), now=NOW + 6)
    assert view(found, probing, now=NOW + 16).probe_at == NOW + 5


def test_a_prober_is_not_put_off_by_workers_that_come_later():
    found = board()
    view(found, OPEN)
    probing = Word(3, Phase.HALF_OPEN, 5.0)
    assert view(found, probing, now=NOW + 5).probe_at == NOW + 5
    for n in range(20):
        found.seen(f"late{n}", Register(OPEN), now=NOW + 6)
    assert view(found, probing, now=NOW + 6).probe_at == NOW + 5


def test_who_was_not_heard_for_three_seconds_takes_no_turn():
    order = sorted(["a", "b", "c"], key=first_turns(["a", "b", "c"]).__getitem__)
    found = board(*((other, Register(OPEN)) for other in order[:2]), process=order[2])
    for n in range(1, 5):
        found.seen(order[1], Register(OPEN), now=NOW + n)
    assert view(found, OPEN, now=NOW + 3).probe_at == NOW + 5 + 1 * TURN_SECONDS_MIN, "the first of three was silent"


def test_successors_of_workers_that_all_died_go_on_where_the_wait_ends():
    names = ["dead1", "dead2", "dead3", "a", "b"]
    turns = []
    for process, other in (("a", "b"), ("b", "a")):
        found = BreakerBoard("large|eu", process)
        for dead in names[:3]:
            found.seen(dead, Register(OPEN), age_seconds=2.0, now=NOW)
        for each in (process, other):
            found.seen(each, Register(OPEN), now=NOW + 1.5)
        turns.append(view(found, OPEN, now=NOW + 1.5).probe_at)
    assert sorted(turns) == [NOW - 2 + 5, NOW - 2 + 5 + TURN_SECONDS_MIN]


def test_when_nobody_was_heard_for_a_while_the_line_stays_as_it_was():
    turns = {}
    for name in ("a", "b", "c"):
        found = board(*((other, Register(OPEN)) for other in "abc" if other != name), process=name)
        turns[name] = view(found, OPEN, now=NOW + 20).probe_at
    assert sorted(turns.values()) == [NOW + 5 + TURN_SECONDS_MIN * rank for rank in range(3)]


@pytest.mark.parametrize(
    ("phase", "since", "age", "waited"),
    [
        pytest.param(Phase.OPEN, 0.0, 0.0, 0.0, id="opened now"),
        pytest.param(Phase.OPEN, 2.0, 1.0, 3.0, id="opened before it was written, written before it was read"),
        pytest.param(Phase.OPEN, 2.0, 1e9, 5.0, id="long ago: the wait is over, no more"),
        pytest.param(Phase.OPEN, 2.0, -300.0, 2.0, id="written in the future: just now"),
        pytest.param(Phase.HALF_OPEN, 0.0, 0.0, 5.0, id="who is being probed has waited"),
    ],
)
def test_an_opening_is_as_old_as_its_writer_and_the_broker_say(phase, since, age, waited):
    found = BreakerBoard("large|eu", "me")
    found.seen("dead", Register(Word(3, phase, 5.0), since_seconds=since), age_seconds=age, now=NOW)
    rank = [0.0, TURN_SECONDS_MIN]
    assert view(found, OPEN).probe_at in {NOW - waited + 5.0 + turns for turns in rank}


def test_the_wait_begins_when_an_opening_is_first_heard_of_and_is_the_longest_that_was_said():
    found = board(("a", Register(OPEN)))
    found.seen("a", Register(Word(3, Phase.OPEN, 8.0)), now=NOW + 4)
    assert view(found, OPEN, now=NOW + 4).probe_at in {NOW + 8, NOW + 8 + TURN_SECONDS_MIN}


def test_when_nobody_can_be_heard_an_opening_is_probed_after_ten_waits():
    found = board(("a", Register(OPEN)))
    assert view(found, OPEN, now=NOW + LIVE_SECONDS).probe_at == NOW + 50


# What is said


def said_at(found: BreakerBoard, own: Register, *, is_wanted: bool, seconds: float, echo: bool = True) -> list[float]:
    """When it speaks, if it is asked ten times a second."""
    times = []
    for n in range(int(seconds * 10)):
        now = NOW + n / 10
        register = found.announcement(own, is_wanted=is_wanted, now=now)
        if register is not None:
            times.append(round(now - NOW, 1))
            if echo:
                found.seen("me", register, now=now)
    return times


@pytest.mark.parametrize(
    ("own", "is_wanted", "pause"),
    [
        pytest.param(Register(), True, HEARTBEAT_SECONDS, id="all well: a heartbeat"),
        pytest.param(counted(9), True, HEARTBEAT_SECONDS, id="good calls need no more"),
        pytest.param(counted(9, 1), True, ANNOUNCE_SECONDS, id="trouble: every second"),
        pytest.param(
            Register(buckets=(Counts(9), Counts(9, failed=1))),
            True,
            ANNOUNCE_SECONDS,
            id="trouble a while ago: every second",
        ),
        pytest.param(
            Register(Word(1, Phase.HALF_OPEN, 5.0), probes=1), True, ANNOUNCE_SECONDS, id="probes: every second"
        ),
        pytest.param(
            Register(Word(1, Phase.HALF_OPEN, 5.0), probes=1),
            False,
            ANNOUNCE_SECONDS,
            id="probes still in flight: every second",
        ),
        pytest.param(
            Register(Word(1, Phase.OPEN, 5.0)), True, ANNOUNCE_SECONDS, id="open and wanted: in line, every second"
        ),
    ],
)
def test_how_often_a_worker_speaks(own, is_wanted, pause):
    assert said_at(board(), own, is_wanted=is_wanted, seconds=20.5) == [n * pause for n in range(int(20 / pause) + 1)]


def test_for_an_idle_endpoint_it_speaks_once_an_hour():
    found = board()
    assert said_at(found, Register(OPEN), is_wanted=False, seconds=60.0) == [0.0]
    assert found.announcement(Register(OPEN), is_wanted=False, now=NOW + REFRESH_SECONDS - 1) is None
    assert found.announcement(Register(OPEN), is_wanted=False, now=NOW + REFRESH_SECONDS) is not None


def test_news_is_said_at_once_and_again_every_second_until_it_is_heard_back():
    found = board()
    found.announcement(Register(), is_wanted=True, now=NOW)
    own = Register(Word(1, Phase.OPEN, 5.0))
    first = found.announcement(own, is_wanted=True, now=NOW + 0.1)
    assert first is not None
    assert found.announcement(own, is_wanted=True, now=NOW + 0.9) is None
    assert found.announcement(own, is_wanted=True, now=NOW + 1.1) is not None
    found.seen("me", first, now=NOW + 1.2)
    assert found.announcement(own, is_wanted=False, now=NOW + 5) is None


def test_also_the_news_that_it_is_closed_is_said_until_it_is_heard_back():
    found = board(("a", Register(OPEN)))
    assert said_at(found, Register(CLOSED), is_wanted=True, seconds=3.5, echo=False) == [0.0, 1.0, 2.0, 3.0]


def test_what_others_have_said_is_no_news():
    found = board(("a", Register(OPEN)))
    found.announcement(Register(), is_wanted=True, now=NOW)
    assert found.announcement(Register(OPEN), is_wanted=True, now=NOW + 0.1) is None


def test_who_is_well_says_so_every_second_while_another_fails_half_of_its_calls():
    for failed, times in ((4, 3), (5, 21)):
        found = board(("a", counted(10, failed)))
        view(found)
        assert len(said_at(found, counted(8), is_wanted=True, seconds=20.5)) == times


def test_a_register_says_how_long_ago_the_epoch_was_opened_and_no_instant():
    found = board()
    first = found.announcement(Register(Word(1, Phase.OPEN, 5.0)), is_wanted=True, now=NOW)
    later = found.announcement(Register(Word(1, Phase.OPEN, 5.0)), is_wanted=True, now=NOW + 4)
    assert first is not None
    assert later is not None
    assert (first.since_seconds, later.since_seconds) == (0.0, 4.0)


def test_when_it_is_due_is_known_in_advance():
    found = board()
    random = Random(3)
    now = NOW
    for _ in range(200):
        own = random.choice([Register(), counted(9), counted(9, 1), Register(Word(1, Phase.OPEN, 5.0))])
        is_wanted = random.random() < 0.5
        due_at = found.announce_at(own, is_wanted=is_wanted)
        register = found.announcement(own, is_wanted=is_wanted, now=now)
        assert (register is not None) == (now >= due_at)
        now += random.uniform(0, 3)


# Deleting


def test_a_register_is_deleted_only_when_a_live_one_knows_as_much():
    found = board(("a", Register(OPEN)))
    view(found, OPEN)
    assert found.may_remove("me", now=NOW)
    assert not found.may_remove("me", now=NOW + LIVE_SECONDS), "the other may be dead"
    found.removed("a")
    assert not found.may_remove("me", now=NOW)


def test_the_living_are_not_deleted_by_others_and_the_dead_by_one_who_has_said_as_much():
    found = board(("a", Register(OPEN)))
    view(found, OPEN)
    later = NOW + LIVE_SECONDS
    assert not found.may_remove("a", now=NOW)
    assert not found.may_remove("a", now=later), "nobody living has written the epoch"
    found.announcement(Register(OPEN), is_wanted=True, now=later)
    assert found.may_remove("a", now=later)
    assert not found.may_remove("stranger", now=later)
    assert not board(("a", Register(OPEN)), ("b", Register(OPEN))).may_remove("a", now=NOW), "it lives"


def test_what_never_opened_leaves_nothing_behind():
    assert board().may_remove("me", now=NOW)


def test_what_a_deleted_register_said_still_holds():
    found = board(("a", Register(OPEN)))
    found.removed("a")
    assert view(found).word == OPEN


def test_who_was_not_heard_for_a_day_is_forgotten_and_what_it_said_still_holds():
    found = board(("a", Register(OPEN)))
    view(found, OPEN, now=NOW + FORGET_SECONDS - 1)
    assert "a" in found._others
    assert view(found, OPEN, now=NOW + FORGET_SECONDS + LIVE_SECONDS).word == OPEN
    assert "a" not in found._others
