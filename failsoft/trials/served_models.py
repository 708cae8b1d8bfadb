"""The model server of a trial, in a process of its own: its faults and its account are asked for over HTTP, as anybody would."""

import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import aiohttp
import orjson

from failsoft.policy.errors import EnvironmentFailure
from failsoft.testing.model_server import Faults, ModelSettings
from failsoft.trials.fleet import Fleet

TIMEOUT_SECONDS = 5.0
"""It answers in milliseconds; on a loaded machine in a multiple of that."""


class ServedModels:
    """Models behind HTTP, as a context manager: serving inside, gone after.

    Args:
        models: name -> settings.
        seed: of their service times.
        folder: for its settings and its log.
        digits: whether real models read images of digits, which takes scikit-learn.
    """

    def __init__(self, models: Mapping[str, ModelSettings], *, seed: int, folder: Path, digits: bool = True) -> None:
        settings = folder / "models.yaml"
        settings.write_bytes(orjson.dumps({name: model.model_dump(mode="json") for name, model in models.items()}))
        command = [sys.executable, "-m", "failsoft", "model-server", "--digits" if digits else "--no-digits"]
        options = ["--models", str(settings), "--seed", str(seed)]
        self._process = Fleet(
            [*command, *options], size=1, folder=folder, kind="model server", ready="OPENAI_BASE_URL="
        )
        self._closing = AsyncExitStack()
        self._session: aiohttp.ClientSession

    @property
    def url(self) -> str:
        """Where it listens, without ``/v1``."""
        return (self._process.said(1) or "").removesuffix("/v1")

    async def __aenter__(self) -> Self:
        await self._closing.enter_async_context(self._process)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        self._session = await self._closing.enter_async_context(aiohttp.ClientSession(self.url, timeout=timeout))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()

    def require_running(self) -> None:
        """Do nothing while it runs.

        Raises:
            EnvironmentFailure: it ended by itself.
        """
        self._process.require_running()

    async def set_faults(self, model: str, faults: Faults) -> None:
        """From now on these faults and no others."""
        await self._ask("PUT", f"/faults/{model}", faults.model_dump_json())

    async def stats(self) -> dict[str, dict[str, Any]]:
        """By model, the account of its calls."""
        found: dict[str, dict[str, Any]] = orjson.loads(await self._ask("GET", "/stats"))
        return found

    async def _ask(self, method: str, path: str, body: str | None = None) -> bytes:
        try:
            async with self._session.request(method, path, data=body, raise_for_status=True) as response:
                return await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise EnvironmentFailure(f"the model server does not answer {method} {path}: {error!r}") from None
