from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.durations import UNIT_SECONDS, parse_duration, write_duration
from failsoft.policy.errors import ConfigurationError


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("200ms", 0.2),
        ("2s", 2.0),
        ("1.5s", 1.5),
        ("15m", 900.0),
        ("24h", 86_400.0),
        ("7d", 604_800.0),
        (" 5 s ", 5.0),
        ("0s", 0.0),
        (3, 3.0),
        (0.25, 0.25),
        (timedelta(minutes=2), 120.0),
    ],
)
def test_a_duration_is_read_in_seconds(written, seconds):
    assert parse_duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "5",
        "s",
        "5 parsecs",
        "1h30m",
        "-5s",
        "1e3s",
        "\N{ARABIC-INDIC DIGIT FIVE}s",
        True,
        None,
        float("nan"),
        float("inf"),
        -1,
        timedelta(seconds=-1),
        [5],
    ],
)
def test_what_is_not_a_duration_is_refused_by_the_name_of_its_field(written):
    with pytest.raises(ConfigurationError, match=r"^deadline: .*(write a number and a unit|zero or more)"):
        parse_duration(written, field="deadline")


@given(st.integers(0, 10**6), st.sampled_from(sorted(UNIT_SECONDS)))
def test_every_unit_scales_its_number(number, unit):
    assert parse_duration(f"{number}{unit}") == pytest.approx(number * UNIT_SECONDS[unit])


@given(st.timedeltas(min_value=timedelta(0)))
def test_a_timedelta_keeps_its_length(length):
    assert parse_duration(length) == length.total_seconds()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.05, "50ms"), (1.0, "1s"), (1.5, "1.5s"), (120.0, "2m"), (5400.0, "90m"), (86_400.0, "1d"), (0.0, "0s")],
)
def test_a_duration_is_written_in_the_largest_unit_that_it_fills(seconds, text):
    assert write_duration(seconds) == text


@given(st.floats(min_value=0.0, max_value=1e6).map(lambda seconds: round(seconds, 6)))
def test_what_is_written_is_read_back_as_it_was(seconds):
    assert parse_duration(write_duration(seconds)) == pytest.approx(seconds, abs=1e-9)
