import pytest

from failsoft.policy.events import Verdict
from failsoft.policy.outcome import Ending, Outcome, Reason
from failsoft.simulation.report import Called, Tally, quantiles
from failsoft.simulation.workload import Ask


def end(
    number: int, level: int | None, *, at: float = 1.0, request_class: str = "batch", outcome: Outcome = Outcome.OK
) -> tuple[Ask, Ending, float]:
    ask = Ask(number, 0.0, request_class, 2.0, content=number)
    tier = None if level is None else f"tier-{level}"
    return ask, Ending(outcome, Reason.NONE, tier=tier, level=level), at


@pytest.fixture
def tally() -> Tally:
    found = Tally()
    for ask, ending, at in (
        end(0, 1),
        end(1, 2, request_class="interactive"),
        end(2, 3),
        end(3, 1, at=2.5),
        end(4, None, outcome=Outcome.EXPIRED),
    ):
        found.asked(ask)
        found.result(ask, ending, at)
    found.asked(Ask(5, 10.0, "batch", 2.0, content=5))
    found.calls = [
        Called("batch", "tier-1", 0.0, 3.0, Verdict.OK),
        Called("batch", "tier-1", 11.0, 1.0, Verdict.TIMEOUT),
    ]
    return found


def test_value_counts_what_was_in_time_by_its_level(tally):
    summary = tally.summary()
    assert (summary.offered, summary.in_time, summary.levels) == (6, 3, {1: 1, 2: 1, 3: 1})
    assert summary.value == pytest.approx((1 + 0.7 + 0.2) / 6)
    assert summary.outcomes == {"expired": 1, "ok": 4}


def test_wasted_work_is_the_part_of_the_models_time_that_brought_no_answer(tally):
    assert tally.summary().wasted_work == 0.25
    assert tally.summary().calls_per_request == pytest.approx(2 / 6)


def test_figures_can_be_asked_by_class_and_by_time_of_asking(tally):
    assert tally.summary("interactive").levels == {2: 1}
    assert list(tally.by_class()) == ["batch", "interactive"]
    late = tally.summary(since=5.0)
    assert (late.offered, late.in_time, late.wasted_work) == (1, 0, 1.0)


def test_quantiles_are_values_that_occurred():
    assert quantiles([3.0, 1.0, 2.0], (0.0, 0.5, 0.99)) == [1.0, 2.0, 3.0]
    assert quantiles([], (0.5,)) == [0.0]
