"""The members of JSON objects that came over the wire: those that are known, each of its type, and no others.

A misspelt member would be a silent loss, so an object that has one is refused, by its name.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final, TypeVar

from failsoft.policy.errors import MalformedRecord
from failsoft.wire.attributes import shown

INTEGER_MAX: Final = 2**53 - 1
"""The largest that each reader of JSON takes for the same number."""

_Word = TypeVar("_Word", bound=StrEnum)
_TYPE_NAMES: Final[dict[type, str]] = {
    str: "a string",
    dict: "an object",
    int: "an integer",
    list: "an array",
}


def check_members(document: Any, field: str, known: Iterable[str], path: str = "") -> None:
    """Refuse what is no object, or has a member that is not known.

    Args:
        document: from JSON.
        field: what to call it in an error.
        known: its members.
        path: before the name of a member in an error.
    """
    if not isinstance(document, dict):
        raise MalformedRecord(field, "not an object")
    unknown = document.keys() - set(known)
    if unknown:
        raise MalformedRecord(f"{path}{shown(min(unknown))}", f"unknown; the members here are {', '.join(known)}")


def member(document: dict[str, Any], name: str, kind: type, path: str = "") -> Any:
    """A member that has to be there, and of this type."""
    if name not in document:
        raise MalformedRecord(path + name, "missing")
    if type(document[name]) is not kind:
        raise MalformedRecord(path + name, f"not {_TYPE_NAMES[kind]}")
    return document[name]


def natural(document: dict[str, Any], name: str, path: str = "", *, most: int = INTEGER_MAX) -> int:
    """A member that is a count."""
    number: int = member(document, name, int, path)
    if not 0 <= number <= most:
        raise MalformedRecord(path + name, f"not from 0 to {most}")
    return number


def word(document: dict[str, Any], name: str, words: type[_Word], path: str = "") -> _Word:
    """A member that is one of a closed set of words."""
    text: str = member(document, name, str, path)
    try:
        return words(text)
    except ValueError:
        raise MalformedRecord(path + name, f"none of {', '.join(words)}") from None
