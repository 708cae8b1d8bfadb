"""Instants on the wire: RFC 3339 in UTC with milliseconds; inside, epoch seconds as a float.

Writing cuts off what is below a millisecond, so that a deadline is only ever shortened. Reading takes what RFC 3339
allows and no more: ISO 8601 has week dates and times without a zone, which two readers would take for two instants.
"""

import re
from datetime import UTC, datetime
from typing import Final

from failsoft.policy.errors import MalformedRecord

_FIRST: Final = datetime(1, 1, 1, tzinfo=UTC).timestamp()
_LAST: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


def format_timestamp(at: float) -> str:
    """Write epoch seconds as ``2026-01-31T12:00:00.000Z``."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def parse_timestamp(text: str, field: str) -> float:
    """Read RFC 3339 as epoch seconds.

    Raises:
        MalformedRecord: it is something else; names the field.
    """
    upper = text.upper().replace(" ", "T")
    if _RFC3339.fullmatch(upper):
        try:
            at = datetime.fromisoformat(upper).timestamp()
        except (ValueError, OverflowError):  # the 30th of February
            pass
        else:
            if _FIRST <= at <= _LAST:  # else its year in UTC is none that can be written again
                return at
    raise MalformedRecord(field, "not an RFC 3339 instant such as 2026-01-31T12:00:00.000Z")
