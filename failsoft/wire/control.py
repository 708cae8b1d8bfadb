"""An operator's word on a breaker in ``<pipeline>.controls``, the latest of which holds.

    key     breaker|<stage>/<tier>, or breaker|stage:<stage> of those before a stage, with /<class> of one class
    value   {"breaker": "classify/full", "force": "open", "who": "ada", "why": "the vendor has said so",
             "until": "2026-01-31T12:00:00.000Z"}

``until`` is by the broker's clock, and null where nothing is to end: with ``auto``. Other words of operators stand in the same
topic; they are told by their type.
"""

from dataclasses import dataclass
from typing import Final

import orjson

from failsoft.policy.breaker_control import Force
from failsoft.policy.errors import MalformedRecord
from failsoft.wire.attributes import Attributes, encode_attributes
from failsoft.wire.envelope import CONTENT_TYPE
from failsoft.wire.limits import parse_json
from failsoft.wire.members import check_members, member, word
from failsoft.wire.record import ForeignHeaders, Record
from failsoft.wire.timestamp import format_timestamp, parse_timestamp

CONTROL_TYPE: Final = "failsoft.breakercontrol.v1"
CONTROL_BYTES: Final = 16_384

_MEMBERS: Final = ("breaker", "force", "who", "why", "until")


@dataclass(frozen=True, slots=True)
class BreakerControl:
    """What an operator has said.

    Attributes:
        breaker: of which breaker, ``<stage>/<tier>``, or ``stage:<stage>``.
        force: what he wants of it.
        who: his name.
        why: for the others.
        until: when it ends, by the broker's clock, epoch seconds; None with ``auto``.
    """

    breaker: str
    force: Force
    who: str
    why: str
    until: float | None


def encode_control(control: BreakerControl) -> Record:
    """Write an operator's word."""
    document = {
        "breaker": control.breaker,
        "force": control.force,
        "who": control.who,
        "why": control.why,
        "until": None if control.until is None else format_timestamp(control.until),
    }
    headers = encode_attributes({"ce_type": CONTROL_TYPE, "content-type": CONTENT_TYPE})
    return Record(f"breaker|{control.breaker}".encode(), orjson.dumps(document), headers)


def decode_control(value: bytes | None, headers: ForeignHeaders) -> BreakerControl | None:
    """Read a record of ``<pipeline>.controls``; None: it is of another type.

    Raises:
        MalformedRecord: it says that it is one, and is not; names the member.
    """
    if Attributes(headers).text("ce_type") != CONTROL_TYPE:
        return None
    document = parse_json(value or b"", limit_bytes=CONTROL_BYTES)
    check_members(document, "value", _MEMBERS)
    force = word(document, "force", Force)
    until = None if document.get("until") is None else parse_timestamp(member(document, "until", str), "until")
    if (until is None) != (force is Force.AUTO):
        raise MalformedRecord("until", "has to be said with open and closed, and only with these")
    return BreakerControl(
        member(document, "breaker", str), force, member(document, "who", str), member(document, "why", str), until
    )
