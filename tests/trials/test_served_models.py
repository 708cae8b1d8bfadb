from pathlib import Path

import aiohttp
import pytest

from failsoft.policy.errors import EnvironmentFailure
from failsoft.testing.model_server import Faults, ModelSettings
from failsoft.trials.served_models import ServedModels

MODELS = {
    "large": ModelSettings(slots=2, queue=0, median_seconds=0.01),
    "small": ModelSettings(slots=1, queue=0, median_seconds=0.01),
}
CHAT = {"model": "large", "messages": [{"role": "user", "content": "hello"}]}


async def ask(url: str) -> int:
    async with aiohttp.ClientSession(url) as client, client.post("/v1/chat/completions", json=CHAT) as response:
        await response.read()
        return response.status


async def test_faults_are_switched_and_calls_are_on_the_account(tmp_path: Path):
    async with ServedModels(MODELS, seed=0, folder=tmp_path) as served:
        assert await ask(served.url) == 200
        await served.set_faults("large", Faults(error_rate=1))
        assert await ask(served.url) == 500
        await served.set_faults("large", Faults())
        assert await ask(served.url) == 200
        stats = await served.stats()
    assert (stats["large"]["calls"], stats["large"]["answered"], stats["small"]["calls"]) == (3, 2, 0)
    with pytest.raises(aiohttp.ClientConnectionError):
        await ask(served.url)


async def test_a_model_that_is_not_served_is_told_with_what_was_asked(tmp_path: Path):
    async with ServedModels(MODELS, seed=0, folder=tmp_path) as served:
        with pytest.raises(EnvironmentFailure, match=r"PUT /faults/medium.*404"):
            await served.set_faults("medium", Faults())
