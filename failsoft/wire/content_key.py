"""Which requests ask for the same answer: one key for all of them, or None where each wants its own.

    key = sha256(scheme, tenant, stage, the sender's coalesce key | the content)

The *content* is everything that can change the answer: url, body, the values and states of the context, the version
of the data behind the stage. Left out are members of the body that only say for whom or how it is delivered; a stage
may declare a narrower projection. What is left out wrongly gives somebody another request's answer, what is kept
without need only costs a repeated call, so unknown members count.

What a worker finds a context to lack counts too, even beside a coalesce key: the same documents are other ones when they
are too old, and an answer to less must not pass for one to all.

Numbers are normalised first: ``1.0`` and ``1`` are one number in JSON and two in Python. Two keys may still differ
where a mathematician would see one number (beyond 2**63), which again only costs a call.

The worker always computes the key itself. The parts are framed as a JSON array, so no tenant's name can be chosen to
read like another's name and stage, and sha256 because a collision would hand out an answer: fast hashes can be made
to collide.
"""

import hashlib
from collections.abc import Collection
from typing import Any, Final, Literal

import orjson

from failsoft.wire.body import RequestLine
from failsoft.wire.identity import Identity

Coalesce = Literal["off", "deterministic", "always"]
"""Which requests may share an answer: none; those that would get the same one again; all."""

SCHEME: Final = "failsoft.content.v1"
"""Changes whenever the same content gets another key, so that old and new keys never meet in the cache."""

DELIVERY_MEMBERS: Final = frozenset(
    ("metadata", "prompt_cache_key", "safety_identifier", "service_tier", "store", "stream", "stream_options", "user")
)
"""Members of OpenAI's bodies that do not change what the answer says."""


def content_key(
    line: RequestLine,
    *,
    tenant: str | None,
    stage: str,
    coalesce: Coalesce = "deterministic",
    coalesce_key: str | None = None,
    projection: Collection[str] | None = None,
    data_version: str | None = None,
    lacking: str | None = None,
) -> str | None:
    """Compute the key of a request, None if it shares its answer with no other.

    Args:
        line: the request.
        tenant: whose it is; tenants never share.
        stage: who answers, as ``<pipeline>.<stage>``.
        coalesce: the stage's rule.
        coalesce_key: the sender's word for what is asked, in place of the content. Saying it is consent.
        projection: the members of the body that count, in place of all but DELIVERY_MEMBERS.
        data_version: of what the stage's answers are made from.
        lacking: what a worker has found the context to lack; None: nothing.
    """
    if coalesce == "off":
        return None
    found = () if lacking is None else (lacking,)
    if coalesce_key is not None:
        return _digest([SCHEME, tenant, stage, "key", coalesce_key, *found])
    if coalesce == "deterministic" and not _is_deterministic(line.body):
        return None
    return _digest([SCHEME, tenant, stage, "content", _content(line, projection), data_version, *found])


def repeat_key(*, tenant: str | None, stage: str, identity: Identity) -> str:
    """Compute the key of a request that shares its answer with no other: only a repeat of the same record has it.

    The tenant counts here too: two that submit the same batch file give their requests the same names.
    """
    return _digest([SCHEME, tenant, stage, "identity", identity.source, identity.id])


def _is_deterministic(body: dict[str, Any]) -> bool:
    """Asked twice, the model would say the same twice: that is what temperature 0 and a seed ask for."""
    temperature = body.get("temperature")
    return (type(temperature) in (int, float) and temperature == 0) or body.get("seed") is not None


def _content(line: RequestLine, projection: Collection[str] | None) -> list[Any]:
    body = {
        name: value
        for name, value in line.body.items()
        if (name not in DELIVERY_MEMBERS if projection is None else name in projection)
    }
    context = {name: [part.value, part.state] for name, part in line.context.items()}
    return [line.url, _normalised(body), _normalised(context)]


def _normalised(value: Any) -> Any:
    """Write whole floats as integers, everywhere; depth is bounded by the limits on parsing."""
    if type(value) is dict:
        return {name: _normalised(member) for name, member in value.items()}
    if type(value) is list:
        return [_normalised(member) for member in value]
    if type(value) is float and value.is_integer() and abs(value) < 2**63:
        return int(value)
    return value


def _digest(parts: list[Any]) -> str:
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()
