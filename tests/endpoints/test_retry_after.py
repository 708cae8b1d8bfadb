import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.endpoints.retry_after import retry_after_seconds

NOW = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": " 3 "}, 3.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:07 GMT"}, 7.0),
        ({"retry-after": "Fri, 15 Jan 2027 07:00:00 GMT"}, 0.0),
        ({"retry-after": "Friday, 15-Jan-27 08:00:07 GMT"}, 7.0),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:07"}, 7.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after-ms": "0", "retry-after": "2"}, 0.0),
        ({"retry-after-ms": "soon", "retry-after": "2"}, 2.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "Fri, 99 Jan 2027 08:00:07 GMT"}, None),
    ],
)
def test_each_form_is_read_and_what_cannot_be_read_counts_as_not_said(headers, expected):
    assert retry_after_seconds(headers, remaining_seconds=100.0, now=NOW) == expected


def test_a_date_is_read_against_the_date_of_the_same_response():
    headers = {"retry-after": "Fri, 15 Jan 2027 08:00:07 GMT", "date": "Fri, 15 Jan 2027 08:00:04 GMT"}
    assert retry_after_seconds(headers, remaining_seconds=100.0, now=NOW + 3_600) == 3.0


@pytest.mark.parametrize(("remaining", "expected"), [(100.0, 30.0), (60.0, 30.0), (10.0, 5.0), (0.0, 0.0), (-1.0, 0.0)])
def test_a_wait_takes_at_most_half_of_what_remains(remaining, expected):
    assert retry_after_seconds({"retry-after": "30"}, remaining_seconds=remaining, now=NOW) == expected


@given(st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "date"]), st.text()), st.floats(-10, 1e6))
def test_whatever_a_server_writes_gives_a_wait_that_is_possible(headers, remaining):
    wait = retry_after_seconds(headers, remaining_seconds=remaining, now=NOW)
    assert wait is None or (math.isfinite(wait) and 0 <= wait <= max(0.0, remaining / 2))
