import pytest
from hypothesis import given

from failsoft.policy.errors import MalformedRecord
from failsoft.wire.timestamp import format_timestamp, parse_timestamp
from tests.wire.strategies import instants


@given(instants)
def test_milliseconds_survive_the_wire(at):
    assert parse_timestamp(format_timestamp(at), "f") == at


def test_what_is_below_a_millisecond_is_cut_off():
    assert format_timestamp(1_700_000_000.9999) == "2023-11-14T22:13:20.999Z"


@pytest.mark.parametrize(
    "text",
    [
        "2023-11-14T22:13:20Z",
        "2023-11-14t22:13:20z",
        "2023-11-14 22:13:20.000Z",
        "2023-11-15T00:13:20+02:00",
        "2023-11-14T22:13:20.000000000Z",
    ],
)
def test_every_form_of_rfc_3339_is_read(text):
    assert parse_timestamp(text, "f") == 1_700_000_000.0


def test_the_first_and_the_last_instant_that_are_read_can_be_written_again():
    for text in ("0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.000Z"):
        assert format_timestamp(parse_timestamp(text, "f")) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1700000000",
        "2023-11-14",
        "2023-11-14T22:13:20",
        "20231114T221320Z",
        "2023-W46-2T22:13:20Z",
        "2023-02-30T00:00:00Z",
        "2023-11-14T25:00:00Z",
        "2023-11-14T22:13:20Z\n",
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:59.999999Z",
        "0001-01-01T00:00:00+00:01",
        "٢٠٢٣-11-14T22:13:20Z",
    ],
)
def test_anything_else_is_refused_by_the_name_of_its_field(text):
    with pytest.raises(MalformedRecord, match="RFC 3339") as caught:
        parse_timestamp(text, "ce_time")
    assert caught.value.field == "ce_time"
