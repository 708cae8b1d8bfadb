import random

from hypothesis import given
from hypothesis import strategies as st

from failsoft.simulation.engine import Engine

instants = st.lists(st.floats(0, 100), max_size=30)


@given(instants)
def test_what_is_due_runs_in_order_of_time(due):
    engine = Engine()
    seen: list[float] = []
    for instant in due:
        engine.at(instant, lambda: seen.append(engine.now))
    engine.run()
    assert seen == sorted(due)


def test_what_is_due_at_one_instant_runs_in_the_order_in_which_it_was_scheduled():
    engine = Engine()
    seen: list[float] = []
    for number in range(20):
        engine.at(1.0, seen.append, number)
    engine.run()
    assert seen == list(range(20))


def test_dice_shuffle_what_is_due_at_one_instant_and_the_same_seed_shuffles_it_the_same():
    def order(seed: int) -> list[int]:
        engine = Engine(ties=random.Random(seed))
        seen: list[int] = []
        for number in range(20):
            engine.at(1.0, seen.append, number)
        engine.run()
        return seen

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert sorted(order(1)) == list(range(20))


def test_an_instant_that_has_passed_means_now():
    engine = Engine()
    seen: list[float] = []
    engine.at(5.0, engine.at, 1.0, lambda: seen.append(engine.now))
    engine.run()
    assert seen == [5.0]


def test_running_until_an_instant_leaves_what_is_due_later():
    engine = Engine()
    seen: list[str] = []
    engine.at(1.0, seen.append, "early")
    engine.at(3.0, seen.append, "late")
    engine.run(until=2.0)
    assert (seen, engine.now) == (["early"], 2.0)
    engine.run()
    assert seen == ["early", "late"]
