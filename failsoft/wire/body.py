"""Values of requests and results: the lines of OpenAI's batch files, so that a batch file is enqueued as it is.

In, one line of a batch input file, with the context that earlier stages gathered::

    {"custom_id": …, "method": "POST", "url": "/v1/chat/completions", "body": {…},
     "context": {<name>: {"value": …, "state": "present", "produced_at": "2026-01-31T12:00:00.000Z"}}}

Out, one line of a batch output file::

    {"id": …, "custom_id": …, "response": {"status_code": 200, "request_id": …, "body": {…}}, "error": null}

An end that HTTP has a status for stands in ``response.body.error`` with ``error`` null: that is what OpenAI and vLLM
write, whatever their schema says. The line itself is closed, since a misspelt member would be a silent loss; ``body``
is the model's business and stays open.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import orjson

from failsoft.policy.errors import MalformedRecord
from failsoft.wire.attributes import shown
from failsoft.wire.limits import LARGE_VALUE_BYTES, VALUE_BYTES, parse_json
from failsoft.wire.members import check_members, member
from failsoft.wire.timestamp import format_timestamp, parse_timestamp

_REQUEST_MEMBERS: Final = ("custom_id", "method", "url", "body", "context")
_PART_MEMBERS: Final = ("value", "state", "produced_at")
_OUTPUT_MEMBERS: Final = ("id", "custom_id", "response", "error")


class PartState(StrEnum):
    """How complete one part of the context is."""

    PRESENT = "present"
    STALE = "stale"
    TRUNCATED = "truncated"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class ContextPart:
    """One named piece of what earlier stages gathered.

    Attributes:
        value: the piece itself, any JSON.
        state: how complete it is.
        produced_at: when it was gathered, epoch seconds, None if unknown.
    """

    value: Any = field(repr=False)
    state: PartState = PartState.PRESENT
    produced_at: float | None = None


@dataclass(frozen=True, slots=True)
class RequestLine:
    """The value of a request.

    Attributes:
        custom_id: the sender's name for the line, echoed and never identity.
        url: which of the OpenAI endpoints the body is for.
        body: the endpoint's request.
        context: what earlier stages gathered, by name.
    """

    custom_id: str
    url: str
    body: dict[str, Any] = field(repr=False)
    context: Mapping[str, ContextPart] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OutputLine:
    """The value of a result.

    Attributes:
        id: the result's id.
        custom_id: the request's, None where it could not be read.
        status_code: of the answer, as HTTP has it.
        request_id: the request's own id.
        body: the answer, or ``{"error": {…}}``.
    """

    id: str
    custom_id: str | None
    status_code: int
    request_id: str
    body: Any = field(repr=False)


def gathered(context: Mapping[str, Any], *, at: float) -> dict[str, ContextPart]:
    """Parts of a context, as people write them down: name -> value, gathered now, or a ContextPart where that is not so.

    Args:
        context: as it was given.
        at: now, epoch seconds.

    Raises:
        MalformedRecord: it is no mapping.
    """
    if not isinstance(context, Mapping):
        raise MalformedRecord("context", "not a mapping of names to values")
    return {
        name: value if isinstance(value, ContextPart) else ContextPart(value, produced_at=at)
        for name, value in context.items()
    }


def decode_request(value: bytes | None, *, limit_bytes: int = VALUE_BYTES) -> RequestLine:
    """Read the value of a request.

    Args:
        value: as Kafka hands it over.
        limit_bytes: LARGE_VALUE_BYTES for a record between stages.

    Raises:
        MalformedRecord: it is not a batch line; names the member.
    """
    if value is None:
        raise MalformedRecord("value", "absent; a request is a line of a batch file")
    line = parse_json(value, limit_bytes=limit_bytes)
    check_members(line, "value", _REQUEST_MEMBERS)
    custom_id: str = member(line, "custom_id", str)
    if member(line, "method", str) != "POST":
        raise MalformedRecord("method", "only POST is possible")
    url: str = member(line, "url", str)
    if not url.startswith("/"):
        raise MalformedRecord("url", "not a path such as /v1/chat/completions")
    return RequestLine(custom_id, url, member(line, "body", dict), _context(line.get("context")))


def encode_request(line: RequestLine, *, limit_bytes: int = VALUE_BYTES) -> bytes:
    """Write the value of a request.

    Raises:
        MalformedRecord: it has no form in JSON, or a worker would not read it.
    """
    document: dict[str, Any] = {"custom_id": line.custom_id, "method": "POST", "url": line.url, "body": line.body}
    if line.context:
        document["context"] = {name: _encode_part(part, f"context.{name}") for name, part in line.context.items()}
    return _dump(document, "value", limit_bytes)


def salvage_custom_id(value: bytes | None) -> str | None:
    """Find the custom_id of a request that is malformed elsewhere, None if there is none to be read. Never fails."""
    try:
        custom_id = parse_json(value or b"")["custom_id"]
    except (MalformedRecord, TypeError, KeyError):
        return None
    return custom_id if isinstance(custom_id, str) else None


def decode_output(value: bytes | None) -> OutputLine:
    """Read the value of a result.

    Raises:
        MalformedRecord: it is not a batch output line with a response; names the member.
    """
    line = parse_json(value or b"", limit_bytes=LARGE_VALUE_BYTES)
    check_members(line, "value", _OUTPUT_MEMBERS)
    response = member(line, "response", dict)
    if "body" not in response:
        raise MalformedRecord("response.body", "missing")
    return OutputLine(
        id=member(line, "id", str),
        custom_id=None if line.get("custom_id") is None else member(line, "custom_id", str),
        status_code=member(response, "status_code", int, "response."),
        request_id=member(response, "request_id", str, "response."),
        body=response["body"],
    )


def encode_output(line: OutputLine) -> bytes:
    """Write the value of a result. A body in bytes must be a JSON document already; it is put in as it is.

    Raises:
        MalformedRecord: the body has no form in JSON, is longer than the topic takes, or is what no reader would read.
    """
    body = orjson.Fragment(line.body) if isinstance(line.body, bytes) else line.body
    response = {"status_code": line.status_code, "request_id": line.request_id, "body": body}
    document = {"id": line.id, "custom_id": line.custom_id, "response": response, "error": None}
    return _dump(document, "response.body", LARGE_VALUE_BYTES)


def _dump(document: Any, field_: str, limit_bytes: int) -> bytes:
    """Write a document, and read it as its reader will: one that it refuses would stand in the log and be seen by nobody."""
    try:
        value = orjson.dumps(document)
    except TypeError as error:  # orjson's own error is one
        raise MalformedRecord(field_, f"not possible in JSON: {error}") from None
    parse_json(value, limit_bytes=limit_bytes, field=field_)
    return value


def _context(document: Any) -> dict[str, ContextPart]:
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise MalformedRecord("context", "not an object")
    return {name: _decode_part(part, f"context.{shown(name)}") for name, part in document.items()}


def _decode_part(part: Any, path: str) -> ContextPart:
    check_members(part, path, _PART_MEMBERS, f"{path}.")
    if "value" not in part:
        raise MalformedRecord(f"{path}.value", "missing")
    state = part.get("state", PartState.PRESENT)
    if not isinstance(state, str) or state not in set(PartState):
        raise MalformedRecord(f"{path}.state", f"none of {', '.join(PartState)}")
    produced_at = part.get("produced_at")
    if produced_at is not None:
        produced_at = parse_timestamp(member(part, "produced_at", str, f"{path}."), f"{path}.produced_at")
    return ContextPart(part["value"], PartState(state), produced_at)


def _encode_part(part: ContextPart, path: str) -> dict[str, Any]:
    if part.state not in tuple(PartState):  # no set: what an author's code says need not be hashable
        raise MalformedRecord(f"{path}.state", f"none of {', '.join(PartState)}")
    written = {"value": part.value, "state": part.state}
    if part.produced_at is None:
        return written
    try:
        return {**written, "produced_at": format_timestamp(part.produced_at)}
    except (TypeError, ValueError, OverflowError, OSError):
        raise MalformedRecord(f"{path}.produced_at", "no instant; it is epoch seconds") from None
