import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.clock_offset import ClockOffset

EPOCH = 1_800_000_000.0


def seen(offset: float, *acknowledgements: tuple[float, float, float]) -> ClockOffset:
    """Feed acknowledgements (now, seconds to the append, seconds back) of a broker that is ``offset`` ahead."""
    clock = ClockOffset()
    for now, there, back in acknowledgements:
        sent_at = EPOCH + now
        appended_at = math.floor((sent_at + there + offset) * 1000) / 1000
        clock.observe(sent_at=sent_at, appended_at=appended_at, acked_at=sent_at + there + back, now=now)
    return clock


def test_nothing_is_known_before_the_first_acknowledgement():
    assert (ClockOffset().seconds, ClockOffset().uncertainty_seconds) == (0.0, math.inf)


@given(
    st.floats(-3600, 3600),
    st.lists(st.tuples(st.floats(0, 1000), st.floats(0, 5), st.floats(0, 5)), min_size=1, max_size=30),
)
def test_the_truth_is_within_the_uncertainty_of_the_estimate(offset, acknowledgements):
    clock = seen(offset, *sorted(acknowledgements))
    assert abs(clock.seconds - offset) <= clock.uncertainty_seconds + 1e-6


def test_the_fastest_acknowledgement_counts_and_not_the_latest():
    clock = seen(2.0, (0, 0.001, 0.001), (20, 0.5, 0.1), (40, 0.1, 0.9))
    assert clock.uncertainty_seconds == pytest.approx(0.0015, abs=1e-4)


def test_after_ten_minutes_an_acknowledgement_no_longer_counts():
    assert seen(2.0, (0, 0.001, 0.001), (590, 0.5, 0.5)).uncertainty_seconds < 0.01
    assert seen(2.0, (0, 0.001, 0.001), (610, 0.5, 0.5)).uncertainty_seconds > 0.4


def test_a_clock_that_was_set_is_believed_from_the_first_acknowledgement_on():
    clock = seen(0.0, (0, 0.001, 0.001))
    clock.observe(sent_at=EPOCH + 5, appended_at=EPOCH + 15.1, acked_at=EPOCH + 5.2, now=5)
    assert clock.seconds == pytest.approx(10.0, abs=0.01)


def test_an_acknowledgement_from_before_the_send_says_nothing():
    clock = ClockOffset()
    clock.observe(sent_at=EPOCH, appended_at=EPOCH, acked_at=EPOCH - 1, now=0)
    assert clock.uncertainty_seconds == math.inf


def test_memory_is_bounded_however_many_acknowledgements_there_are():
    clock = seen(0.0, *((n / 100, 0.001 + n / 1e6, 0.001) for n in range(70_000)))
    assert len(clock._kept) <= 60
