"""A worker's word on a breaker in ``<pipeline>.breakers``: its register, the latest of which holds.

    key     <stage>/<tier>|<process>, or stage:<stage>/<class>|<process> of a breaker before a stage
    value   {"epoch": 3, "phase": "open", "open_seconds": 7.2, "reopenings": 1, "causes": ["failure_rate"],
             "since_seconds": 0.4, "buckets": [[12, 9, 0], [3, 0, 0]], "probes": 0}

A bucket is ``[calls, failed, slow]`` of three seconds, newest first. Only durations are said, and no instant: no two clocks need
to agree. A record without a value says that the worker has gone, and that a living one knows as much as it did.
"""

import math
from typing import Any, Final, NamedTuple

import orjson

from failsoft.policy.call_counts import BUCKETS, Counts
from failsoft.policy.errors import MalformedRecord
from failsoft.policy.register import Cause, Phase, Register, Word
from failsoft.wire.attributes import Attributes, encode_attributes
from failsoft.wire.envelope import CONTENT_TYPE
from failsoft.wire.limits import parse_json
from failsoft.wire.members import check_members, member, natural
from failsoft.wire.record import ForeignHeaders, Record

REGISTER_TYPE: Final = "failsoft.register.v1"
REGISTER_BYTES: Final = 4_096
"""Ten buckets of the largest counts are a fifth of it."""
PHASES: Final = {phase: phase.name.lower() for phase in Phase}

_BETWEEN: Final = "|"
_MEMBERS: Final = (
    "epoch", "phase", "open_seconds", "reopenings", "causes", "since_seconds", "buckets", "probes",
)  # fmt: skip


class LoggedRegister(NamedTuple):
    """A register as it stands in the log; None where it was deleted."""

    breaker: str
    process: str
    register: Register | None


def encode_register(breaker: str, process: str, register: Register) -> Record:
    """Write a worker's word.

    Args:
        breaker: whose it is, ``<stage>/<tier>``, or ``stage:<stage>/<class>``.
        process: who writes it, unlike any other.
        register: what it says.
    """
    word = register.word
    document = {
        "epoch": word.epoch,
        "phase": PHASES[word.phase],
        "open_seconds": round(word.open_seconds, 3),
        "reopenings": word.reopenings,
        "causes": sorted(word.causes),
        "since_seconds": round(register.since_seconds, 3),
        "buckets": [[bucket.calls, bucket.failed, bucket.slow] for bucket in register.buckets],
        "probes": register.probes,
    }
    headers = encode_attributes({"ce_type": REGISTER_TYPE, "content-type": CONTENT_TYPE})
    return Record(_key(breaker, process), orjson.dumps(document), headers)


def encode_deleted_register(breaker: str, process: str) -> Record:
    """Write that a worker has gone, and what it said is known to others."""
    return Record(_key(breaker, process), None, ())


def decode_register(key: bytes | None, value: bytes | None, headers: ForeignHeaders) -> LoggedRegister:
    """Read a record of ``<pipeline>.breakers``.

    Raises:
        MalformedRecord: it is none; names the member.
    """
    breaker, process = _names(key)
    if value is None:
        return LoggedRegister(breaker, process, None)
    if Attributes(headers).text("ce_type") != REGISTER_TYPE:
        raise MalformedRecord("ce_type", f"not {REGISTER_TYPE}")
    document = parse_json(value, limit_bytes=REGISTER_BYTES)
    check_members(document, "value", _MEMBERS)
    register = Register(
        _word(document),
        _seconds(document, "since_seconds"),
        tuple(_buckets(member(document, "buckets", list))),
        natural(document, "probes"),
    )
    return LoggedRegister(breaker, process, register)


def _key(breaker: str, process: str) -> bytes:
    return f"{breaker}{_BETWEEN}{process}".encode()


def _names(key: bytes | None) -> tuple[str, str]:
    try:
        breaker, _, process = (key or b"").decode().rpartition(_BETWEEN)
    except UnicodeDecodeError:
        raise MalformedRecord("key", "not UTF-8") from None
    if not breaker or not process:
        raise MalformedRecord("key", f"not <stage>/<tier>{_BETWEEN}<process>")
    return breaker, process


def _word(document: dict[str, Any]) -> Word:
    named = {name: phase for phase, name in PHASES.items()}
    phase = member(document, "phase", str)
    if phase not in named:
        raise MalformedRecord("phase", f"none of {', '.join(named)}")
    causes = member(document, "causes", list)
    if unknown := [cause for cause in causes if cause not in list(Cause)]:
        raise MalformedRecord("causes", f"{len(unknown)} of them none of {', '.join(Cause)}")
    return Word(
        natural(document, "epoch"),
        named[phase],
        _seconds(document, "open_seconds"),
        natural(document, "reopenings"),
        frozenset(map(Cause, causes)),
    )


def _seconds(document: dict[str, Any], name: str) -> float:
    said = document.get(name)
    if type(said) not in (int, float):
        raise MalformedRecord(name, "missing, or not a number")
    seconds = float(said)  # type: ignore[arg-type] # looked at above
    if not math.isfinite(seconds) or seconds < 0:
        raise MalformedRecord(name, "not a length of time")
    return seconds


def _buckets(said: list[Any]) -> list[Counts]:
    if len(said) > BUCKETS:
        raise MalformedRecord("buckets", f"more than {BUCKETS}")
    return [_counts(bucket) for bucket in said]


def _counts(bucket: Any) -> Counts:
    if isinstance(bucket, list) and len(bucket) == 3:
        calls, failed, slow = bucket
        if type(calls) is type(failed) is type(slow) is int and 0 <= failed <= calls and 0 <= slow <= calls:
            return Counts(calls, failed, slow)
    raise MalformedRecord("buckets", "not [calls, failed, slow] each, of which the first is the largest")
