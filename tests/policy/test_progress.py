from failsoft.policy.progress import CRASHES_MAX, Progress


def test_an_owner_that_was_not_heard_of_again_is_counted_and_one_that_handed_over_ends_the_count():
    assert Progress(7, highest_started=9, is_clean=False, crashes=1).taken_over().crashes == 2
    assert Progress(7, highest_started=9, is_clean=True, crashes=1).taken_over().crashes == 0


def test_an_owner_that_dies_before_its_first_commit_is_counted_by_the_mark_of_its_beginning():
    begun = Progress(7).taken_over()
    assert (begun.is_clean, begun.crashes) == (False, 0)
    assert begun.taken_over().crashes == 1


def test_what_was_done_and_under_way_is_still_known_after_the_next_owner_has_begun():
    found = Progress(7, frozenset({9}), 12, 5.0, is_clean=False)
    begun = found.taken_over()
    assert (begun.finished, begun.highest_started, begun.newest_at) == (found.finished, 12, 5.0)


def test_only_a_record_that_was_out_alone_at_the_third_crash_is_poison():
    assert Progress(7, highest_started=7, is_clean=False, crashes=CRASHES_MAX - 1).taken_over().poison is None
    alone = Progress(7, highest_started=7, is_clean=False, crashes=CRASHES_MAX - 1, is_alone=True)
    assert alone.taken_over().poison == 7
    early = Progress(7, highest_started=7, is_clean=False, crashes=CRASHES_MAX - 2, is_alone=True)
    assert early.taken_over().poison is None


def test_owners_that_die_before_they_have_let_anything_out_make_no_record_poison():
    mark = Progress(7, highest_started=7, is_clean=False, is_alone=True)
    for _ in range(5):
        mark = mark.taken_over()
        assert mark.poison is None


def test_what_is_poison_stays_so_until_it_has_ended():
    mark = Progress(7, highest_started=7, is_clean=False, crashes=CRASHES_MAX - 1, is_alone=True).taken_over()
    assert mark.taken_over().poison == 7


def test_a_mark_of_a_place_that_the_log_has_lost_is_void():
    progress = Progress(7, frozenset({9}), 9, is_clean=False, crashes=2)
    assert progress.valid_from(7) is progress
    assert progress.valid_from(12) == Progress(12)
