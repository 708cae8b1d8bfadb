"""Headers as typed attributes, each error naming the header.

CloudEvents 1.0 in Kafka's binary mode writes every attribute as UTF-8 text under ``ce_<name>``; its types that matter
here are String (not empty, no control characters), Integer (32 bits), Boolean and Timestamp.

A header that is read stands once: with two deadlines on a record, a gateway may have checked the one and a worker
obey the other. Headers that nobody reads may be anything.
"""

import re
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final, TypeVar

from failsoft.policy.errors import MalformedRecord
from failsoft.wire.record import ForeignHeaders, Headers
from failsoft.wire.timestamp import parse_timestamp

INTEGER_MAX: Final = 2**31 - 1
"""CloudEvents' Integer is signed, 32 bits: 24 days in milliseconds."""

PLAIN: Final = frozenset(
    (
        "content-type",
        "timeout-ms",
        "retry-after",
        "reply_to",
        "kafka_replyTopic",
        "correlation_id",
        "kafka_correlationId",
    )
)
"""Headers without ``ce_`` that are read."""

_Word = TypeVar("_Word", bound=StrEnum)
_INTEGER: Final = re.compile(r"-?\d{1,19}", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Attributes:
    """What is read of a record's headers."""

    def __init__(self, headers: ForeignHeaders, plain: Collection[str] = PLAIN) -> None:
        """Keep the attributes and the plain headers that are read; one of them standing twice is an error."""
        self._values: dict[str, bytes | None] = {}
        for name, value in headers:
            if name.startswith("ce_") or name in plain:
                if name in self._values:
                    raise MalformedRecord(shown(name), "stands twice; send it once")
                self._values[name] = value

    def text(self, name: str) -> str | None:
        """A String, None where the header is absent."""
        if name not in self._values:
            return None
        try:
            text = (self._values[name] or b"").decode()
        except UnicodeDecodeError:
            raise MalformedRecord(name, "not UTF-8") from None
        if not text:
            raise MalformedRecord(name, "empty; leave the header out instead")
        if not text.isprintable() and _CONTROL.search(text):
            raise MalformedRecord(name, "has a control character")
        return text

    def required(self, name: str) -> str:
        """A String that has to be there."""
        text = self.text(name)
        if text is None:
            raise MalformedRecord(name, "missing")
        return text

    def word(self, name: str, words: type[_Word]) -> _Word:
        """One of a closed set of words, which has to be there."""
        try:
            return words(self.required(name))
        except ValueError:
            raise MalformedRecord(name, f"none of {', '.join(words)}") from None

    def integer(self, name: str, *, least: int = 0, most: int = INTEGER_MAX) -> int | None:
        """An Integer within bounds, None where the header is absent."""
        text = self.text(name)
        if text is None:
            return None
        if not _INTEGER.fullmatch(text) or not least <= int(text) <= most:
            raise MalformedRecord(name, f"not an integer from {least} to {most}")
        return int(text)

    def seconds(self, name: str, *, least: int = 0) -> float | None:
        """An Integer of milliseconds as seconds, None where the header is absent."""
        milliseconds = self.integer(name, least=least)
        return None if milliseconds is None else milliseconds / 1000

    def instant(self, name: str) -> float | None:
        """A Timestamp as epoch seconds, None where the header is absent."""
        text = self.text(name)
        return None if text is None else parse_timestamp(text, name)

    def boolean(self, name: str) -> bool | None:
        """A Boolean, None where the header is absent."""
        text = self.text(name)
        if text not in ("true", "false", None):
            raise MalformedRecord(name, "neither true nor false")
        return None if text is None else text == "true"


def encode_attributes(said: Mapping[str, str | int | None]) -> Headers:
    """Write attributes as headers; None is left out."""
    return [(name, str(value).encode()) for name, value in said.items() if value is not None]


def milliseconds(seconds: float) -> str:
    """Write seconds as an Integer of milliseconds, kept within its range."""
    return str(max(-INTEGER_MAX, min(round(seconds * 1000), INTEGER_MAX)))


def shown(name: str) -> str:
    """Show the name of a header or a member in an error: the sender chose it, and it ends up in headers and logs."""
    return name if len(name) <= 64 and name.isprintable() else "(unprintable)"
