from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.register import NEVER_OPENED, Cause, Phase, Word

words = st.builds(
    Word,
    st.integers(0, 3),
    st.sampled_from(Phase),
    st.sampled_from([2.5, 5.0, 120.0]),
    st.integers(0, 3),
    st.frozensets(st.sampled_from(Cause)),
)


@given(words, words)
def test_a_join_does_not_depend_on_who_spoke_first(first, second):
    assert first.join(second) == second.join(first)


@given(words, words, words)
def test_a_join_does_not_depend_on_what_was_joined_before(first, second, third):
    assert first.join(second).join(third) == first.join(second.join(third))


@given(words, words)
def test_to_hear_a_word_twice_is_to_hear_it_once(first, second):
    assert first.join(first) == first
    assert first.join(second).join(second) == first.join(second)


@given(words, words)
def test_a_join_is_never_behind_what_was_joined(first, second):
    assert first.join(second).order == max(first.order, second.order)


@given(words, st.integers(1, 3))
def test_a_late_close_cannot_undo_a_later_opening(opened, later):
    close = replace(opened, phase=Phase.CLOSED)
    reopened = Word(opened.epoch + later, Phase.OPEN, 5.0, 1)
    assert reopened.join(close) == reopened


def test_of_two_that_opened_at_once_the_longer_wait_and_both_causes_hold():
    slow = Word(3, Phase.OPEN, 4.0, 1, frozenset({Cause.SLOW_CALL_RATE}))
    failing = Word(3, Phase.OPEN, 3.0, 2, frozenset({Cause.FAILURE_RATE}))
    assert slow.join(failing) == Word(3, Phase.OPEN, 4.0, 2, frozenset({Cause.SLOW_CALL_RATE, Cause.FAILURE_RATE}))


def test_after_three_thousand_random_histories_all_hear_the_same():
    """Two to six workers act on what they have heard; their records come late, in any order, twice, or compacted."""
    for seed in range(3_000):
        views = views_after_history(Random(seed))
        assert len(set(views)) == 1, f"seed {seed}"
        assert views[0].epoch > 0, f"seed {seed}: nothing happened"


def views_after_history(random: Random) -> list[Word]:
    """What each worker, and one that comes at the end and reads the compacted log, holds after all was delivered."""
    workers = random.randint(2, 6)
    views = [NEVER_OPENED] * workers
    log: list[tuple[int, Word]] = []
    waiting: list[list[Word]] = [[] for _ in range(workers)]
    for step in range(random.randint(5, 40)):
        worker = random.randrange(workers)
        if step and random.random() < 0.5:
            if waiting[worker]:
                views[worker] = views[worker].join(waiting[worker].pop(random.randrange(len(waiting[worker]))))
            continue
        views[worker] = act(views[worker], random)
        log.append((worker, views[worker]))
        for other in range(workers):
            waiting[other] += [views[worker]] * random.choice([1, 1, 2])
    for worker in range(workers):
        random.shuffle(waiting[worker])
        for word in waiting[worker]:
            views[worker] = views[worker].join(word)
    late = NEVER_OPENED
    for word in dict(log).values():  # compaction keeps the last of each worker
        late = late.join(word)
    return [*views, late]


def act(word: Word, random: Random) -> Word:
    """What a breaker may say next."""
    match word.phase:
        case Phase.CLOSED:
            cause = random.choice(list(Cause))
            return Word(word.epoch + 1, Phase.OPEN, random.uniform(2, 120), word.reopenings, frozenset({cause}))
        case Phase.OPEN:
            return replace(word, phase=Phase.HALF_OPEN)
        case Phase.HALF_OPEN if random.random() < 0.5:
            return replace(word, phase=Phase.CLOSED)
        case _:
            return Word(word.epoch + 1, Phase.OPEN, 5.0, word.reopenings + 1, frozenset({Cause.PROBE}))
