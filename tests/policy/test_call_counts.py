from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.call_counts import BUCKET_SECONDS, NO_CALLS, WINDOW_SECONDS, CallWindow, Counts, still_counting

GOOD, BAD, SLOW = Counts(1), Counts(1, failed=1), Counts(1, slow=1)

calls = st.lists(st.tuples(st.floats(0, 12), st.sampled_from([GOOD, BAD, SLOW])), max_size=80)


@given(calls)
def test_the_sum_is_that_of_the_calls_in_the_last_ten_buckets(steps):
    window, now, ended = CallWindow(), 100.0, []
    for pause, call in steps:
        now += pause
        window.add(call, now=now)
        ended.append((now // BUCKET_SECONDS, call))
        expected = sum((call for bucket, call in ended if bucket > now // BUCKET_SECONDS - 10), NO_CALLS)
        assert window.counts(now=now) == expected
        assert sum(window.buckets(now=now), NO_CALLS) == expected


@given(calls, st.floats(0, 40))
def test_what_others_keep_of_a_worker_ages_as_it_does_at_the_worker_to_within_a_bucket(steps, age):
    window, now = CallWindow(), 100.0
    for pause, call in steps:
        now += pause
        window.add(call, now=now)
    kept = still_counting(window.buckets(now=now), age_seconds=age).calls
    assert kept <= window.counts(now=now + max(0.0, age - BUCKET_SECONDS)).calls
    assert kept >= window.counts(now=now + age + BUCKET_SECONDS).calls


def test_after_half_a_minute_nothing_is_left():
    window = CallWindow()
    window.add(BAD, now=1.0)
    assert window.counts(now=WINDOW_SECONDS - 1) == BAD
    assert window.counts(now=WINDOW_SECONDS + BUCKET_SECONDS) == NO_CALLS
    assert still_counting((BAD,), age_seconds=WINDOW_SECONDS) == NO_CALLS
    assert still_counting((BAD,), age_seconds=10 * WINDOW_SECONDS) == NO_CALLS


def test_a_window_that_was_cleared_counts_again():
    window = CallWindow()
    window.add(BAD, now=1.0)
    window.clear()
    assert (window.counts(now=1.0), window.buckets(now=1.0)) == (NO_CALLS, ())
    window.add(GOOD, now=1.0)
    assert window.counts(now=1.0) == GOOD


def test_rates_are_parts_of_the_calls():
    counts = Counts(8, failed=2, slow=4)
    assert (counts.failure_rate, counts.slow_call_rate) == (0.25, 0.5)
    assert (NO_CALLS.failure_rate, NO_CALLS.slow_call_rate) == (0.0, 0.0)
