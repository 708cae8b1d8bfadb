"""Topic configuration: what an author may write, as the text that Kafka takes.

Kafka counts ``*.ms`` in milliseconds and ``*.bytes`` in bytes. People miscount zeros, so both may be written with a
unit (``7d``, ``1.25MiB``); a plain number is in Kafka's own. All else passes as it is: the broker knows its keys.
"""

import re
from collections.abc import Mapping
from fractions import Fraction

from failsoft.policy.durations import parse_duration
from failsoft.policy.errors import ConfigurationError

UNIT_BYTES = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", re.ASCII)
_INTEGER = re.compile(r"-?\d+", re.ASCII)


def parse_size(written: str) -> int:
    """Read a size, in bytes.

    Raises:
        ConfigurationError: not a number with a unit of bytes, or not a whole number of them.
    """
    found = _SIZE.fullmatch(written.strip())
    size = Fraction(found[1]) * UNIT_BYTES[found[2]] if found and found[2] in UNIT_BYTES else None
    if size is None or size.denominator != 1:
        raise ConfigurationError(f'{written!r} is not a size; write a number and a unit, such as "1.25MiB" or "512KiB"')
    return int(size)


def kafka_value(key: str, written: object) -> str:
    """Write one configuration value the way Kafka reads it.

    Raises:
        ConfigurationError: it cannot be a value of this key.
    """
    match written:
        case bool() | list() if _has_unit(key):
            raise ConfigurationError(f"{written!r} is no number; write one, with or without a unit")
        case bool():
            return str(written).lower()
        case list():
            return ",".join(kafka_value(key, each) for each in written)
        case str() | int() | float() if _has_unit(key) and not _INTEGER.fullmatch(str(written)):
            return _scaled(key, str(written))
        case str() | int() | float():
            return str(written).strip()
        case _:
            raise ConfigurationError(
                f"{written!r} is not a configuration value; write text, a number, or true or false"
            )


def is_same(one: str, other: str) -> bool:
    """Whether Kafka would take two values for the same: spaces, the order of a list and the form of a number aside."""
    return one == other or _canonical(one) == _canonical(other)


def changed(have: Mapping[str, str], want: Mapping[str, str]) -> dict[str, tuple[str | None, str]]:
    """What must change for the wish to hold, as (old, new) by key. Keys that nobody wished for are left alone."""
    return {
        key: (have.get(key), value) for key, value in want.items() if key not in have or not is_same(have[key], value)
    }


def _has_unit(key: str) -> bool:
    return key.endswith((".ms", ".bytes"))


def _scaled(key: str, written: str) -> str:
    if key.endswith(".bytes"):
        return str(parse_size(written))
    return str(round(parse_duration(written, field="") * 1000))


def _canonical(value: str) -> list[str]:
    return sorted(_number(part.strip()) for part in value.casefold().split(","))


def _number(part: str) -> str:
    try:
        return repr(float(part))
    except ValueError:
        return part
