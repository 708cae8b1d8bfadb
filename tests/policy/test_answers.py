from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.answer import Answer, AnswerName, Freshness, Gone
from failsoft.policy.answers import ENTRY_BYTES, Answers, AnswersConfig
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.outcome import Outcome

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
EXACT = AnswersConfig(jitter=0.0)
"""Fresh for five minutes to the second."""


def answer(
    key: str = "a",
    *,
    level: int = 1,
    size_bytes: int = 100,
    produced_at: float = 0.0,
    fresh_seconds: float = 5 * MINUTE,
    number: int = 0,
) -> Answer:
    return Answer(AnswerName(key, level), f"tier-{level}", size_bytes, produced_at, fresh_seconds, number)


def holding(*answers: Answer, config: AnswersConfig = EXACT, now: float = 0.0) -> Answers:
    found = Answers(config, random=Random(1))
    for each in answers:
        assert found.store(each, Outcome.OK, now=now) == []
    return found


@pytest.mark.parametrize(
    ("age", "at_once", "last_resort"),
    [
        (0.0, "fresh", "fresh"),
        (5 * MINUTE - 1, "fresh", "fresh"),
        (5 * MINUTE, "stale", "stale"),
        (5 * MINUTE + HOUR - 1, "stale", "stale"),
        (5 * MINUTE + HOUR, None, "stale"),
        (5 * MINUTE + DAY - 1, None, "stale"),
        (5 * MINUTE + DAY, None, None),
    ],
)
def test_an_answer_is_fresh_then_stale_at_once_then_stale_as_a_last_resort_then_nothing(age, at_once, last_resort):
    kept = holding(answer())
    for is_last_resort, expected in ((False, at_once), (True, last_resort)):
        hit = kept.find("a", floor=3, is_last_resort=is_last_resort, now=age)
        found = None if hit is None else "stale" if hit.is_stale else "fresh"
        assert found == expected


@pytest.mark.parametrize(
    ("asked", "is_last_resort", "tolerated"),
    [
        (None, False, HOUR),
        (10.0, False, 10.0),
        (2 * HOUR, False, HOUR),
        (None, True, DAY),
        (2 * HOUR, True, 2 * HOUR),
        (2 * DAY, True, DAY),
        (0.0, True, 0.0),
    ],
)
def test_of_what_the_request_and_the_stage_tolerate_the_smaller_holds(asked, is_last_resort, tolerated):
    kept = holding(answer())
    for late, expected in ((tolerated - 1, True), (tolerated, False)):
        hit = kept.find("a", floor=3, max_stale_seconds=asked, is_last_resort=is_last_resort, now=5 * MINUTE + late)
        assert (hit is not None) == expected


def test_a_request_that_tolerates_nothing_stale_is_still_served_fresh():
    hit = holding(answer()).find("a", floor=3, max_stale_seconds=0.0, now=MINUTE)
    assert hit is not None
    assert not hit.is_stale


def test_an_answer_serves_who_accepts_its_level_and_no_one_else():
    for level in (1, 2, 3):
        kept = holding(answer(level=level))
        served = [kept.find("a", floor=floor, is_last_resort=True, now=1.0) is not None for floor in (1, 2, 3)]
        assert served == [floor >= level for floor in (1, 2, 3)]


def test_a_fresh_answer_comes_before_a_stale_one_and_then_the_better_before_the_worse():
    first, second = answer(level=1), answer(level=2)
    for best_at, worse_at, expected in ((0.0, 0.0, first), (0.0, -10 * MINUTE, first), (-10 * MINUTE, 0.0, second)):
        one, two = answer(level=1, produced_at=best_at), answer(level=2, produced_at=worse_at)
        hit = holding(one, two).find("a", floor=3, now=MINUTE)
        assert hit is not None
        assert hit.answer.name == expected.name


