"""The pipeline under trial: a large and a small model behind HTTP, and a constant, as pipelines in production have them.

    failsoft worker failsoft.trials.faults.pipeline:pipeline

The models stand where the environment variable MODEL_SERVER_URL says. An answer repeats what was asked, so that a checker sees
whose it is: the canary of one tenant must never stand in a result of another. A prompt that contains ``KILLER`` aborts the
process that calls a model with it, as native code may: no exception, no farewell.
"""

import asyncio
import os
from collections.abc import Mapping
from typing import Any

import orjson

from failsoft import Call, Constant, OpenAICompatible, Output, Pipeline
from failsoft.endpoints.endpoint import Running
from failsoft.trials.faults.names import KILLER, LARGE_SLOTS, NAME, SMALL_SLOTS, STAGE

SORRY = {
    "object": "chat.completion",
    "model": "none",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "sorry"}, "finish_reason": "stop"}],
}


class Echoing:
    """A model whose answers repeat what was asked.

    Args:
        model: its name at the server.
        limit: calls in flight, for the whole fleet.
    """

    def __init__(self, model: str, *, limit: int) -> None:
        url = os.environ.get("MODEL_SERVER_URL", "http://127.0.0.1:8000")
        self._served = OpenAICompatible(model, url=url, limit=limit)
        self.limit = limit

    async def open(self) -> None:
        """Get ready."""
        await self._served.open()

    def start(self, call: Call) -> Running:
        """Begin a call, unless it is the end of the process."""
        asked = prompt(call.body)
        if KILLER in asked:
            os.abort()
        return Running.until_answered(asyncio.get_running_loop().create_task(self._answer(call, asked)))

    async def close(self) -> None:
        """Let go of everything."""
        await self._served.close()

    async def _answer(self, call: Call, asked: str) -> Output:
        output = await self._served.start(call).answer
        body = orjson.loads(output.body) if isinstance(output.body, bytes) else dict(output.body)
        return Output({**body, "asked": asked}, region=output.region)


def prompt(body: Mapping[str, Any]) -> str:
    """What the last message of a chat says; empty where there is none."""
    match body.get("messages"):
        case [*_, {"content": str(text)}]:
            return text
        case _:
            return ""


pipeline = Pipeline(NAME)
work = pipeline.stage(STAGE)
work.tier("large", Echoing("large", limit=LARGE_SLOTS), expect="60ms")
work.tier("small", Echoing("small", limit=SMALL_SLOTS), expect="20ms")
work.tier("sorry", Constant(SORRY))
