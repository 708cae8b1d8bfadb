"""What a run of a contest comes to, from a run made up by hand."""

import pytest

from bench.contest import Answer, Case, Measured, Trouble
from bench.figures import recovery_seconds, repeated_calls, summary, wasted_share
from failsoft.simulation.workload import Ask
from failsoft.testing.model_server import Faults

DOWN = Trouble(10.0, 20.0, Faults(hang=True))


def account(*, calls: int, answered: int, busy: float, cut: float = 0.0, repeated: int = 0) -> dict[str, float]:
    return {"calls": calls, "answered": answered, "busy_seconds": busy, "wasted_seconds": cut, "repeated": repeated}


def measured(case: Case, answers: dict[int, Answer], **models: dict[str, float]) -> Measured:
    sent_at = {ask.number: ask.at for ask in case.asks}
    return Measured(case, "failsoft", sent_at, answers, models, 0.0, 0.0, 0.0)


def asks(*instants: float) -> list[Ask]:
    return [Ask(number, at, "interactive", 2.0, number) for number, at in enumerate(instants)]


def ok(at: float, level: int = 1, call: str = "") -> Answer:
    return Answer("ok", {1: "large", 2: "small", 3: "regret"}[level], level, at, call or str(at))


def test_late_answers_and_missing_ones_are_worth_nothing():
    run = measured(
        Case("x", asks(0, 0, 0, 0, 0)),
        {0: ok(1), 1: ok(1.5, 2), 2: ok(2.5), 3: Answer("expired", None, None, 1, "3")},
    )
    found = summary(run)
    assert (found.offered, found.in_time, found.levels) == (5, 2, {1: 1, 2: 1})
    assert found.value == pytest.approx((1 + 0.7) / 5)
    assert found.outcomes == {"expired": 1, "ok": 3}


def test_wasted_is_what_brought_no_answer_in_time():
    run = measured(
        Case("x", asks(0, 0, 0)), {0: ok(1), 1: ok(2.5)}, large=account(calls=3, answered=2, busy=3.0, cut=1.0)
    )
    assert wasted_share(run) == pytest.approx(2 / 3)  # one cut, one late, one in time: a second each


def test_answers_of_one_call_are_one_useful_call():
    run = measured(
        Case("x", asks(0, 0)), {0: ok(1, call="a"), 1: ok(1, call="a")}, large=account(calls=1, answered=1, busy=1.0)
    )
    assert wasted_share(run) == 0
    assert summary(run).calls_per_request == pytest.approx(0.5)


def test_repeats_are_told_by_the_models():
    models = {
        "large": account(calls=3, answered=3, busy=3, repeated=2),
        "small": account(calls=1, answered=1, busy=1, repeated=1),
    }
    assert repeated_calls(measured(Case("x", asks(0)), {}, **models)) == 3


def test_recovery_ends_where_level_1_is_back_for_three_seconds():
    case = Case("x", asks(*range(40)), DOWN)
    answers = {ask.number: ok(ask.at + 1, 2 if 10 <= ask.at < 25 else 1) for ask in case.asks}
    assert recovery_seconds(measured(case, answers)) == pytest.approx(4.25)  # from 24.25 on, 25, 26 and 27 are seen


def test_what_never_comes_back_has_no_recovery():
    case = Case("x", asks(*range(40)), DOWN)
    answers = {ask.number: ok(ask.at + 1, 2 if ask.at >= 10 else 1) for ask in case.asks}
    assert recovery_seconds(measured(case, answers)) is None
