from failsoft.kafka.backlog import Backlog


def test_what_is_left_is_the_sum_of_end_minus_position_over_the_partitions_that_are_ours():
    backlog = Backlog()
    backlog.seen_end(0, 10)
    backlog.seen_end(1, 5)
    assert backlog.records({0: 7, 1: 5}) == 3
    assert backlog.records({1: 2}) == 3


def test_a_position_past_the_known_end_leaves_nothing():
    backlog = Backlog()
    backlog.seen_end(0, 10)
    assert backlog.records({0: 12}) == 0


def test_the_end_that_was_seen_last_counts_and_none_is_no_end():
    backlog = Backlog()
    backlog.seen_end(0, 10)
    backlog.seen_end(0, None)
    assert backlog.records({0: 0}) == 10
    backlog.seen_end(0, 3)  # the topic was deleted and made anew
    assert backlog.records({0: 0}) == 3
    backlog.forget(0)
    assert backlog.records({0: 0}) == 0


def test_the_head_is_as_old_as_what_was_taken_last():
    backlog = Backlog()
    backlog.seen_end(0, 2)
    backlog.taken(100.0)
    assert backlog.told({0: 1}, now=130.0) == (1, 30.0)


def test_the_head_is_no_older_than_the_last_moment_when_nothing_was_left():
    backlog = Backlog()
    backlog.seen_end(0, 1)
    backlog.taken(100.0)
    assert backlog.told({0: 1}, now=7_300.0) == (0, 0.0)
    backlog.seen_end(0, 2)
    assert backlog.told({0: 1}, now=7_305.0) == (1, 5.0)


def test_before_anything_was_taken_the_age_is_not_known_and_having_no_partitions_does_not_tell_it():
    backlog = Backlog()
    assert backlog.told({}, now=50.0) == (0, 0.0)
    backlog.seen_end(0, 2)
    assert backlog.told({0: 0}, now=100.0) == (2, 0.0)


def test_a_clock_behind_the_broker_s_makes_no_negative_age():
    backlog = Backlog()
    backlog.seen_end(0, 2)
    backlog.taken(100.0)
    assert backlog.told({0: 1}, now=99.0) == (1, 0.0)