def test_what_a_small_model_says_during_a_failure_does_not_hide_the_better_answer():
    kept = holding(answer(level=1))
    kept.store(answer(level=2, produced_at=HOUR), Outcome.OK, now=HOUR)
    hit = kept.find("a", floor=1, is_last_resort=True, now=HOUR)
    assert hit is not None
    assert hit.answer == answer(level=1)


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.OK])
def test_only_what_was_ok_is_kept(outcome):
    kept = Answers(EXACT, random=Random(1))
    assert kept.store(answer(), outcome, now=0.0) is None
    assert kept.find("a", floor=3, now=0.0) is None
    assert kept.bytes == 0


def test_a_log_read_again_puts_no_older_answer_over_a_newer_one():
    newer = answer(produced_at=100.0)
    kept = holding(newer, now=200.0)
    assert kept.store(answer(produced_at=50.0), Outcome.OK, now=200.0) is None
    hit = kept.find("a", floor=1, now=200.0)
    assert hit is not None
    assert hit.answer == newer


def test_an_answer_of_yesterdays_log_is_kept_as_old_as_it_is_and_not_at_all_when_it_is_of_no_use():
    kept = holding(answer(produced_at=-HOUR))
    hit = kept.find("a", floor=1, now=0.0)
    assert hit is not None
    assert hit.is_stale
    assert kept.find("a", floor=1, now=5 * MINUTE) is None
    assert kept.store(answer("b", produced_at=-2 * DAY), Outcome.OK, now=0.0) is None


def test_an_answer_from_the_future_is_taken_for_one_of_now():
    kept = holding(answer(produced_at=HOUR))
    hit = kept.find("a", floor=1, now=5 * MINUTE)
    assert hit is not None
    assert hit.is_stale


def test_the_least_recently_used_make_room_and_are_named():
    config = AnswersConfig(jitter=0.0, bytes_max=3 * (ENTRY_BYTES + 100))
    kept = holding(answer("a"), answer("b"), answer("c"), config=config)
    kept.find("a", floor=1, now=0.0)
    assert kept.store(answer("d", size_bytes=150), Outcome.OK, now=0.0) == [("b", 1), ("c", 1)]
    assert [key for key in "abcd" if kept.find(key, floor=1, now=0.0)] == ["a", "d"]


def test_an_answer_larger_than_all_room_is_not_kept_and_pushes_nobody_out():
    kept = holding(answer("a"), config=AnswersConfig(jitter=0.0, bytes_max=2_000))
    assert kept.store(answer("b", size_bytes=2_000 - ENTRY_BYTES + 1), Outcome.OK, now=0.0) is None
    assert kept.find("a", floor=1, now=0.0) is not None


def test_what_is_of_no_use_any_more_is_dropped_and_named():
    kept = holding(answer("a"), answer("b", produced_at=HOUR), now=HOUR)
    assert kept.expire(now=5 * MINUTE + DAY - 1) == []
    assert kept.expire(now=5 * MINUTE + DAY) == [("a", 1)]
    assert (len(kept), kept.bytes) == (1, ENTRY_BYTES + 100)


def test_a_wrong_answer_can_be_discarded():
    kept = holding(answer(level=1), answer(level=2))
    assert kept.discard(AnswerName("a", 1)) == [("a", 1)]
    assert kept.discard(AnswerName("a", 1)) == []
    assert kept.find("a", floor=1, is_last_resort=True, now=0.0) is None
    assert kept.find("a", floor=2, now=0.0) is not None


def test_a_worker_goes_by_the_time_that_an_answer_was_given_and_never_beyond_its_own():
    for said, held in ((60.0, 60.0), (5 * MINUTE, 5 * MINUTE), (HOUR, 5 * MINUTE)):
        kept = holding(answer(fresh_seconds=said))
        stale = [hit.is_stale for at in (held - 1, held) if (hit := kept.find("a", floor=1, now=at))]
        assert stale == [False, True]


def test_what_the_log_tells_is_news_if_it_is_newer_by_a_second():
    kept = holding(answer(produced_at=100.0), now=100.0)
    for produced_at, is_news in ((50.0, False), (100.0, False), (100.9, False), (101.0, True)):
        assert (kept.hear(answer(produced_at=produced_at), now=200.0) == []) == is_news
    assert kept.hear(answer("b", produced_at=50.0), now=200.0) == []
    assert (kept.counts.stored, kept.counts.heard) == (1, 2)


