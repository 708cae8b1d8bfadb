"""An operator's word on where an endpoint is called, in ``<pipeline>.controls``.

    key     route|<stage>/<tier>|<epoch>
    value   {"endpoint": "classify/large", "origin": "eu", "target": "us", "share": 0.1, "epoch": 7,
             "who": "ada", "why": "eu is slow"}

Of all words on an endpoint that with the highest epoch holds, and of one epoch the latest. The epoch stands in the key, because
compaction keeps the latest record of a key: else a command that was overtaken and writes after its successor would be all that is
left.
"""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from failsoft.policy.errors import ConfigurationError, MalformedRecord
from failsoft.policy.routing import Route
from failsoft.wire.attributes import Attributes, encode_attributes
from failsoft.wire.envelope import CONTENT_TYPE
from failsoft.wire.limits import parse_json
from failsoft.wire.members import check_members, member, natural
from failsoft.wire.record import ForeignHeaders, Record

ROUTE_TYPE: Final = "failsoft.route.v1"
ROUTE_BYTES: Final = 16_384

_MEMBERS: Final = ("endpoint", "origin", "target", "share", "epoch", "who", "why")


@dataclass(frozen=True, slots=True)
class SaidRoute:
    """What an operator has said.

    Attributes:
        route: where to.
        who: his name.
        why: for the others.
    """

    route: Route
    who: str
    why: str


def encode_route(said: SaidRoute) -> Record:
    """Write an operator's word."""
    route = said.route
    document = {
        "endpoint": route.endpoint,
        "origin": route.origin,
        "target": route.target,
        "share": route.share,
        "epoch": route.epoch,
        "who": said.who,
        "why": said.why,
    }
    headers = encode_attributes({"ce_type": ROUTE_TYPE, "content-type": CONTENT_TYPE})
    return Record(f"route|{route.endpoint}|{route.epoch}".encode(), orjson.dumps(document), headers)


def decode_route(value: bytes | None, headers: ForeignHeaders) -> SaidRoute | None:
    """Read a record of ``<pipeline>.controls``; None: it is of another type, or deletes one.

    Raises:
        MalformedRecord: it says that it is one, and is not; names the member.
    """
    if value is None or Attributes(headers).text("ce_type") != ROUTE_TYPE:
        return None
    document = parse_json(value, limit_bytes=ROUTE_BYTES)
    check_members(document, "value", _MEMBERS)
    try:
        route = Route(
            member(document, "endpoint", str),
            member(document, "origin", str),
            member(document, "target", str),
            _part(document),
            natural(document, "epoch"),
        )
    except ConfigurationError:
        raise MalformedRecord("target", "is the origin too") from None
    return SaidRoute(route, member(document, "who", str), member(document, "why", str))


def _part(document: dict[str, Any]) -> float:
    part = document.get("share")
    if type(part) not in (int, float) or not 0 <= part <= 1:  # type: ignore[operator] # a number, looked at before
        raise MalformedRecord("share", "missing, or not a number from 0 to 1")
    return float(part)  # type: ignore[arg-type] # looked at above
