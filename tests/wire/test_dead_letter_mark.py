import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.errors import MalformedRecord
from failsoft.policy.outcome import Reason
from failsoft.wire.dead_letter import DeadLetter, decode_dead_letter, encode_dead_letter
from failsoft.wire.dead_letter_mark import Deed, Mark, decode_mark, encode_mark

MARK = Mark("6f0f9f0e-5d0b-5c39-9a86-2f4f2e8f7d31", Deed.REPLAYED, 2, "t.s.batch")


@given(
    st.builds(
        Mark,
        letter=st.just("l"),
        deed=st.sampled_from(Deed),
        number=st.integers(0, 99),
        to=st.none() | st.just("t.s.b"),
    )
)
def test_a_mark_is_read_as_it_was_written(mark):
    record = encode_mark(mark)
    assert decode_mark(record.headers) == mark
    assert (record.key, record.value) == (b"l", None)


def test_of_two_marks_the_later_replay_counts_and_then_what_is_known_better():
    standings = [
        Mark("l", deed, number).standing for number in (1, 2) for deed in (Deed.SENDING, Deed.REPLAYED, Deed.DROPPED)
    ]
    assert all(earlier < later for earlier, later in itertools.pairwise(standings))


def test_a_mark_is_no_dead_letter_and_a_dead_letter_is_no_mark_even_of_a_record_that_calls_itself_one():
    with pytest.raises(MalformedRecord):
        decode_dead_letter(*encode_mark(MARK))
    hostile = DeadLetter("t.s.batch", 0, 1, "t.s", Reason.MALFORMED, "", "", headers=tuple(encode_mark(MARK).headers))
    with pytest.raises(MalformedRecord):
        decode_mark(encode_dead_letter(hostile).headers)
    assert decode_dead_letter(*encode_dead_letter(hostile)) == hostile


@pytest.mark.parametrize(
    ("name", "value"), [("type", None), ("letter", None), ("deed", b"lost"), ("number", None), ("number", b"-1")]
)
def test_what_is_no_mark_is_refused_by_the_name_of_its_header(name, value):
    headers = [header for header in encode_mark(MARK).headers if header[0] != name]
    with pytest.raises(MalformedRecord) as caught:
        decode_mark(headers if value is None else [*headers, (name, value)])
    assert caught.value.field == name
