"""The routes of OpenAI's API: read a request, take it through its model, answer it or fail as the model did.

What is wrong with the request itself (400, 404) is said at once and is no call of any model.

A request may say how long it keeps its model busy, as the length of an answer does in production: ``metadata`` with the member
``work``, a factor on the service time ("2.5"; OpenAI's metadata are strings).
"""

import math
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from failsoft.testing.model_server import answers
from failsoft.testing.model_server.digits import Readings, image_of
from failsoft.testing.model_server.faults import Failure
from failsoft.testing.model_server.served import ServedModel
from failsoft.testing.model_server.settings import DigitReader

HALF_A_DOCUMENT = b'{"object": "chat.completion", "choices": [{"index": 0, "mess'

WORK_MAX = 1_000.0

Writer = Callable[[str, str, str], dict[str, Any]]
"""Model, prompt and answer to the body of a response."""


class Refused(Exception):  # noqa: N818 - it is the request that is at fault
    """A request that no model takes."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        """Name what is wrong with it."""
        super().__init__(message)
        self.status = status
        self.code = code


class Api:
    """OpenAI's API over some served models.

    Args:
        models: by name.
        readings: what each reader of digits says of an image; empty for plain answers only.
    """

    def __init__(self, models: Mapping[str, ServedModel], readings: Mapping[DigitReader, Readings]) -> None:
        self._models = models
        self._readings = readings

    def routes(self) -> list[web.RouteDef]:
        """What to add to an application."""
        return [
            web.get("/v1/models", self._list),
            web.post("/v1/chat/completions", self._chat),
            web.post("/v1/completions", self._complete),
            web.post("/v1/embeddings", self._embed),
        ]

    async def _list(self, _: web.Request) -> web.Response:
        models = [{"id": name, "object": "model", "created": 0, "owned_by": "failsoft"} for name in self._models]
        return json_response({"object": "list", "data": models})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        return await self._say(request, body, _chat_prompt(body), answers.chat_completion)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        if not isinstance(body.get("prompt"), str):
            raise Refused(400, "prompt: must be a string")
        return await self._say(request, body, body["prompt"], answers.completion)

    async def _embed(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        inputs = [body["input"]] if isinstance(body.get("input"), str) else body.get("input")
        if not isinstance(inputs, list) or not inputs or not all(isinstance(text, str) for text in inputs):
            raise Refused(400, "input: must be a string or a list of strings")
        model = self._model(body)
        served = await model.serve("\n".join(inputs), work=_work(body))
        return await _served(request, model, served, lambda: answers.embeddings(model.name, inputs))

    async def _say(self, request: web.Request, body: dict[str, Any], prompt: str, write: Writer) -> web.StreamResponse:
        model = self._model(body)
        served = await model.serve(prompt, work=_work(body))
        return await _served(request, model, served, lambda: write(model.name, prompt, self._answer(model, prompt)))

    def _model(self, body: dict[str, Any]) -> ServedModel:
        name = body.get("model")
        if not isinstance(name, str) or name not in self._models:
            known = ", ".join(self._models)
            raise Refused(404, f"model: {name!r} is not served here; there are {known}", "model_not_found")
        return self._models[name]

    def _answer(self, model: ServedModel, prompt: str) -> str:
        """The digit on an image that is known, for a model that reads them; else a plain answer."""
        reader, image = model.settings.digits, image_of(prompt)
        readings = self._readings.get(reader, {}) if reader is not None else {}
        digit = None if image is None else readings.get(image)
        return answers.plain_answer(model.name, prompt) if digit is None else digit


def json_response(document: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON document as a response."""
    return web.Response(body=orjson.dumps(document), status=status, headers=headers, content_type="application/json")


@web.middleware
async def refusals_as_openai_writes_them(
    request: web.Request, handler: Callable[[web.Request], Any]
) -> web.StreamResponse:
    """Give every refusal the body that clients of OpenAI's API read."""
    try:
        response: web.StreamResponse = await handler(request)
    except Refused as refused:
        return json_response(answers.error(str(refused), "invalid_request_error", refused.code), status=refused.status)
    except web.HTTPClientError as error:
        return json_response(answers.error(error.reason, "invalid_request_error"), status=error.status)
    return response


async def _served(
    request: web.Request, model: ServedModel, failure: Failure | None, answer: Callable[[], dict[str, Any]]
) -> web.StreamResponse:
    match failure:
        case None:
            return json_response(answer())
        case Failure.ERROR:
            return json_response(answers.error("the model failed", "server_error"), status=500)
        case Failure.RATE_LIMIT:
            wait = model.faults.rate_limit.retry_after_seconds
            return _not_now(429, answers.error("rate limit reached", "rate_limit_error"), wait)
        case Failure.OVERLOAD | Failure.QUEUE_FULL:  # one service time later, all slots have changed hands once
            body = answers.error("the model is overloaded: its queue is full", "overloaded_error")
            return _not_now(503, body, model.settings.median_seconds)
        case Failure.GARBAGE:
            return web.Response(body=HALF_A_DOCUMENT, content_type="application/json")
        case Failure.RESET:
            return await _half_an_answer(request)
        case Failure.OUTAGE:
            return _cut_off(request)


def _not_now(status: int, body: dict[str, Any], wait_seconds: float) -> web.Response:
    """A refusal with when to come back: in whole seconds, as HTTP has it, and in milliseconds, as OpenAI says it."""
    waits = {"Retry-After": str(math.ceil(wait_seconds)), "retry-after-ms": str(round(wait_seconds * 1_000))}
    return json_response(body, status=status, headers=waits)


async def _half_an_answer(request: web.Request) -> web.StreamResponse:
    """Announce more than is sent, then reset."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = 2 * len(HALF_A_DOCUMENT)
    await response.prepare(request)
    await response.write(HALF_A_DOCUMENT)
    return _cut_off(request, response)


def _cut_off(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    """Reset the connection: with a linger time of 0, closing sends RST instead of FIN."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return response if response is not None else web.Response()  # goes nowhere


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise Refused(400, "the body is not an object")
    if body.get("stream"):
        raise Refused(400, "stream: answers come whole here; leave it out")
    return body


def _work(body: dict[str, Any]) -> float:
    """How many times as long as usual the request keeps its model busy."""
    metadata = body.get("metadata")
    said = metadata.get("work", "1") if isinstance(metadata, dict) else "1"
    try:
        work = float(said)
    except (TypeError, ValueError):
        work = math.nan
    if not 0 < work <= WORK_MAX:
        raise Refused(400, f"metadata.work: {said!r} is not a number above 0 and at most {WORK_MAX:g}")
    return work


def _chat_prompt(body: dict[str, Any]) -> str:
    """The text of the last message; its other parts (images, audio) are not read."""
    match body.get("messages"):
        case [*_, {"content": str(text)}]:
            return text
        case [*_, {"content": list(parts)}]:
            return " ".join(
                part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)
            )
        case _:
            raise Refused(400, "messages: the last one must have a content")
