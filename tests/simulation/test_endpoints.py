import math
import random
from functools import partial
from typing import Any

import pytest

from failsoft.policy.events import Verdict
from failsoft.simulation.endpoints import HANG_SECONDS, REFUSAL_SECONDS, Cancellation, Condition, ModelEndpoint, Service
from failsoft.simulation.engine import Engine
from failsoft.simulation.latency_law import Lognormal


class Always:
    """A law without spread."""

    def typical_seconds(self, in_service: int) -> float:
        return 1.0

    def seconds(self, rng: random.Random, in_service: int, *, slow: float, widen: float) -> float:
        return slow


class Caller:
    def __init__(self, **options: Any) -> None:
        self.engine = Engine()
        self.model = ModelEndpoint(self.engine, Always(), rng=random.Random(1), **options)
        self.ends: list[tuple[str, Verdict, float]] = []

    def call(self, name: str, **options: Any) -> Service:
        return self.model.start(lambda verdict: self.ends.append((name, verdict, self.engine.now)), **options)


def test_calls_beyond_the_slots_wait_and_beyond_the_queue_are_told_to_come_later():
    caller = Caller(slots=1, queue_max=1)
    for name in "abc":
        caller.call(name)
    caller.engine.run()
    assert caller.ends == [
        ("c", Verdict.BACKPRESSURE, REFUSAL_SECONDS),
        ("a", Verdict.OK, 1.0),
        ("b", Verdict.OK, 2.0),
    ]


@pytest.mark.parametrize(
    ("condition", "end"),
    [
        (Condition(slow=5.0), (Verdict.OK, 5.0)),
        (Condition(error_share=1.0), (Verdict.TRANSIENT, REFUSAL_SECONDS)),
        (Condition(busy_share=1.0), (Verdict.BACKPRESSURE, REFUSAL_SECONDS)),
        (Condition(hangs=True), (Verdict.TRANSIENT, HANG_SECONDS)),
    ],
)
def test_an_illness_befalls_calls_that_start_while_it_is_on(condition, end):
    caller = Caller(slots=3)
    caller.call("before")
    caller.model.illnesses.append(condition)
    caller.call("during")
    caller.model.illnesses.remove(condition)
    caller.call("after")
    caller.engine.run()
    assert {name: (verdict, at) for name, verdict, at in caller.ends} == {
        "before": (Verdict.OK, 1.0),
        "during": end,
        "after": (Verdict.OK, 1.0),
    }


def test_two_illnesses_add_up_and_one_caller_may_have_its_own():
    both = Condition(slow=2.0, error_share=0.2) + Condition(slow=3.0, error_share=0.5, hangs=True)
    assert both == Condition(slow=6.0, error_share=0.5, hangs=True)
    caller = Caller(slots=2)
    caller.call("on a bad way", seen_as=Condition(error_share=1.0))
    caller.call("on a good one")
    caller.engine.run()
    assert [(name, verdict) for name, verdict, _ in caller.ends] == [
        ("on a bad way", Verdict.TRANSIENT),
        ("on a good one", Verdict.OK),
    ]


@pytest.mark.parametrize(
    ("cancellation", "is_rid", "starts_at", "ends"),
    [
        (Cancellation.FREES, True, 0.5, [("next", 1.5)]),
        (Cancellation.BURNS, True, 1.0, [("next", 2.0)]),
        (Cancellation.HOLDS, False, 1.0, [("cut", 1.0), ("next", 2.0)]),
    ],
)
def test_what_a_cut_does_is_the_endpoints_choice(cancellation, is_rid, starts_at, ends):
    caller = Caller(slots=1, cancellation=cancellation)
    service = caller.call("cut")
    caller.call("next")
    caller.engine.at(0.5, lambda: rid.append(caller.model.cut(service)))
    rid: list[bool] = []
    caller.engine.run()
    assert rid == [is_rid]
    assert [(name, at) for name, _, at in caller.ends] == ends
    assert caller.model.in_service == 0


@pytest.mark.parametrize("cancellation", Cancellation)
def test_a_call_that_is_cut_while_it_waits_is_never_served(cancellation):
    caller = Caller(slots=1, cancellation=cancellation)
    caller.call("first")
    waiting = caller.call("waiting")
    assert caller.model.cut(waiting)
    caller.engine.run()
    assert [name for name, *_ in caller.ends] == ["first"]


def mean_wait(busy: float, law: Lognormal, *, slots: int, calls: int) -> float:
    """Measured, of Poisson arrivals that keep so much of the endpoint busy."""
    engine, rng = Engine(), random.Random(2)
    model = ModelEndpoint(engine, law, slots=slots, rng=rng, queue_max=calls)
    per_second = busy * slots / law.mean_seconds
    seconds = 0.0

    def end(began_at: float, _: Verdict) -> None:
        nonlocal seconds
        seconds += engine.now - began_at

    def arrive(left: int) -> None:
        model.start(partial(end, engine.now))
        if left:
            engine.after(rng.expovariate(per_second), arrive, left - 1)

    engine.at(0, arrive, calls - 1)
    engine.run()
    return seconds / calls - law.mean_seconds


def allen_cunneen(busy: float, law: Lognormal, *, slots: int) -> float:
    """The mean wait by Erlang's C and the spread of the service times."""
    offered = busy * slots
    blocked = 1.0
    for count in range(1, slots + 1):
        blocked = offered * blocked / (count + offered * blocked)
    waits = blocked / (1 - busy * (1 - blocked))
    squared_variation = math.exp(law.sigma**2) - 1
    return waits * law.mean_seconds / (slots * (1 - busy)) * (1 + squared_variation) / 2


@pytest.mark.parametrize("busy", [0.7, 0.9])
def test_a_queue_takes_as_long_as_queueing_theory_says(busy):
    law = Lognormal(1.0, 0.5)
    expected = allen_cunneen(busy, law, slots=8)
    assert mean_wait(busy, law, slots=8, calls=40_000) == pytest.approx(expected, rel=0.1)
