"""The ledger of degradation in ``<pipeline>.degradation``: one record for each cell, the latest of which holds.

    {"begins_at": "2026-01-31T12:00:00.000Z", "seconds": 60, "stage": "classify", "class": "interactive", "level": 2,
     "reason": "queue_long", "partition": 0, "counts": {"ok": 41}, "through": 70133}

``level`` is null where requests were not served. The counts of a minute are the sum over partitions (of the roll-ups, not of this
topic); ``through`` is the offset of the last roll-up that is in them.
"""

from typing import Final

import orjson

from failsoft.policy.degradation import CELL_SECONDS, Cell, Count
from failsoft.policy.errors import MalformedRecord
from failsoft.policy.outcome import Outcome, Reason
from failsoft.wire.attributes import encode_attributes, shown
from failsoft.wire.envelope import CONTENT_TYPE
from failsoft.wire.limits import parse_json
from failsoft.wire.members import check_members, member, natural, word
from failsoft.wire.record import Record
from failsoft.wire.timestamp import format_timestamp, parse_timestamp

DEGRADATION_TYPE: Final = "failsoft.degradation.v1"

_MEMBERS: Final = (
    "begins_at", "seconds", "stage", "class", "level", "reason", "partition", "counts", "through",
)  # fmt: skip


def encode_cell(cell: Cell, count: Count) -> Record:
    """Write a record of ``<pipeline>.degradation``."""
    begins_at = format_timestamp(cell.begins_at)
    document = {
        "begins_at": begins_at,
        "seconds": CELL_SECONDS,
        "stage": cell.stage,
        "class": cell.request_class,
        "level": cell.level or None,
        "reason": cell.reason,
        "partition": cell.partition,
        "counts": {outcome.value: count.endings[outcome] for outcome in sorted(count.endings)},
        "through": count.through,
    }
    headers = encode_attributes({"ce_type": DEGRADATION_TYPE, "content-type": CONTENT_TYPE})
    key = "/".join(map(str, (begins_at, *cell[1:])))
    return Record(key.encode(), orjson.dumps(document), headers)


def decode_cell(value: bytes | None) -> tuple[Cell, Count]:
    """Read the value of a record of ``<pipeline>.degradation``.

    Raises:
        MalformedRecord: it is none; names the member.
    """
    document = parse_json(value or b"")
    check_members(document, "value", _MEMBERS)
    if document.get("seconds") != CELL_SECONDS:
        raise MalformedRecord("seconds", f"not {CELL_SECONDS}")
    cell = Cell(
        int(parse_timestamp(member(document, "begins_at", str), "begins_at")),
        member(document, "stage", str),
        member(document, "class", str),
        0 if document.get("level") is None else natural(document, "level", most=3),
        word(document, "reason", Reason),
        natural(document, "partition"),
    )
    counts = member(document, "counts", dict)
    return cell, Count(
        {_outcome(name): natural(counts, name, "counts.") for name in counts}, natural(document, "through")
    )


def _outcome(name: str) -> Outcome:
    try:
        return Outcome(name)
    except ValueError:
        raise MalformedRecord(f"counts.{shown(name)}", f"none of {', '.join(Outcome)}") from None
