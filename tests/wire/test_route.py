import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.errors import MalformedRecord
from failsoft.policy.routing import Route
from failsoft.wire.route import SaidRoute, decode_route, encode_route

NAMES = st.text(st.characters(codec="utf-8"), max_size=20)
TO_US = SaidRoute(Route("classify/large", "eu", "us", 0.1, 7), "ada", "eu is slow")


@given(st.floats(0, 1), st.integers(0, 2**53 - 1), NAMES, NAMES)
def test_what_was_written_is_read(share, epoch, who, why):
    said = SaidRoute(Route("classify/large", "eu", "us", share, epoch), who, why)
    record = encode_route(said)
    assert decode_route(record.value, record.headers) == said


def test_the_epoch_stands_in_the_key_so_that_no_late_word_takes_the_place_of_a_newer_one():
    assert encode_route(TO_US).key == b"route|classify/large|7"


def test_a_word_of_another_type_and_a_deleted_one_are_none():
    record = encode_route(TO_US)
    assert decode_route(record.value, [("ce_type", b"failsoft.breakercontrol.v1")]) is None
    assert decode_route(None, record.headers) is None


@pytest.mark.parametrize(
    ("member", "value", "field"),
    [
        ("share", 1.5, "share"),
        ("share", "1", "share"),
        ("share", True, "share"),
        ("epoch", -1, "epoch"),
        ("target", "eu", "target"),
        ("endpoint", None, "endpoint"),
        ("region", "us", "region"),
    ],
)
def test_what_is_no_route_is_refused_by_the_member(member, value, field):
    record = encode_route(TO_US)
    document = {**orjson.loads(record.value or b""), member: value}
    with pytest.raises(MalformedRecord) as refused:
        decode_route(orjson.dumps(document), record.headers)
    assert refused.value.field == field
