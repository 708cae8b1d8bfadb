"""Dead letters: records that were given up, kept as they came, for people and for a later replay.

Key, value and headers are the original's, so that replaying is producing again. Behind its headers stands a block of
ours, opened by ``type``: where it came from and why, in the names of Kafka Connect as text, which every Kafka tool
shows. The last block counts: a replayed record may be given up again.

``reason`` is our closed word. ``__connect.errors.exception.message`` says what is wrong and never quotes the record.

A record that would not fit the topic loses its value, and a digest and a length stand for it; if that is not enough,
its headers and its key go as well. The terminal result of the request is another record: see ``result``.
"""

import hashlib
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID, uuid5

from failsoft.policy.errors import MalformedRecord
from failsoft.policy.outcome import Reason
from failsoft.wire.attributes import Attributes, encode_attributes
from failsoft.wire.envelope import passed_on, salvage_headers
from failsoft.wire.identity import Identity, result_id
from failsoft.wire.limits import LARGE_VALUE_BYTES
from failsoft.wire.record import ForeignHeaders, Headers, Record

DEAD_LETTER_TYPE: Final = "failsoft.deadletter.v1"

_NAMESPACE: Final = UUID("0d0c7a36-8b2e-5f0a-9f5f-6b9a3c1e7d52")
"""Of letters' ids, fixed for ever: marks of today and of next year name the same letters."""
_CONNECT: Final = "__connect.errors."
_BLOCK: Final = frozenset(
    (
        "type",
        "reason",
        "value-sha256",
        "value-bytes",
        *(_CONNECT + name for name in ("topic", "partition", "offset", "stage")),
        *(_CONNECT + name for name in ("exception.class.name", "exception.message")),
    )
)
_TEXT_CHARACTERS: Final = 1000
_INT64_MAX: Final = 2**63 - 1
_HEADER_OVERHEAD_BYTES: Final = 10
"""Two lengths as varints, at most five bytes each."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that was given up.

    Attributes:
        topic: with partition and offset, the place it came from.
        partition: see topic.
        offset: see topic.
        stage: who gave it up, as ``<pipeline>.<stage>``.
        reason: why, as a closed word.
        problem: why, for people; names the field, quotes nothing.
        error: the class of the error.
        key: the original's.
        value: the original's; None if it had none, or if it was too large.
        headers: the original's.
        value_sha256: of a value that was too large.
        value_bytes: its length.
    """

    topic: str
    partition: int
    offset: int
    stage: str
    reason: Reason
    problem: str
    error: str
    key: bytes | None = field(default=None, repr=False)
    value: bytes | None = field(default=None, repr=False)
    headers: ForeignHeaders = field(default=(), repr=False)
    value_sha256: str | None = None
    value_bytes: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether its value was kept, so that it can be replayed."""
        return self.value_sha256 is None

    @property
    def request(self) -> Identity:
        """Which request it is of: the one whose result says why."""
        return salvage_headers(self.headers, topic=self.topic, partition=self.partition, offset=self.offset).identity

    @property
    def id(self) -> str:
        """Name the letter: repeats of it share this; a record of a topic made anew, and a request sent again, do not."""
        return str(uuid5(_NAMESPACE, f"{self.topic}\0{self.partition}\0{self.offset}\0{result_id(self.request)}"))

    @property
    def tenant(self) -> str | None:
        """Whose it is, as far as that can be read."""
        said = dict(passed_on(self.headers, ("ce_tenant",))).get("ce_tenant")
        return None if said is None else said.decode(errors="replace")


def encode_dead_letter(letter: DeadLetter, *, limit_bytes: int = LARGE_VALUE_BYTES) -> Record:
    """Write a dead letter that fits its topic, whatever the record held."""
    kept = letter
    if _size(kept) > limit_bytes:
        kept = _without_value(kept)
    if _size(kept) > limit_bytes:
        kept = replace(kept, key=None, headers=())
    return Record(kept.key, kept.value, [*kept.headers, *_block(kept)])


def decode_dead_letter(key: bytes | None, value: bytes | None, headers: ForeignHeaders) -> DeadLetter:
    """Read a dead letter.

    Raises:
        MalformedRecord: it is not one; names the header.
    """
    starts = [at for at, header in enumerate(headers) if header == ("type", DEAD_LETTER_TYPE.encode())]
    if not starts:
        raise MalformedRecord("type", f"no header says {DEAD_LETTER_TYPE}")
    attributes = Attributes(headers[starts[-1] :], plain=_BLOCK)
    return DeadLetter(
        topic=attributes.required(f"{_CONNECT}topic"),
        partition=_number(attributes, f"{_CONNECT}partition"),
        offset=_number(attributes, f"{_CONNECT}offset"),
        stage=attributes.required(f"{_CONNECT}stage"),
        reason=attributes.word("reason", Reason),
        problem=attributes.text(f"{_CONNECT}exception.message") or "",
        error=attributes.text(f"{_CONNECT}exception.class.name") or "",
        key=key,
        value=value,
        headers=tuple(headers[: starts[-1]]),
        value_sha256=attributes.text("value-sha256"),
        value_bytes=attributes.integer("value-bytes"),
    )


def _block(letter: DeadLetter) -> Headers:
    """Say where the record came from and why it was given up; the part of a dead letter that is ours."""
    return encode_attributes(
        {
            "type": DEAD_LETTER_TYPE,
            "reason": letter.reason,
            f"{_CONNECT}topic": letter.topic,
            f"{_CONNECT}partition": letter.partition,
            f"{_CONNECT}offset": letter.offset,
            f"{_CONNECT}stage": letter.stage,
            f"{_CONNECT}exception.class.name": _one_line(letter.error),
            f"{_CONNECT}exception.message": _one_line(letter.problem),
            "value-sha256": letter.value_sha256,
            "value-bytes": letter.value_bytes,
        }
    )


def _one_line(text: str) -> str | None:
    """Cut text down to what a header may hold."""
    return "".join(character if character.isprintable() else " " for character in text[:_TEXT_CHARACTERS]) or None


def _number(attributes: Attributes, name: str) -> int:
    number = attributes.integer(name, most=_INT64_MAX)
    if number is None:
        raise MalformedRecord(name, "missing")
    return number


def _without_value(letter: DeadLetter) -> DeadLetter:
    if letter.value is None:
        return letter
    digest = hashlib.sha256(letter.value).hexdigest()
    return replace(letter, value=None, value_sha256=digest, value_bytes=len(letter.value))


def _size(letter: DeadLetter) -> int:
    """Count the original's part; OVERHEAD_BYTES leaves room for ours."""
    headers = sum(len(name.encode()) + len(value or b"") + _HEADER_OVERHEAD_BYTES for name, value in letter.headers)
    return len(letter.key or b"") + len(letter.value or b"") + headers
