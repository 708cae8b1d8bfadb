"""A session's word on a run as a record of ``<pipeline>.drills``: evidence for people, and what ``resume`` goes by.

    key     <stage>/<tier>|<epoch>|<session>
    value   the run, as JSON

The key names the session, so that compaction keeps what each said last. A record without a value says that the session gave up
before it had done anything.
"""

from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter, ValidationError

from failsoft.failover.run import Run
from failsoft.policy.errors import MalformedRecord
from failsoft.wire import Record
from failsoft.wire.attributes import Attributes, encode_attributes
from failsoft.wire.envelope import CONTENT_TYPE
from failsoft.wire.record import ForeignHeaders

DRILL_TYPE: Final = "failsoft.drill.v1"

_RUN: Final = TypeAdapter(Run)
_BETWEEN: Final = "|"


@dataclass(frozen=True, slots=True)
class Word:
    """What stands in the log.

    Attributes:
        session: who said it.
        run: what; None: it is taken back.
    """

    session: str
    run: Run | None


def encode_run(run: Run, *, is_deleted: bool = False) -> Record:
    """Write a session's word, or take it back."""
    key = _BETWEEN.join((run.endpoint, str(run.epoch), run.session)).encode()
    headers = encode_attributes({"ce_type": DRILL_TYPE, "content-type": CONTENT_TYPE})
    return Record(key, None if is_deleted else _RUN.dump_json(run), headers)


def decode_run(key: bytes | None, value: bytes | None, headers: ForeignHeaders) -> Word:
    """Read a record of ``<pipeline>.drills``.

    Raises:
        MalformedRecord: it is none; names the member.
    """
    session = (key or b"").decode(errors="replace").rpartition(_BETWEEN)[2]
    if not session:
        raise MalformedRecord("key", f"not <stage>/<tier>{_BETWEEN}<epoch>{_BETWEEN}<session>")
    if value is None:
        return Word(session, None)
    if Attributes(headers).text("ce_type") != DRILL_TYPE:
        raise MalformedRecord("ce_type", f"not {DRILL_TYPE}")
    try:
        return Word(session, _RUN.validate_json(value))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise MalformedRecord(".".join(map(str, first["loc"])) or "value", first["msg"]) from None
