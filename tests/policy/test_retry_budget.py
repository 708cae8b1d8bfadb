from collections import deque
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.errors import ConfigurationError
from failsoft.policy.retry_budget import RetryBudget, RetryBudgetSettings, allows_execution

REQUESTS = 20_000
RATE = 100.0
SPARSE = 1e9
"""A reserve that earns nothing in the time of a test."""


@dataclass
class Layer:
    """One service of a chain: calls the next one, and again while its budget and the request's count allow."""

    budget: RetryBudget
    below: "Layer | None"
    random: Random
    failure_rate: float = 1.0
    executions: int = field(default=0)

    def serve(self, now: float) -> bool:
        self.budget.deposit(now=now)
        done = 0
        while True:
            done += 1
            self.executions += 1
            if self.below.serve(now) if self.below else self.random.random() >= self.failure_rate:
                return True
            if not allows_execution(done) or not self.budget.try_withdraw(now=now):
                return False


def chain(length: int, settings: RetryBudgetSettings, failure_rate: float = 1.0) -> list[Layer]:
    """Top first."""
    layers: list[Layer] = []
    random = Random(5)
    for _ in range(length):
        layers.insert(0, Layer(RetryBudget(settings, now=0.0), layers[0] if layers else None, random, failure_rate))
    return layers


def run(layers: list[Layer], requests: int = REQUESTS) -> float:
    """Serve them at 100/s; the part that succeeded."""
    return sum(layers[0].serve(n / RATE) for n in range(requests)) / requests


@pytest.mark.parametrize(("layers", "ratio"), [(1, 0.1), (2, 0.1), (3, 0.1), (3, 0.2)])
def test_under_total_outage_executions_stay_within_the_bound_through_any_number_of_layers(layers, ratio):
    settings = RetryBudgetSettings(ratio=ratio, widening_ratio=0.0)
    built = chain(layers, settings)
    run(built)
    reserve = 1 + REQUESTS / RATE / settings.reserve_seconds
    growth = 1 + ratio
    bound = growth**layers * REQUESTS + reserve * sum(growth**above for above in range(layers))
    assert built[-1].executions <= bound
    assert built[-1].executions >= 0.99 * bound


def test_without_a_budget_the_same_outage_is_multiplied_by_every_layer():
    built = chain(3, RetryBudgetSettings(enforce=False))
    run(built, requests=500)
    assert built[-1].executions == 3**3 * 500


def test_retries_at_one_layer_alone_cost_its_ratio():
    built = chain(3, RetryBudgetSettings(ratio=0.0, widening_ratio=0.0, reserve_seconds=SPARSE))
    built[-1].budget = RetryBudget(RetryBudgetSettings(ratio=0.2, reserve_seconds=SPARSE), now=0.0)
    run(built)
    assert built[-1].executions / REQUESTS == pytest.approx(1.2, abs=0.001)


@pytest.mark.parametrize(("failure_rate", "success"), [(0.01, 0.9999), (0.05, 0.997)])
def test_what_fails_now_and_then_is_retried_as_if_there_were_no_budget(failure_rate, success):
    built = chain(1, RetryBudgetSettings(), failure_rate)
    achieved = run(built)
    assert achieved >= success
    unlimited = chain(1, RetryBudgetSettings(enforce=False), failure_rate)
    assert run(unlimited) == pytest.approx(achieved, abs=0.0005)


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["request", "retry"]), st.floats(0, 5), st.booleans()), min_size=1, max_size=200
    )
)
def test_the_ledger_never_pays_more_than_was_earned(steps):
    settings = RetryBudgetSettings()
    budget = RetryBudget(settings, now=0.0)
    now, earned, retries = 0.0, 0.0, 0
    for kind, pause, is_widening in steps:
        now += pause
        if kind == "request":
            budget.deposit(is_widening=is_widening, now=now)
            earned += settings.widening_ratio if is_widening else settings.ratio
        else:
            retries += budget.try_withdraw(now=now)
        assert retries <= earned + 1 + now / settings.reserve_seconds + 1e-6
        assert budget.balance(now=now) >= -1e-9
    assert retries == budget.withdrawn


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 30)), min_size=1, max_size=60))
def test_in_any_burst_the_balance_is_at_most_what_the_last_ten_seconds_deposited(arrivals):
    budget = RetryBudget(now=0.0)
    now, deposits = 0.0, []
    for pause, count in arrivals:
        now += pause
        for _ in range(count):
            budget.deposit(now=now)
            deposits.append(now)
        recent = sum(at > now - 10 for at in deposits)
        assert budget.balance(now=now) <= 1 + 0.1 * recent + 1e-9


