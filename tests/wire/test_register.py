"""Words on breakers: what is read, and what is refused by name."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.breaker_control import Force
from failsoft.policy.call_counts import BUCKETS, Counts
from failsoft.policy.errors import MalformedRecord
from failsoft.policy.register import Cause, Phase, Register, Word
from failsoft.wire.control import CONTROL_TYPE, BreakerControl, decode_control, encode_control
from failsoft.wire.register import (
    REGISTER_BYTES,
    REGISTER_TYPE,
    LoggedRegister,
    decode_register,
    encode_deleted_register,
    encode_register,
)

counts = st.builds(
    lambda calls, failed, slow: Counts(calls, min(failed, calls), min(slow, calls)),
    *[st.integers(0, 10**6)] * 3,
)
seconds = st.integers(0, 10**7).map(lambda milliseconds: milliseconds / 1000)
words = st.builds(
    Word,
    st.integers(0, 10**9),
    st.sampled_from(Phase),
    seconds,
    st.integers(0, 99),
    st.frozensets(st.sampled_from(Cause)),
)
registers = st.builds(Register, words, seconds, st.lists(counts, max_size=BUCKETS).map(tuple), st.integers(0, 9))
names = st.from_regex(r"[a-z0-9-]{1,63}", fullmatch=True)
HEADERS = [("ce_type", REGISTER_TYPE.encode())]
KEY = b"classify/full|me"


def document(**changes: object) -> bytes:
    plain: dict[str, object] = {
        "epoch": 1, "phase": "open", "open_seconds": 5, "reopenings": 0, "causes": ["probe"],
        "since_seconds": 0.5, "buckets": [[3, 2, 1]], "probes": 0,
    }  # fmt: skip
    return orjson.dumps({name: value for name, value in (plain | changes).items() if value is not None})


@given(names, names, names, registers)
def test_a_register_that_is_written_is_read_as_it_was(stage, tier, process, register):
    record = encode_register(f"{stage}/{tier}", process, register)
    assert decode_register(record.key, record.value, record.headers) == (f"{stage}/{tier}", process, register)
    assert len(record.value or b"") <= REGISTER_BYTES


def test_a_deleted_register_says_whose_it_was():
    gone = encode_deleted_register("classify/full", "me")
    assert (gone.key, gone.value) == (KEY, None)
    assert decode_register(gone.key, gone.value, gone.headers) == LoggedRegister("classify/full", "me", None)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"epoch": -1}, "epoch"),
        ({"epoch": 1.5}, "epoch"),
        ({"epoch": None}, "epoch"),
        ({"phase": "ajar"}, "phase"),
        ({"phase": 1}, "phase"),
        ({"open_seconds": -1}, "open_seconds"),
        ({"open_seconds": "5"}, "open_seconds"),
        ({"open_seconds": True}, "open_seconds"),
        ({"since_seconds": None}, "since_seconds"),
        ({"causes": ["boredom"]}, "causes"),
        ({"causes": [["probe"]]}, "causes"),
        ({"buckets": [[1, 2, 0]]}, "buckets"),
        ({"buckets": [[1, -1, 0]]}, "buckets"),
        ({"buckets": [[1, 0]]}, "buckets"),
        ({"buckets": [[1, 0, True]]}, "buckets"),
        ({"buckets": [[1, 0, 0]] * (BUCKETS + 1)}, "buckets"),
        ({"probes": -1}, "probes"),
        ({"mood": "fine"}, "mood"),
    ],
)
def test_what_is_no_register_is_refused_naming_the_member(change, field):
    with pytest.raises(MalformedRecord, match=rf"^{field}"):
        decode_register(KEY, document(**change), HEADERS)
    assert decode_register(KEY, document(), HEADERS).register is not None


@pytest.mark.parametrize("key", [None, b"", b"classify/full", b"|me", b"classify/full|", b"\xff|me"])
def test_a_key_that_names_nobody_is_refused(key):
    with pytest.raises(MalformedRecord, match=r"^key"):
        decode_register(key, document(), HEADERS)


def test_a_record_of_another_type_is_no_register():
    with pytest.raises(MalformedRecord, match="ce_type"):
        decode_register(KEY, document(), [("ce_type", b"failsoft.result.v1")])


# Operators' words

SAID = [("ce_type", CONTROL_TYPE.encode())]


@given(
    st.builds(
        BreakerControl,
        names,
        st.just(Force.OPEN) | st.just(Force.CLOSED),
        st.text(max_size=50),
        st.text(max_size=200),
        st.integers(0, 10**10).map(float),
    )
)
def test_a_word_that_is_written_is_read_as_it_was(control):
    record = encode_control(control)
    assert decode_control(record.value, record.headers) == control


def test_another_word_in_the_same_topic_is_left_alone():
    assert decode_control(b"whatever", [("ce_type", b"failsoft.route.v1")]) is None


@pytest.mark.parametrize(
    ("force", "until"),
    [("open", None), ("closed", None), ("auto", "2026-01-31T12:00:00.000Z"), ("ajar", None), ("open", 5)],
)
def test_a_word_without_its_end_and_auto_with_one_are_refused(force, until):
    with pytest.raises(MalformedRecord):
        decode_control(orjson.dumps({"breaker": "s/t", "force": force, "who": "me", "why": "so", "until": until}), SAID)
