"""What a response that is no success means: whose fault it is decides who serves the request next.

======================================  =========================  ====================================================
status                                  raised                     because
======================================  =========================  ====================================================
429, 529                                ``Busy``                   the server has no room; nothing is wrong with it
503 with ``Retry-After``, a drop reason  ``Busy``                   the same, as vLLM, Ollama and llm-d say it
or words of overload
400, 413, 422                           ``RequestRefused``         the request's fault, at any tier
401, 403, 404, redirects, other 4xx     ``EndpointBroken``         how the endpoint is set up; no call will do better
408, 409, 424, 425, other 5xx           ``EndpointFailed``         this time; OpenAI's own client tries these again
======================================  =========================  ====================================================

A plain 503 is a failure and not backpressure: a server that is still loading its model says 503 too. 424 is what TGI says
when generating failed. 529 is Anthropic's word for overload.
"""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from failsoft.endpoints.call import Busy, EndpointBroken, EndpointFailed, RequestRefused
from failsoft.endpoints.retry_after import retry_after_seconds
from failsoft.policy.errors import FailsoftError

MESSAGE_CHARACTERS = 500
"""Of what a server says, so much is kept: it may end in a result and in logs, and some servers send a page of HTML."""

_NO_ROOM = {429, 529}
_REQUEST_AT_FAULT = {400, 413, 422}
_PASSING = {408, 409, 424, 425}
_DROP_REASON = "x-llm-d-request-dropped-reason"
_OVERLOAD = re.compile(r"overload|busy|queue|capacity|saturat|too many|rate.?limit", re.IGNORECASE)


def failure(
    status: int, headers: Mapping[str, str], body: bytes, *, remaining_seconds: float, now: float
) -> FailsoftError:
    """Name what a response with this status means.

    Args:
        status: of HTTP; not 2xx.
        headers: of the response, by any case.
        body: as much of it as was read.
        remaining_seconds: what is left for the call; bounds a wait.
        now: epoch seconds.
    """
    said = error_message(body)
    text = f"HTTP {status}: {said}" if said else f"HTTP {status}"
    wait = retry_after_seconds(headers, remaining_seconds=remaining_seconds, now=now)
    if status in _NO_ROOM or (status == 503 and (wait is not None or _speaks_of_overload(headers, body))):
        return Busy(text, retry_after_seconds=wait)
    if status in _REQUEST_AT_FAULT:
        return RequestRefused(said or text, status_code=status)
    if status in _PASSING or status >= 500:
        return EndpointFailed(text)
    return EndpointBroken(text)


def error_message(body: bytes) -> str:
    """What an error body says, on one line and bounded; empty if nothing.

    OpenAI and vLLM write ``{"error": {"message": …}}``, TGI and Ollama ``{"error": …}``, FastAPI ``{"detail": …}``.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = body.decode(errors="replace")
    words = " ".join(_message(document).split())
    return words if len(words) <= MESSAGE_CHARACTERS else f"{words[: MESSAGE_CHARACTERS - 1]}…"


def _message(document: Any) -> str:
    match document:
        case {"error": {"message": str(text)}} | {"error": str(text)} | {"message": str(text)} | {"detail": str(text)}:
            return text
        case str():
            return document
        case _:
            return "" if document is None else orjson.dumps(document).decode()


def _speaks_of_overload(headers: Mapping[str, str], body: bytes) -> bool:
    return _DROP_REASON in headers or _OVERLOAD.search(body.decode(errors="replace")) is not None
