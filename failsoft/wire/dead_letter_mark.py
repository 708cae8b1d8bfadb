"""Marks: what was done about a dead letter, said in the topic of dead letters itself.

A mark stands in the partition of its letter, and behind it. So whatever takes records away, time or size, takes a letter
before its marks: none ever looks open again although it was handled. There is no second topic to keep in step.

Of two marks of one letter the higher standing counts: first the number of the replay, then ``sending`` < ``replayed`` <
``dropped``. That is an order without clocks, so repeats and several partitions make no difference.
"""

from enum import StrEnum
from typing import Final, NamedTuple

from failsoft.policy.errors import MalformedRecord
from failsoft.wire.attributes import Attributes, encode_attributes
from failsoft.wire.record import ForeignHeaders, Record

MARK_TYPE: Final = "failsoft.deadlettermark.v1"
_READ: Final = frozenset(("type", "letter", "deed", "number", "to"))


class Deed(StrEnum):
    """What was done."""

    SENDING = "sending"
    """Its replay was about to be sent: whether it was is unknown as long as nothing else is said."""
    REPLAYED = "replayed"
    """Its replay is in the log."""
    DROPPED = "dropped"
    """Somebody decided that nothing is to be done."""


_RANKS: Final = {deed: rank for rank, deed in enumerate(Deed)}


class Mark(NamedTuple):
    """One word on one letter.

    Attributes:
        letter: the letter's id.
        deed: what was done.
        number: of the replay, counted from 1 along a chain of letters; of one that is dropped the last there was, or 0.
        to: the topic that the replay goes to.
    """

    letter: str
    deed: Deed
    number: int
    to: str | None = None

    @property
    def standing(self) -> tuple[int, int]:
        """The higher one of two marks counts."""
        return self.number, _RANKS[self.deed]


def encode_mark(mark: Mark) -> Record:
    """Write a mark; whoever sends it names the partition."""
    headers = encode_attributes(
        {"type": MARK_TYPE, "letter": mark.letter, "deed": mark.deed, "number": mark.number, "to": mark.to}
    )
    return Record(mark.letter.encode(), None, headers)


def decode_mark(headers: ForeignHeaders) -> Mark:
    """Read a mark.

    Raises:
        MalformedRecord: it is not one; names the header.
    """
    attributes = Attributes(headers, plain=_READ)
    if attributes.text("type") != MARK_TYPE:
        raise MalformedRecord("type", f"not {MARK_TYPE}")
    number = attributes.integer("number")
    if number is None:
        raise MalformedRecord("number", "missing")
    return Mark(attributes.required("letter"), attributes.word("deed", Deed), number, attributes.text("to"))
