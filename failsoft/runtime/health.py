"""`/metrics` and `/health` over HTTP, on 127.0.0.1 unless told otherwise; port 0 is any free one."""

from collections.abc import Callable
from typing import Any, Self

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from failsoft.runtime.listening import listen

SHUTDOWN_SECONDS = 0.5
"""For answers under way when the worker ends; aiohttp would wait a minute for one whose reader has gone to sleep."""


class HealthServer:
    """Serves what a worker says of itself.

    Args:
        registry: what /metrics shows.
        health: makes what /health shows; its ``ok`` decides between 200 and 503.
        host: to listen on.
        port: to listen on; 0: any free one.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        health: Callable[[], dict[str, Any]],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._registry = registry
        self._health = health
        self._host = host
        self._wanted_port = port
        self._runner: web.AppRunner | None = None
        self.port = port

    async def __aenter__(self) -> Self:
        """Listen."""
        app = web.Application()
        app.router.add_get("/metrics", self._serve_metrics)
        app.router.add_get("/health", self._serve_health)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        self.port = await listen(runner, self._host, self._wanted_port)
        self._runner = runner
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _serve_health(self, _: web.Request) -> web.Response:
        health = self._health()
        return web.json_response(health, status=200 if health["ok"] else 503)
