from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.errors import MalformedRecord
from failsoft.policy.outcome import Reason
from failsoft.wire.dead_letter import DeadLetter, decode_dead_letter, encode_dead_letter
from failsoft.wire.limits import LARGE_VALUE_BYTES, OVERHEAD_BYTES, TOPIC_BYTES
from failsoft.wire.record import Record
from tests.wire.strategies import hostile_headers

LETTER = DeadLetter("t.s.batch", 3, 1207, "t.s", Reason.MALFORMED, "url: missing", "MalformedRecord", b"k", b"v")
EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
ZEROS_SHA256 = "bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8"

letters = st.builds(
    replace,
    st.just(LETTER),
    partition=st.integers(0, 2**31 - 1),
    offset=st.integers(0, 2**63 - 1),
    reason=st.sampled_from(Reason),
    key=st.none() | st.binary(max_size=20),
    value=st.none() | st.binary(max_size=50),
    headers=hostile_headers.map(tuple),
)


def decode(record: Record) -> DeadLetter:
    return decode_dead_letter(record.key, record.value, record.headers)


def bytes_of(record: Record) -> int:
    headers = sum(len(name) + len(value or b"") for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


@given(letters)
def test_a_record_is_kept_as_it_came_whatever_it_holds(letter):
    record = encode_dead_letter(letter)
    assert (record.key, record.value) == (letter.key, letter.value)
    assert tuple(record.headers[: len(letter.headers)]) == letter.headers
    assert decode(record) == letter


def test_where_it_came_from_is_said_in_the_names_of_kafka_connect():
    assert [(name, value) for name, value in encode_dead_letter(LETTER).headers if name.startswith("__connect")] == [
        ("__connect.errors.topic", b"t.s.batch"),
        ("__connect.errors.partition", b"3"),
        ("__connect.errors.offset", b"1207"),
        ("__connect.errors.stage", b"t.s"),
        ("__connect.errors.exception.class.name", b"MalformedRecord"),
        ("__connect.errors.exception.message", b"url: missing"),
    ]


def test_a_record_given_up_again_tells_of_the_last_time_and_keeps_the_first():
    first = encode_dead_letter(LETTER)
    again = decode(encode_dead_letter(replace(LETTER, offset=9, headers=tuple(first.headers))))
    assert again.offset == 9
    assert decode(Record(again.key, again.value, again.headers)) == LETTER


def test_a_value_too_large_for_the_topic_is_represented_by_its_digest():
    letter = replace(LETTER, value=bytes(TOPIC_BYTES), headers=(("ce_id", b"7"),))
    kept = decode(encode_dead_letter(letter))
    assert kept == replace(letter, value=None, value_sha256=ZEROS_SHA256, value_bytes=TOPIC_BYTES)


def test_a_value_that_just_fits_is_kept():
    letter = replace(LETTER, value=bytes(LARGE_VALUE_BYTES - 1))
    record = encode_dead_letter(letter)
    assert record.value is not None
    assert bytes_of(record) <= TOPIC_BYTES - OVERHEAD_BYTES // 2


def test_headers_and_key_too_large_for_the_topic_go_as_well():
    letter = replace(LETTER, key=bytes(LARGE_VALUE_BYTES), value=b"", headers=(("h", bytes(TOPIC_BYTES)),))
    record = encode_dead_letter(letter)
    assert (record.key, record.value) == (None, None)
    assert decode(record).value_sha256 == EMPTY_SHA256
    assert bytes_of(record) < OVERHEAD_BYTES


def test_an_explanation_fits_a_header_however_long_and_odd():
    record = encode_dead_letter(replace(LETTER, problem="a\nb\x00" + "c" * 10_000, error=""))
    assert decode(record).problem.startswith("a b ccc")
    assert decode(record).error == ""
    assert bytes_of(record) < OVERHEAD_BYTES


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("type", None),
        ("reason", None),
        ("reason", b"because"),
        ("__connect.errors.topic", None),
        ("__connect.errors.partition", None),
        ("__connect.errors.offset", b"x"),
        ("__connect.errors.stage", None),
        ("value-bytes", b"-1"),
    ],
)
def test_a_record_that_is_no_dead_letter_is_refused_by_the_name_of_its_header(name, value):
    record = encode_dead_letter(LETTER)
    headers = [header for header in record.headers if header[0] != name]
    with pytest.raises(MalformedRecord) as caught:
        decode(Record(b"", b"", headers if value is None else [*headers, (name, value)]))
    assert caught.value.field == name


@given(hostile_headers)
def test_hostile_headers_raise_nothing_else(headers):
    with suppress(MalformedRecord):
        decode(Record(None, None, [*headers, ("type", b"failsoft.deadletter.v1"), *headers]))


def test_prompts_stay_out_of_logs():
    assert "secret" not in repr(replace(LETTER, key=b"secret", value=b"secret", headers=(("h", b"secret"),)))
