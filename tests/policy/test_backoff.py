from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.backoff import delay_seconds, retry_after_seconds


@given(
    previous=st.none() | st.floats(0, 10),
    remaining=st.floats(-5, 1e6),
    seed=st.integers(0, 2**32),
)
def test_a_wait_is_never_above_two_seconds_a_quarter_of_what_remains_or_three_times_the_last(previous, remaining, seed):
    found = delay_seconds(previous, remaining_seconds=remaining, random=Random(seed))
    assert 0 <= found <= min(2.0, max(0.0, remaining / 4), 3 * max(previous or 0.0, 0.1))
    if remaining >= 0.4:
        assert found >= 0.1


def test_the_first_wait_is_between_the_base_and_three_times_the_base():
    random = Random(1)
    drawn = [delay_seconds(None, remaining_seconds=60, random=random) for _ in range(2_000)]
    assert min(drawn) == pytest.approx(0.1, abs=0.001)
    assert max(drawn) == pytest.approx(0.3, abs=0.001)
    assert sum(drawn) / len(drawn) == pytest.approx(0.2, rel=0.03)


def test_those_who_failed_together_do_not_return_together():
    """A thousand fail at once: no 50 ms of the second after their third wait sees more than a tenth of them."""
    random = Random(2)
    returns = []
    for _ in range(1_000):
        at, wait = 0.0, None
        for _ in range(3):
            wait = delay_seconds(wait, remaining_seconds=60, random=random)
            at += wait
        returns.append(at)
    busiest = max(sum(start <= at < start + 0.05 for at in returns) for start in (n * 0.05 for n in range(80)))
    assert busiest < 100


def test_a_request_that_is_nearly_due_waits_shortly_and_one_that_is_due_not_at_all():
    random = Random(3)
    assert delay_seconds(None, remaining_seconds=0.2, random=random) == pytest.approx(0.05)
    assert delay_seconds(None, remaining_seconds=0.0, random=random) == 0.0
    assert delay_seconds(None, remaining_seconds=-1.0, random=random) == 0.0


def test_the_same_source_of_randomness_gives_the_same_waits():
    first, second = (
        [delay_seconds(None, remaining_seconds=9, random=random) for _ in range(5)] for random in (Random(7), Random(7))
    )
    assert first == second


@pytest.mark.parametrize(
    ("asked", "remaining", "waits"),
    [
        pytest.param(1.0, 10.0, 1.0, id="as long as asked"),
        pytest.param(5.0, 10.0, 5.0, id="up to half of what remains"),
        pytest.param(5.1, 10.0, None, id="longer: the next tier"),
        pytest.param(0.0, 10.0, 0.0, id="at once"),
        pytest.param(1.0, -1.0, None, id="nothing remains"),
        pytest.param(-3.0, 10.0, None, id="nonsense"),
    ],
)
def test_an_endpoint_that_says_when_to_come_back_is_believed_if_half_of_the_time_is_left(asked, remaining, waits):
    assert retry_after_seconds(asked, remaining_seconds=remaining) == waits
