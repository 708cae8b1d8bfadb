"""Whether an app that reads nothing has nothing to read, or stands still."""

import pytest

from streams.reading import Reading


@pytest.mark.parametrize(
    ("looks", "seconds"),
    [
        ([({0: 5}, {0: 5})] * 3, 0.0),
        ([({0: 5}, {0: 9})] * 3, 20.0),
        ([({0: 5}, {0: 9}), ({0: 6}, {0: 9}), ({0: 6}, {0: 9})], 10.0),
        ([({0: 5, 1: 2}, {0: 9, 1: 2}), ({0: 5, 1: 3}, {0: 9, 1: 3})], 0.0),
        ([({0: 5}, {0: 9}), ({}, {})], 0.0),
        ([({}, {})] * 3, 0.0),
        ([({0: 9}, {0: 9}), ({0: 9}, {0: 9}), ({0: 9}, {0: 12})], 10.0),
    ],
    ids=["all is read", "nothing is read", "it went on once", "another partition goes on", "lost", "stands by", "new"],
)
def test_it_stands_still_where_there_is_something_and_no_partition_goes_on(looks, seconds):
    reading, found = Reading(now=0.0), 0.0
    for number, (positions, ends) in enumerate(looks, start=1):
        found = reading.seen(positions, ends, now=10.0 * number)
    assert found == seconds


def test_what_is_still_to_be_read_is_known():
    reading = Reading(now=0.0)
    reading.seen({0: 5, 1: 7}, {0: 9, 1: 7}, now=0.0)
    assert reading.lag == 4
