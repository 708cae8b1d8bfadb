"""An endpoint that stops answering is probed with one call at a time, and has all its permits back after a few answers."""

import math

from failsoft.policy.stall import Stall

WINDOW = 1.0


def hung(permits: int = 16) -> Stall:
    """All permits were in flight since 0 and have just been cut at their window."""
    stall = Stall()
    for _ in range(permits):
        stall.cut(0.0, window_seconds=WINDOW, now=1.0)
    return stall


def test_a_call_that_is_cut_while_others_are_answered_is_no_stall():
    stall = Stall()
    stall.answered(16, now=0.5)
    stall.cut(0.4, window_seconds=WINDOW, now=1.4)
    assert stall.allows_from(15) <= 1.4
    assert not stall.is_stalled(16)


def test_the_first_probe_goes_at_once_and_only_one_at_a_time():
    stall = hung()
    assert stall.is_stalled(16)
    assert stall.allows_from(0) <= 1.0
    assert stall.allows_from(1) > 1.0


def test_a_probe_that_is_cut_is_followed_by_a_pause_of_half_to_one_and_a_half_windows():
    stall = hung()
    pauses = []
    now = 1.0
    for _ in range(100):
        cut_at = now + WINDOW
        stall.cut(now, window_seconds=WINDOW, now=cut_at)
        pauses.append(stall.retry_at - cut_at)
        now = stall.retry_at
    assert all(0.5 <= pause <= 1.5 for pause in pauses)
    assert math.isclose(sum(pauses) / 100, 1.0, abs_tol=0.02)
    assert len({round(pause, 3) for pause in pauses}) > 90


def test_a_call_of_before_the_stall_that_is_cut_late_does_not_postpone_the_probe():
    stall = hung()
    stall.cut(0.5, window_seconds=WINDOW, now=1.5)
    assert stall.allows_from(0) <= 1.5


def test_every_answer_doubles_what_is_allowed_until_it_is_all_again():
    stall = hung()
    allowed = []
    for n in range(4):
        stall.answered(16, now=2.0 + n)
        allowed.append(next(k for k in range(100) if k == 99 or stall.allows_from(k) > 2.0 + n))
    assert allowed == [2, 4, 8, 99]
    assert not stall.is_stalled(16)


def test_those_in_a_hurry_wait_again_as_soon_as_more_than_a_quarter_of_the_permits_is_allowed():
    stall = hung()
    stall.answered(16, now=2.0)
    assert stall.is_stalled(16)
    stall.answered(16, now=2.1)
    assert stall.is_stalled(16)
    stall.answered(16, now=2.2)
    assert not stall.is_stalled(16)


def test_one_answer_is_enough_for_a_worker_with_one_permit():
    stall = hung(1)
    stall.answered(1, now=2.0)
    assert not stall.is_stalled(1)
    assert stall.allows_from(0) <= 2.0
