from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.answer import AnswerName
from failsoft.policy.errors import MalformedRecord
from failsoft.wire.answer import (
    ANSWER_BYTES,
    LoggedAnswer,
    answer_body,
    answer_key,
    answer_name,
    decode_answer,
    encode_answer,
)
from failsoft.wire.body import OutputLine, encode_output
from failsoft.wire.limits import DEPTH
from tests.wire.strategies import instants, json_values, words

ANSWER = LoggedAnswer(AnswerName("9f86", 1), "answer", "large", "llama@7", 1_769_860_802.5, 287.113, "eu", b'{"a":1}')

answers = st.builds(
    LoggedAnswer,
    name=st.builds(AnswerName, words.filter(lambda key: "/" not in key), st.integers(1, 3)),
    stage=words,
    tier=words,
    revision=st.none() | words,
    produced_at=instants,
    fresh_seconds=st.integers(0, 10**9).map(lambda milliseconds: milliseconds / 1000),
    region=st.none() | words,
    body=json_values.map(orjson.dumps),
)


@given(answers)
def test_what_is_written_is_read(answer):
    record = encode_answer(answer, pipeline="p")
    assert decode_answer(record.key, record.headers, record.value or b"") == answer
    assert answer_name(record.key) == answer.name


@given(answers, answers)
def test_answers_displace_each_other_only_if_content_level_and_revision_are_the_same(one, other):
    is_same = (one.name, one.revision) == (other.name, other.revision)
    assert (answer_key(one.name, one.revision) == answer_key(other.name, other.revision)) == is_same


@pytest.mark.parametrize("key", [None, b"", b"9f86", b"9f86/", b"9f86/0", b"9f86/4", b"/1", b"\xff", b"9f86/one"])
def test_a_key_that_is_none_of_an_answer_is_refused(key):
    with pytest.raises(MalformedRecord, match="key"):
        answer_name(key)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ce_type", b"failsoft.result.v1"),
        ("ce_time", b"yesterday"),
        ("ce_time", None),
        ("ce_freshms", b"-1"),
        ("ce_freshms", None),
        ("ce_stage", None),
        ("ce_servedtier", None),
        ("ce_revision", b"llama@8"),
        ("ce_revision", None),
    ],
)
def test_what_is_missing_or_contradicts_the_key_is_refused(name, value):
    record = encode_answer(ANSWER, pipeline="p")
    headers = [pair for pair in record.headers if pair[0] != name] + ([(name, value)] if value is not None else [])
    with pytest.raises(MalformedRecord):
        decode_answer(record.key, headers, ANSWER.body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"a":1,"a":2}',
        b"123456789012345678901",
        b"NaN",
        b"1],[2",
        b"[" * (DEPTH - 1) + b"]" * (DEPTH - 1),
        {"a": {1, 2}},
    ],
)
def test_what_no_result_could_carry_is_no_answer(body):
    with pytest.raises(MalformedRecord):
        answer_body(body)


def test_what_is_as_deep_as_results_allow_is_an_answer():
    body = b"[" * (DEPTH - 2) + b"]" * (DEPTH - 2)
    assert answer_body(body) == body
    assert encode_output(OutputLine("id", None, 200, "r", body))


def test_one_that_is_too_large_is_not_shared():
    body = answer_body({"text": "x" * ANSWER_BYTES})
    with pytest.raises(MalformedRecord, match="limit"):
        encode_answer(replace(ANSWER, body=body), pipeline="p")
