from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.offsets import SPAN_MAX
from failsoft.policy.progress import CRASHES_MAX, Progress
from failsoft.wire.progress import METADATA_BYTES_MAX, decode_progress, encode_progress


@st.composite
def progresses(draw) -> Progress:
    offset = draw(st.integers(0, 2**62))
    above = draw(st.sets(st.integers(1, SPAN_MAX - 1), max_size=50))
    started = draw(st.integers(max(above, default=0), SPAN_MAX))
    return Progress(
        offset,
        frozenset(offset + each for each in above),
        offset + started - 1,
        draw(st.booleans()),
        draw(st.integers(0, 9)),
    )


@given(progresses())
def test_what_an_owner_commits_is_what_the_next_one_reads(progress):
    metadata = encode_progress(progress)
    assert len(metadata) <= METADATA_BYTES_MAX
    read = decode_progress(progress.offset, metadata)
    assert (read.highest_started, read.is_clean, read.crashes) == (
        progress.highest_started,
        progress.is_clean,
        progress.crashes,
    )
    assert read.finished == progress.finished


def test_the_widest_span_fits_and_what_does_not_is_dropped_whole():
    rng = Random("bits")
    half = frozenset(place for place in range(1, SPAN_MAX) if rng.random() < 0.5)
    progress = Progress(0, half, SPAN_MAX - 1, is_clean=False)
    read = decode_progress(0, encode_progress(progress))
    assert read.finished == half
    wider = Progress(0, frozenset(place for place in range(1, 3 * SPAN_MAX) if rng.random() < 0.5), 3 * SPAN_MAX)
    assert decode_progress(0, encode_progress(wider)).finished == frozenset()


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        "",
        "x",
        "f2;1;1;0;",
        "f1;1;1;0",
        "f1;-1;1;0;",
        "f1;1;1;99999999;",
        "f1;a;1;0;",
        "f1;1;1;0;%%%",
        "f1;1;1;0;AAAA",
        "f1;1;1;0;é",
    ],
)
def test_what_cannot_be_read_says_nothing(metadata):
    assert decode_progress(7, metadata) == Progress(7)


@given(st.text(max_size=200))
def test_no_metadata_breaks_the_reader(metadata):
    assert decode_progress(7, metadata).offset == 7


def test_an_owner_that_died_with_something_under_way_is_counted_and_one_that_handed_over_is_not():
    assert Progress(7, highest_started=9, is_clean=False, crashes=1).taken_over(end=20).crashes == 2
    assert Progress(7, highest_started=9, is_clean=True, crashes=1).taken_over(end=20).crashes == 0
    assert Progress(7, highest_started=6, is_clean=False, crashes=1).taken_over(end=20).crashes == 0


def test_an_owner_that_dies_before_its_first_commit_is_counted():
    begun = Progress(7).taken_over(end=20)
    assert begun.is_suspect
    assert begun.taken_over(end=20).crashes == 1


def test_nobody_dies_of_an_empty_partition():
    idle = Progress(7)
    for _ in range(5):
        idle = idle.taken_over(end=7)
    assert idle.taken_over(end=8).crashes == 0


def test_the_third_crash_at_one_offset_is_enough():
    progress = Progress(7, highest_started=9, is_clean=False)
    for _ in range(CRASHES_MAX - 1):
        progress = progress.taken_over(end=20)
        assert progress.poison is None
    assert progress.taken_over(end=20).poison == 7


def test_metadata_of_a_place_that_the_log_has_lost_is_void():
    progress = Progress(7, frozenset({9}), 9, is_clean=False, crashes=2)
    assert progress.valid_from(7) is progress
    assert progress.valid_from(12) == Progress(12)
