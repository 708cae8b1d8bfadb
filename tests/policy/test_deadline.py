import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.deadline import SUSPECT_SECONDS, Granted, Stamp, grant

EPOCH = 1_800_000_000.0
ROUNDING = 1e-5
"""Epoch seconds as floats are exact to 0.2 microseconds."""


def granted(
    stamp: Stamp,
    *,
    appended_at: float = EPOCH,
    received_at: float = EPOCH,
    clock_offset: float = 0.0,
    default_seconds: float = 5.0,
    maximum_seconds: float = 60.0,
) -> Granted:
    return grant(
        stamp,
        appended_at=appended_at,
        received_at=received_at,
        clock_offset=clock_offset,
        default_seconds=default_seconds,
        maximum_seconds=maximum_seconds,
    )


@pytest.mark.parametrize(
    ("stamp", "budget"),
    [
        pytest.param(Stamp(budget_seconds=2, sent_at=EPOCH), 2, id="budget and instant of sending"),
        pytest.param(Stamp(budget_seconds=2), 2, id="budget alone"),
        pytest.param(Stamp(expires_at=EPOCH + 3, sent_at=EPOCH), 3, id="absolute end and instant of sending"),
        pytest.param(Stamp(expires_at=EPOCH + 3), 3, id="absolute end alone, on the broker's clock"),
        pytest.param(Stamp(timeout_seconds=4), 4, id="timeout, from the append"),
        pytest.param(Stamp(), 5, id="nothing: the class's default"),
        pytest.param(Stamp(sent_at=EPOCH), 5, id="an instant of sending grants nothing"),
        pytest.param(
            Stamp(budget_seconds=2, expires_at=EPOCH + 3, timeout_seconds=4), 2, id="budget before the others"
        ),
        pytest.param(Stamp(expires_at=EPOCH + 3, timeout_seconds=4), 3, id="absolute end before timeout"),
        pytest.param(Stamp(budget_seconds=3600, sent_at=EPOCH), 60, id="the class's maximum caps the budget"),
        pytest.param(Stamp(expires_at=EPOCH + 3600), 60, id="the class's maximum caps the absolute end"),
        pytest.param(Stamp(timeout_seconds=3600), 60, id="the class's maximum caps the timeout"),
        pytest.param(Stamp(expires_at=EPOCH - 1), -1, id="an end before the append has passed"),
    ],
)
def test_the_best_of_the_senders_words_counts_and_is_only_ever_shortened(stamp, budget):
    assert granted(stamp) == Granted(budget, budget, is_suspect=False)


def test_transit_and_queue_are_taken_from_the_budget():
    stamp = Stamp(budget_seconds=10, sent_at=EPOCH)
    assert granted(stamp, appended_at=EPOCH + 1, received_at=EPOCH + 3).remaining_seconds == pytest.approx(7)


def test_the_default_and_a_timeout_run_from_the_append_whenever_it_was_sent():
    for stamp in (Stamp(), Stamp(timeout_seconds=5, sent_at=EPOCH - 4)):
        assert granted(stamp, received_at=EPOCH + 2).remaining_seconds == pytest.approx(3)


def test_the_wait_in_the_log_is_measured_on_the_brokers_clock():
    stamp = Stamp(budget_seconds=10, sent_at=EPOCH)
    behind = granted(stamp, received_at=EPOCH + 2 - 300, clock_offset=300)
    assert behind.remaining_seconds == pytest.approx(8)


def test_a_record_from_the_future_has_not_waited_a_negative_time():
    assert granted(Stamp(budget_seconds=10, sent_at=EPOCH), received_at=EPOCH - 5).remaining_seconds == 10


@pytest.mark.parametrize(
    ("sent_at", "remaining", "is_suspect"),
    [
        (EPOCH - 59, 41, False),
        (EPOCH - 60, 40, False),
        (EPOCH - 60.5, 100, True),
        (EPOCH - 3600, 100, True),
        (EPOCH + 60, 100, False),
        (EPOCH + 60.5, 100, True),
        (EPOCH + 3600, 100, True),
    ],
)
def test_clocks_a_minute_apart_do_not_agree_and_the_transit_counts_as_nothing(sent_at, remaining, is_suspect):
    found = granted(Stamp(budget_seconds=100, sent_at=sent_at), maximum_seconds=3600)
    assert found.remaining_seconds == pytest.approx(remaining)
    assert found.is_suspect == is_suspect


offsets = st.floats(-300, 300)
far_offsets = st.sampled_from([-300.0, -200.0, 0.0, 200.0, 300.0])
spans = st.floats(0, 30)


def as_seen(
    budget: float, transit: float, queue: float, *, sender: float, broker: float, worker: float, absolute: bool
) -> tuple[Granted, float]:
    """What a worker makes of a record sent at EPOCH, true time, by three clocks that are wrong; and the truth."""
    sent_at, appended_at, received_at = EPOCH + sender, EPOCH + transit + broker, EPOCH + transit + queue + worker
    said = Stamp(expires_at=sent_at + budget) if absolute else Stamp(budget_seconds=budget)
    stamp = Stamp(said.budget_seconds, sent_at, said.expires_at)
    found = granted(
        stamp,
        appended_at=appended_at,
        received_at=received_at,
        clock_offset=broker - worker,
        maximum_seconds=3600,
    )
    return found, budget - transit - queue


@given(st.floats(0, 600), spans, spans, st.tuples(far_offsets, offsets), st.booleans())
def test_with_the_brokers_clock_right_the_error_is_at_most_the_transit(budget, transit, queue, clocks, absolute):
    sender, worker = clocks
    found, truth = as_seen(budget, transit, queue, sender=sender, broker=0, worker=worker, absolute=absolute)
    assert truth - ROUNDING <= found.remaining_seconds <= truth + transit + ROUNDING


@given(st.floats(0, 600), spans, spans, st.tuples(offsets, offsets, offsets))
def test_whatever_the_three_clocks_say_nobody_gets_more_than_the_transit_too_much_or_a_minute_too_little(
    budget, transit, queue, clocks
):
    sender, broker, worker = clocks
    found, truth = as_seen(budget, transit, queue, sender=sender, broker=broker, worker=worker, absolute=False)
    behind = min(max(broker - sender, 0.0), SUSPECT_SECONDS)
    assert truth - behind - ROUNDING <= found.remaining_seconds <= truth + transit + ROUNDING


@given(st.floats(0, 600), offsets, offsets, offsets, st.booleans())
def test_a_record_that_has_just_been_sent_never_has_a_negative_rest(budget, sender, broker, worker, absolute):
    found, _ = as_seen(budget, 0, 0, sender=sender, broker=broker, worker=worker, absolute=absolute)
    assert found.remaining_seconds >= -ROUNDING
    assert found.budget_seconds == pytest.approx(budget, abs=ROUNDING)
