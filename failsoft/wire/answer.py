"""An answer of the past in the log of answers, for whoever owns its partition next.

    key      <content key>/<level>, and /<revision> where the model has one
    value    the answer as it stands in results, a JSON document; none: it is deleted
    headers  ce_time (when it was given, by the broker's clock), ce_freshms (how long it is fresh from then on), ce_stage,
             ce_servedtier, ce_servedlevel, ce_revision, ce_region

The content key names tenant and stage, and the version of the data. The rest of the key is what must not displace each other when
the log is compacted: an answer of a small model and a better one of before, and those of two revisions while a rollout is under
way.

Records lie in the partition with the number of their request's, whatever their key hashes to: its owner is who is asked again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from failsoft.policy.answer import AnswerName
from failsoft.policy.errors import MalformedRecord
from failsoft.wire.attributes import Attributes, encode_attributes, milliseconds
from failsoft.wire.envelope import CONTENT_TYPE
from failsoft.wire.limits import DEPTH, VALUE_BYTES, parse_json
from failsoft.wire.record import ForeignHeaders, Record
from failsoft.wire.timestamp import format_timestamp

ANSWER_TYPE: Final = "failsoft.answer.v1"
ANSWER_BYTES: Final = VALUE_BYTES
"""Of an answer that is shared. Longer ones are rare, and one of them would push hundreds of others out."""
RESULT_DEPTH: Final = 2
"""How deep an answer lies in a result."""


@dataclass(frozen=True, slots=True)
class LoggedAnswer:
    """What a model once said.

    Attributes:
        name: content key and level.
        stage: of its pipeline.
        tier: which said it.
        revision: of the model behind the tier; None: its author names none.
        produced_at: when, by the broker's clock, epoch seconds.
        fresh_seconds: how long it is fresh from then on.
        region: where the endpoint is that answered.
        body: a JSON document.
    """

    name: AnswerName
    stage: str
    tier: str
    revision: str | None
    produced_at: float
    fresh_seconds: float
    region: str | None
    body: bytes = field(repr=False)


def answer_body(body: bytes | Mapping[str, Any]) -> bytes:
    """Write an answer as it stands in results.

    Raises:
        MalformedRecord: it is nothing that a reader of results would read.
    """
    try:
        written = body if isinstance(body, bytes) else orjson.dumps(body)
    except TypeError as error:  # orjson's own error is one
        raise MalformedRecord("body", f"not possible in JSON: {error}") from None
    _check(written)
    return written


def answer_key(name: AnswerName, revision: str | None) -> str:
    """Name a record in the log of answers."""
    return f"{name.key}/{name.level}" if revision is None else f"{name.key}/{name.level}/{revision}"


def answer_name(key: bytes | None) -> AnswerName:
    """Read what a record's key speaks of: all that is known of one that deletes.

    Raises:
        MalformedRecord: it is no key of an answer.
    """
    content, _, rest = (key or b"").decode("utf-8", "replace").partition("/")
    level = rest.partition("/")[0]
    if not content or level not in {"1", "2", "3"}:
        raise MalformedRecord("key", "not a content key and a level, such as 9f86…/1")
    return AnswerName(content, int(level))


def encode_answer(answer: LoggedAnswer, *, pipeline: str) -> Record:
    """Write an answer whose body was checked by :func:`answer_body`.

    Raises:
        MalformedRecord: it is too large to be shared.
    """
    if len(answer.body) > ANSWER_BYTES:
        raise MalformedRecord("value", f"{len(answer.body)} bytes, the limit is {ANSWER_BYTES}")
    key, produced_at = answer_key(answer.name, answer.revision), format_timestamp(answer.produced_at)
    said: dict[str, str | int | None] = {
        "ce_specversion": "1.0",
        "ce_id": f"{key}@{produced_at}",
        "ce_source": f"/failsoft/{pipeline}",
        "ce_type": ANSWER_TYPE,
        "ce_time": produced_at,
        "content-type": CONTENT_TYPE,
        "ce_stage": answer.stage,
        "ce_servedtier": answer.tier,
        "ce_servedlevel": answer.name.level,
        "ce_revision": answer.revision,
        "ce_freshms": milliseconds(answer.fresh_seconds),
        "ce_region": answer.region,
    }
    return Record(key.encode(), answer.body, encode_attributes(said))


def decode_answer(key: bytes | None, headers: ForeignHeaders, value: bytes) -> LoggedAnswer:
    """Read an answer that is not deleted.

    Raises:
        MalformedRecord: it is none, or no result could carry it; names the header or the member.
    """
    attributes = Attributes(headers)
    if attributes.required("ce_type") != ANSWER_TYPE:
        raise MalformedRecord("ce_type", f"not {ANSWER_TYPE}")
    name, revision = answer_name(key), attributes.text("ce_revision")
    if (key or b"") != answer_key(name, revision).encode():
        raise MalformedRecord("key", "does not end in the level and the revision that the headers name")
    produced_at, fresh_seconds = attributes.instant("ce_time"), attributes.seconds("ce_freshms")
    if produced_at is None or fresh_seconds is None:
        raise MalformedRecord("ce_time" if produced_at is None else "ce_freshms", "missing")
    _check(value)
    return LoggedAnswer(
        name=name,
        stage=attributes.required("ce_stage"),
        tier=attributes.required("ce_servedtier"),
        revision=revision,
        produced_at=produced_at,
        fresh_seconds=fresh_seconds,
        region=attributes.text("ce_region"),
        body=value,
    )


def _check(body: bytes) -> None:
    """Whether it is one document, and can be nested as deep as results have it."""
    parse_json(body, limit_bytes=len(body), field="body")
    if body.count(b"[") + body.count(b"{") > DEPTH - RESULT_DEPTH:
        around = b"[" * RESULT_DEPTH, b"]" * RESULT_DEPTH
        parse_json(body.join(around), limit_bytes=len(body) + 2 * RESULT_DEPTH, field="body")
