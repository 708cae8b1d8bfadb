import json
from contextlib import suppress

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.errors import MalformedRecord
from failsoft.wire.limits import DEPTH, HEADER_BYTES, HEADER_COUNT, VALUE_BYTES, check_headers, parse_json
from tests.wire.strategies import hostile_values, json_values


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        pytest.param(b'"' + b"x" * VALUE_BYTES + b'"', "limit is 1000000", id="too-long"),
        pytest.param(b"", "not JSON", id="empty"),
        pytest.param(b'{"a":', "not JSON", id="cut-off"),
        pytest.param(b'{"a": NaN}', "not JSON", id="nan"),
        pytest.param(b'{"a": -Infinity}', "not JSON", id="infinity"),
        pytest.param(b"1e999", "infinity", id="a-double-cannot-hold-it"),
        pytest.param(b'"\xff"', "not JSON", id="not-utf-8"),
        pytest.param(b'"\\ud800"', "not JSON", id="lone-surrogate"),
        pytest.param(b"\xef\xbb\xbf{}", "not JSON", id="byte-order-mark"),
        pytest.param(nested(DEPTH + 1), "deeper than 64", id="65-deep"),
        pytest.param(nested(300), "deeper than 64", id="deeper-than-orjson-writes"),
        pytest.param(nested(100_000), "not JSON", id="deeper-than-orjson-reads"),
        pytest.param(b'[{"a":' * 33 + b"1" + b"}]" * 33, "deeper than 64", id="arrays-and-objects"),
        pytest.param(b'{"a":1,"a":1}', "twice", id="twice"),
        pytest.param(b'{"a" : 1, "\\u0061" : 2}', "twice", id="twice-and-escaped"),
        pytest.param(b'[{"b":":"},{"a":{"c":[{"a":1,"b":2,"a":3}]}}]', "twice", id="twice-inside"),
        pytest.param(b'{"a":{"x":1},"a":2}', "twice", id="twice-with-members-of-its-own"),
        pytest.param(b'{"\\\\":1,"\\\\":2}', "twice", id="twice-with-backslashes"),
        pytest.param(b"18446744073709551616", "64 bits", id="beyond-unsigned"),
        pytest.param(b"[1, -9223372036854775809 ]", "64 bits", id="beyond-signed"),
        pytest.param(b'{"a":' + b"9" * 300 + b"}", "64 bits", id="300-digits"),
    ],
)
def test_what_two_readers_could_understand_differently_is_refused(document, problem):
    with pytest.raises(MalformedRecord, match=problem) as caught:
        parse_json(document, field="thing")
    assert caught.value.field == "thing"


@pytest.mark.parametrize(
    ("document", "value"),
    [
        (b" [ ] ", []),
        (b'{"a:b": "c:d\\"e\\\\", "f": ":"}', {"a:b": 'c:d"e\\', "f": ":"}),
        (b"[18446744073709551615, -9223372036854775808]", [2**64 - 1, -(2**63)]),
        (
            b"[0.12345678901234567890123, 1e-7, 12345678901234567890123.5]",
            [0.12345678901234568, 1e-07, 1.2345678901234567e22],
        ),
        (b'["11111111111111111111111111111111"]', ["1" * 32]),
        (b"[100000000000000000000000e-1]", [1e22]),
        (b'"' + b"[" * 75 + b'"', "[" * 75),
    ],
)
def test_what_only_looks_dangerous_is_read(document, value):
    assert parse_json(document) == value


def test_64_levels_are_allowed_however_wide():
    assert parse_json(b"[" + nested(DEPTH - 1) + b"," + nested(DEPTH - 1) + b"]")


def test_size_is_looked_at_before_anything_else():
    with pytest.raises(MalformedRecord, match="3 bytes, the limit is 2"):
        parse_json(b"[[[", limit_bytes=2)


@given(json_values)
def test_every_document_within_the_limits_is_read_however_it_is_written(value):
    for written in (orjson.dumps(value), json.dumps(value).encode(), json.dumps(value, indent=1).encode()):
        assert parse_json(written) == value


@given(st.dictionaries(st.text('abc:"\\', max_size=3), json_values, min_size=1), st.data())
def test_a_key_twice_is_found_wherever_it_stands(members, data):
    twice = data.draw(st.sampled_from(sorted(members)))
    pairs = [*members.items(), (twice, data.draw(json_values))]
    body = ",".join(f"{json.dumps(name)} :{json.dumps(value)}" for name, value in data.draw(st.permutations(pairs)))
    with pytest.raises(MalformedRecord, match="twice"):
        parse_json(b"[{" + body.encode() + b"}]")


@given(hostile_values)
def test_hostile_bytes_raise_nothing_else(value):
    with suppress(MalformedRecord):
        parse_json(value or b"")


@pytest.mark.parametrize(
    ("headers", "is_allowed"),
    [
        ([("h", b"")] * HEADER_COUNT, True),
        ([("h", b"")] * (HEADER_COUNT + 1), False),
        ([("name", b"x" * (HEADER_BYTES - 4))], True),
        ([("name", b"x" * (HEADER_BYTES - 3))], False),
        ([("é", b"x" * (HEADER_BYTES - 1))], False),
        ([("name", None)], True),
    ],
)
def test_headers_are_bounded_in_number_and_size(headers, is_allowed):
    if is_allowed:
        check_headers(headers)
    else:
        with pytest.raises(MalformedRecord, match="limit is") as caught:
            check_headers(headers)
        assert caught.value.field == "headers"
