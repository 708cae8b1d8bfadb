"""What the shell keeps of a record while the machine decides about it: the parts that a decision may not look at."""

from collections.abc import Callable
from dataclasses import dataclass, field

from failsoft.kafka import Fetched
from failsoft.policy.context import Completeness
from failsoft.policy.errors import MalformedRecord
from failsoft.policy.request import ClassName
from failsoft.wire import Envelope, RequestLine
from failsoft.wire.body import decode_request, salvage_custom_id
from failsoft.wire.envelope import decode_headers, salvage_headers
from failsoft.wire.limits import LARGE_VALUE_BYTES, VALUE_BYTES


@dataclass(slots=True, eq=False)
class Held:
    """One record in this worker's hands.

    Attributes:
        fetched: as it came; kept whole only where it becomes a dead letter.
        request_class: its urgency.
        assignment: of its partition, under which it came: what tells it from another in the same place of a topic made anew.
        envelope: its headers, or what could be saved of them.
        custom_id: of its line.
        line: its body; None where it cannot be read, and when no call will be made with it any more.
        malformed: why it cannot be read.
        context: what the parts of its context turned out to be; None where the stage declares none.
        key: its content key, None if it shares nothing.
        is_dead: it becomes a dead letter.
    """

    fetched: Fetched | None = field(repr=False)
    request_class: ClassName
    assignment: int
    envelope: Envelope
    custom_id: str | None
    line: RequestLine | None = field(default=None, repr=False)
    malformed: MalformedRecord | None = None
    context: Completeness | None = None
    key: str | None = None
    is_dead: bool = False


KeyOf = Callable[[RequestLine, Envelope, Completeness | None], str | None]


def read(
    fetched: Fetched,
    key_of: KeyOf,
    *,
    examine: Callable[[RequestLine], Completeness | None] = lambda _: None,
    is_between: bool = False,
) -> Held:
    """Read a record. Never fails: one that is not what the wire contract says is held with the reason.

    Args:
        fetched: as it came.
        key_of: the stage's rule for content keys.
        examine: finds out what its context is.
        is_between: it comes from another stage, which may have made it longer than anybody outside may.
    """
    name, partition, offset = fetched.record
    try:
        envelope = decode_headers(
            fetched.headers, topic=fetched.topic, partition=partition, offset=offset, is_between=is_between
        )
        line = decode_request(fetched.value, limit_bytes=LARGE_VALUE_BYTES if is_between else VALUE_BYTES)
    except MalformedRecord as error:
        envelope = salvage_headers(fetched.headers, topic=fetched.topic, partition=partition, offset=offset)
        return Held(fetched, name, fetched.assignment, envelope, salvage_custom_id(fetched.value), malformed=error)
    context = examine(line)
    key = key_of(line, envelope, context)
    return Held(None, name, fetched.assignment, envelope, line.custom_id, line, context=context, key=key)
