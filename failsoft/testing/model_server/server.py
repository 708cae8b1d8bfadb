"""The server itself: start, stop, faults and statistics over HTTP.

=========================  ============================================================================
``PUT /faults/{model}``    these faults and no others, as :class:`~failsoft.testing.model_server.Faults`
``DELETE /faults/{model}``  no faults
``GET /stats``             model -> the account of its calls
``POST /stats/reset``      count from here
``GET /health``            200 while it serves
=========================  ============================================================================

It listens on 127.0.0.1 unless told otherwise: whoever reaches it can switch faults.
"""

import asyncio
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Self

from aiohttp import web
from pydantic import ValidationError

from failsoft.policy.errors import EnvironmentFailure
from failsoft.runtime.listening import listen
from failsoft.testing.model_server.api import Api, Refused, json_response, refusals_as_openai_writes_them
from failsoft.testing.model_server.digits import Readings, read_digits
from failsoft.testing.model_server.faults import Faults
from failsoft.testing.model_server.served import ServedModel
from failsoft.testing.model_server.settings import DEFAULT_MODELS, DigitReader, ModelSettings

REQUEST_BYTES = 4 * 1024 * 1024
"""More than any request that a worker forwards."""
STOP_SECONDS = 0.1
"""What calls under way get at the end; they may hang on purpose, so more would only be waiting. aiohttp reads 0 as for ever."""


class ModelServer:
    """OpenAI's API with slots, queues, drawn service times and faults.

    ``async with`` serves on the running loop, ``with`` on a thread of its own.

    Args:
        models: name -> settings.
        seed: of all draws.
        host: to listen on.
        port: to listen on; 0: any free one.
        digits: whether images of digits are read by real models; None: if scikit-learn is there.
    """

    def __init__(
        self,
        models: Mapping[str, ModelSettings] = DEFAULT_MODELS,
        *,
        seed: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        digits: bool | None = None,
    ) -> None:
        self.models: dict[str, ServedModel] = {}
        """The models in service, for a test on the same loop."""
        self.port = port
        self._host = host
        self._settings = dict(models)
        self._seed = seed
        self._digits = digits
        self._runner: web.AppRunner | None = None
        self._thread: threading.Thread | None = None
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def url(self) -> str:
        """The address, without ``/v1``."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    async def __aenter__(self) -> Self:
        """Train what reads digits, then listen.

        Raises:
            EnvironmentFailure: the port is taken, or digits are asked for and scikit-learn is missing.
        """
        readings = await asyncio.to_thread(self._read_digits)
        for name, settings in self._settings.items():
            self.models[name] = ServedModel(name, settings, seed=self._seed)
        # A client that goes away cancels its handler.
        runner = web.AppRunner(
            self._app(readings), access_log=None, handler_cancellation=True, shutdown_timeout=STOP_SECONDS
        )
        self.port = await listen(runner, self._host, self.port)
        self._runner = runner
        return self

    async def __aexit__(self, *_: object) -> None:
        """Break off what is under way and stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    def __enter__(self) -> Self:
        """Serve on a thread of its own.

        Raises:
            EnvironmentFailure: as ``async with``.
        """
        started: Future[None] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._until_stopped(started)), name="failsoft-model-server", daemon=True
        )
        self._thread.start()
        started.result()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the thread."""
        if self._loop is not None and self._stop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    async def _until_stopped(self, started: "Future[None]") -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            await self.__aenter__()
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result(None)
        try:
            await self._stop.wait()
        finally:
            await self.__aexit__()

    def _read_digits(self) -> dict[DigitReader, Readings]:
        readers = {settings.digits for settings in self._settings.values()} - {None}
        if self._digits is False or not readers:
            return {}
        try:
            return read_digits(reader for reader in readers if reader is not None)
        except ImportError as error:
            if self._digits is None:
                return {}
            raise EnvironmentFailure("reading digits needs scikit-learn: pip install 'failsoft[demo]'") from error

    def _app(self, readings: Mapping[DigitReader, Readings]) -> web.Application:
        app = web.Application(middlewares=[refusals_as_openai_writes_them], client_max_size=REQUEST_BYTES)
        app.add_routes(Api(self.models, readings).routes())
        app.add_routes(
            [
                web.put("/faults/{model}", self._put_faults),
                web.delete("/faults/{model}", self._delete_faults),
                web.get("/stats", self._get_stats),
                web.post("/stats/reset", self._reset_stats),
                web.get("/health", self._get_health),
            ]
        )
        return app

    async def _put_faults(self, request: web.Request) -> web.Response:
        model = self._named(request)
        try:
            model.faults = Faults.model_validate_json(await request.read())
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors(include_url=False)]
            raise Refused(400, "; ".join(problems)) from None
        return json_response(model.faults.model_dump())

    async def _delete_faults(self, request: web.Request) -> web.Response:
        model = self._named(request)
        model.faults = Faults()
        return json_response(model.faults.model_dump())

    async def _get_stats(self, _: web.Request) -> web.Response:
        return json_response(self.stats())

    async def _reset_stats(self, _: web.Request) -> web.Response:
        for model in self.models.values():
            model.reset_stats()
        return json_response(self.stats())

    async def _get_health(self, _: web.Request) -> web.Response:
        return json_response({"ok": True})

    def stats(self) -> dict[str, dict[str, Any]]:
        """By model, the account of its calls. From another thread, ask over HTTP."""
        return {name: model.stats() for name, model in self.models.items()}

    def _named(self, request: web.Request) -> ServedModel:
        name = request.match_info["model"]
        if name not in self.models:
            raise Refused(404, f"model {name!r} is not served here; there are {', '.join(self.models)}")
        return self.models[name]
