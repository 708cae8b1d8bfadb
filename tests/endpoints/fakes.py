"""A server that answers as the test says and keeps what it was asked, and calls to send it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from failsoft.endpoints import Call, OpenAICompatible, Output

ANSWER = {"object": "chat.completion", "choices": [{"index": 0, "message": {"content": "yes"}}]}
CHAT = "/v1/chat/completions"


def call(
    body: Mapping[str, Any] | None = None,
    *,
    url: str = CHAT,
    headers: Mapping[str, str] | None = None,
    window_seconds: float = 60.0,
) -> Call:
    clock = asyncio.get_running_loop().time
    return Call(
        body={"model": "gpt", "messages": [{"role": "user", "content": "hello"}]} if body is None else dict(body),
        url=url,
        request_class="interactive",
        tier="large",
        execution=1,
        tenant=None,
        headers=headers or {},
        window_ends_at=clock() + window_seconds,
        clock=clock,
    )


async def answer(endpoint: OpenAICompatible, called: Call | None = None) -> Output:
    return await endpoint.start(call() if called is None else called).answer


Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Stub:
    """A server and what it was asked: method and path, headers, body, and the client's port."""

    url: str = ""
    paths: list[str] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    respond: Respond | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        self.headers.append(request.headers)
        self.bodies.append(orjson.loads(await request.read()))
        assert request.transport is not None
        self.ports.append(request.transport.get_extra_info("peername")[1])
        return web.json_response(ANSWER) if self.respond is None else await self.respond(request)


@asynccontextmanager
async def stub_server() -> AsyncIterator[Stub]:
    stub = Stub()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", stub.handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield stub
    finally:
        await runner.cleanup()


@asynccontextmanager
async def opened(endpoint: OpenAICompatible) -> AsyncIterator[OpenAICompatible]:
    await endpoint.open()
    try:
        yield endpoint
    finally:
        await endpoint.close()