def test_ten_requests_earn_exactly_one_retry():
    budget = RetryBudget(RetryBudgetSettings(reserve_seconds=SPARSE), now=0.0)
    assert budget.try_withdraw(now=0.0)  # the reserve
    for _ in range(9):
        budget.deposit(now=0.0)
    assert not budget.try_withdraw(now=0.0)
    budget.deposit(now=0.0)
    assert budget.try_withdraw(now=0.0)
    assert (budget.withdrawn, budget.refused) == (2, 1)


def test_while_latency_widens_it_takes_fifty():
    budget = RetryBudget(RetryBudgetSettings(reserve_seconds=SPARSE), now=0.0)
    budget.try_withdraw(now=0.0)
    for _ in range(49):
        budget.deposit(is_widening=True, now=0.0)
    assert not budget.try_withdraw(now=0.0)
    budget.deposit(is_widening=True, now=0.0)
    assert budget.try_withdraw(now=0.0)


def test_the_quiet_past_pays_for_no_storm():
    budget = RetryBudget(RetryBudgetSettings(reserve_seconds=SPARSE), now=0.0)
    for _ in range(1_000):
        budget.deposit(now=0.0)
    assert budget.balance(now=8.9) == pytest.approx(101)
    assert budget.balance(now=10.0) == pytest.approx(1)


def test_the_reserve_retries_a_rare_request_once_in_ten_seconds():
    budget = RetryBudget(now=0.0)
    assert [budget.try_withdraw(now=now) for now in (0.0, 9.9, 10.1, 15.0, 20.2, 120.0, 121.0)] == [
        True, False, True, False, True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize(("is_redelivery", "executions"), [(False, 3), (True, 2)])
def test_a_request_is_executed_three_times_at_most_and_a_redelivered_one_twice(is_redelivery, executions):
    allowed = [allows_execution(done, is_redelivery=is_redelivery) for done in range(5)]
    assert allowed == [done < executions for done in range(5)]


def test_dark_it_refuses_nothing_and_counts_what_it_would_have():
    budget = RetryBudget(RetryBudgetSettings(enforce=False), now=0.0)
    assert all(budget.try_withdraw(now=0.0) for _ in range(5))
    assert (budget.withdrawn, budget.refused) == (1, 4)


@dataclass(eq=False)
class Call:
    came_at: float
    called_at: float
    execution: int
    is_over: bool = False


def answered_after_outage(settings: RetryBudgetSettings) -> float:
    """A server of ten calls/s is sent eight, and fails all of them from 60 to 120 s.

    Who is not answered within 5 s goes away and may call again; the server works on for who has gone, as most do.

    Returns:
        The part answered of the requests that came 30-60 s after the end of the outage.
    """
    budget = RetryBudget(settings, now=0.0)
    waiting: deque[Call] = deque()
    answered = 0

    def again(call: Call, now: float) -> None:
        call.is_over = True
        if allows_execution(call.execution) and budget.try_withdraw(now=now):
            waiting.append(Call(call.came_at, now, call.execution + 1))

    for slot in range(2_100):
        now = slot / 10
        if slot % 5:  # eight requests a second
            budget.deposit(now=now)
            waiting.append(Call(now, now, 1))
        for late in [call for call in waiting if not call.is_over and now - call.called_at >= 5]:
            again(late, now)
        if not waiting:
            continue
        served = waiting.popleft()
        if 60 <= now < 120:
            if not served.is_over:
                again(served, now)
        elif not served.is_over:
            answered += 150 <= served.came_at < 180
    return answered / 240


def test_an_outage_of_a_minute_at_four_fifths_of_the_load_is_over_thirty_seconds_after_its_end():
    assert answered_after_outage(RetryBudgetSettings()) >= 0.95


def test_the_same_outage_does_not_end_by_itself_where_every_failure_is_retried():
    assert answered_after_outage(RetryBudgetSettings(enforce=False)) < 0.5


@pytest.mark.parametrize(
    "wrong", [{"ratio": -0.1}, {"ratio": 1.5}, {"widening_ratio": 0.5}, {"ttl_seconds": 0.0}, {"reserve_seconds": 0.0}]
)
def test_a_budget_that_cannot_work_is_refused(wrong):
    with pytest.raises(ConfigurationError):
        RetryBudgetSettings(**wrong)