def test_a_partition_takes_its_answers_along():
    kept = holding(answer("a", number=1), answer("b", number=2), answer("c", number=3))
    assert kept.lose({1, 3}) == [("a", 1), ("c", 1)]
    assert [key for key in "abc" if kept.find(key, floor=1, now=0.0)] == ["b"]
    assert kept.counts.gone == {Gone.PARTITION: 2}


def test_what_a_look_found_is_counted_by_its_freshness():
    kept = holding(answer())
    for at in (0.0, 5 * MINUTE, 2 * HOUR):
        kept.find("a", floor=1, now=at)
    kept.find("b", floor=1, now=0.0)
    assert kept.counts.lookups == dict.fromkeys(Freshness, 1)


def test_answers_stored_together_go_stale_within_a_tenth_of_the_time_either_way_and_not_together():
    kept = Answers(random=Random(7))
    for n in range(1_000):
        kept.store(answer(str(n), fresh_seconds=kept.draw_fresh_seconds()), Outcome.OK, now=0.0)
    fresh_seconds = []
    for n in range(1_000):
        stale_from = next(
            second for second in range(269, 332) if (hit := kept.find(str(n), floor=1, now=second)) and hit.is_stale
        )
        fresh_seconds.append(stale_from)
    assert min(fresh_seconds) >= 270
    assert max(fresh_seconds) <= 331
    assert fmean(fresh_seconds) == pytest.approx(300.5, abs=2.0)
    assert max(fresh_seconds.count(second) for second in set(fresh_seconds)) < 50


def test_in_the_dark_nothing_is_served_and_what_would_have_been_is_counted():
    kept = holding(answer(), config=AnswersConfig(jitter=0.0, enforce=False))
    assert kept.find("a", floor=1, now=1.0) is None
    assert kept.find("a", floor=1, now=HOUR) is None
    assert kept.find("b", floor=1, now=1.0) is None
    assert kept.counts.lookups == {Freshness.FRESH: 1, Freshness.STALE: 1, Freshness.MISSING: 1}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"ttl_seconds": 0}, "ttl_seconds"),
        ({"jitter": 1.0}, "jitter"),
        ({"jitter": -0.1}, "jitter"),
        ({"revalidate_seconds": -1}, "revalidate_seconds"),
        ({"error_seconds": -1}, "error_seconds"),
        ({"bytes_max": ENTRY_BYTES}, "bytes_max"),
    ],
)
def test_a_config_that_cannot_work_is_refused_by_name(wrong, named):
    with pytest.raises(ConfigurationError, match=named):
        AnswersConfig(**wrong)


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["store", "find", "expire", "discard"]),
        st.sampled_from("abcdef"),
        st.integers(1, 3),
        st.integers(0, 1_500),
        st.sampled_from([0.0, 60.0, 4_000.0, 100_000.0]),
    ),
    max_size=80,
)


@given(_STEPS, st.integers(0, 2**32))
def test_the_names_kept_are_those_stored_and_not_dropped_and_their_bytes_are_within_the_bound(steps, seed):
    kept = Answers(AnswersConfig(bytes_max=6_000), random=Random(seed))
    bodies: dict[AnswerName, int] = {}
    now = 0.0
    for action, key, level, size_bytes, pause in steps:
        now += pause
        if action == "store":
            stored = answer(key, level=level, size_bytes=size_bytes, produced_at=now)
            dropped = kept.store(stored, Outcome.OK, now=now)
            assert dropped is not None
            bodies[stored.name] = size_bytes
        elif action == "find":
            hit = kept.find(key, floor=level, is_last_resort=True, now=now)
            assert hit is None or (hit.answer.name in bodies and hit.answer.name.level <= level)
            dropped = []
        else:
            dropped = kept.expire(now=now) if action == "expire" else kept.discard(AnswerName(key, level))
        for name in dropped:
            del bodies[name]
        assert len(kept) == len(bodies)
        assert kept.bytes == sum(size + ENTRY_BYTES for size in bodies.values()) <= 6_000
