from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.offsets import SPAN_MAX
from failsoft.policy.progress import Progress
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
        draw(st.integers(0, 2**42)) / 1000,
        draw(st.booleans()),
        draw(st.integers(0, 9)),
        draw(st.booleans()),
        draw(st.sampled_from(["", "0123abcd"])),
    )


@given(progresses())
def test_what_an_owner_commits_is_what_the_next_one_reads(progress):
    metadata = encode_progress(progress)
    assert len(metadata) <= METADATA_BYTES_MAX
    read = decode_progress(progress.offset, metadata)
    assert replace(read, newest_at=progress.newest_at) == progress
    assert progress.newest_at <= read.newest_at <= progress.newest_at + 0.002


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
        "f2;1;0;1;0;0;;",
        "f1;1;0;1;0;0;",
        "f1;-1;0;1;0;0;;",
        "f1;1;-5;1;0;0;;",
        "f1;1;0;1;99999999;0;;",
        "f1;a;0;1;0;0;;",
        "f1;1;0;1;0;0;;%%%",
        "f1;1;0;1;0;0;;AAAA",
        "f1;1;0;1;0;0;;é",
        "f1;1;0;1;0;0;0123ABCD;",
        "f1;1;0;1;0;0;0123;",
    ],
)
def test_what_cannot_be_read_says_nothing(metadata):
    assert decode_progress(7, metadata) == Progress(7)


@given(st.text(max_size=200))
def test_no_metadata_breaks_the_reader(metadata):
    assert decode_progress(7, metadata).offset == 7
