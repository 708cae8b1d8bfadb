"""The server over real HTTP, and which category of failure the endpoint makes of each of its faults."""

import asyncio
import json
import math
import socket
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest
import pytest_asyncio
from sklearn.datasets import load_digits

from failsoft.endpoints import Busy, EndpointBroken, EndpointFailed, OpenAICompatible, RequestRefused
from failsoft.policy.errors import EnvironmentFailure
from failsoft.testing import Faults, ModelServer, ModelSettings, RateLimit
from failsoft.testing.model_server.settings import DigitReader
from tests.endpoints.fakes import answer, call, opened

FAST = {"large": ModelSettings(slots=2, queue=1, median_seconds=0.001, sigma=0.35)}


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer(FAST, digits=False) as running:
        yield running


@pytest_asyncio.fixture
async def http(server: ModelServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(server.url) as session:
        yield session


def chat(prompt: Any = "hello", model: str = "large") -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": prompt}]}


async def said(server: ModelServer, model: str, prompt: Any) -> str:
    async with opened(OpenAICompatible(model, url=server.url)) as endpoint:
        output = await answer(endpoint, call(chat(prompt, model)))
    assert isinstance(output.body, bytes)
    return str(orjson.loads(output.body)["choices"][0]["message"]["content"])


async def seen(server: ModelServer, **expected: int) -> None:
    """Wait until the account of the large model says so."""
    async with asyncio.timeout(10):
        while {name: server.stats()["large"][name] for name in expected} != expected:
            await asyncio.sleep(0.005)


# Faults and what the endpoint makes of them.


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        (Faults(rate_limit=RateLimit(share=1, retry_after_seconds=2.5)), Busy),
        (Faults(overload=1), Busy),
        (Faults(error_rate=1), EndpointFailed),
        (Faults(reset=1), EndpointFailed),
        (Faults(outage=True), EndpointFailed),
        (Faults(garbage=1), EndpointBroken),
    ],
)
async def test_each_fault_reaches_the_endpoint_as_its_category(server, faults, expected):
    server.models["large"].faults = faults
    async with opened(OpenAICompatible("large", url=server.url)) as endpoint:
        with pytest.raises(expected):
            await answer(endpoint)
        server.models["large"].faults = Faults()
        await answer(endpoint)


async def test_a_rate_limit_says_its_wait_and_an_overload_one_service_time(server):
    async with opened(OpenAICompatible("large", url=server.url)) as endpoint:
        for faults, wait in [
            (Faults(rate_limit=RateLimit(share=1, retry_after_seconds=2.5)), 2.5),
            (Faults(overload=1), 0.001),
        ]:
            server.models["large"].faults = faults
            with pytest.raises(Busy) as busy:
                await answer(endpoint)
            assert busy.value.retry_after_seconds == pytest.approx(wait)


async def test_a_full_queue_is_backpressure(server):
    server.models["large"].faults = Faults(hang=True)
    async with opened(OpenAICompatible("large", url=server.url)) as endpoint:
        running = [endpoint.start(call()) for _ in range(3)]
        await seen(server, in_service=2, queued=1)
        with pytest.raises(Busy):
            await answer(endpoint)
        server.models["large"].faults = Faults()
        await asyncio.gather(*(each.answer for each in running))


async def test_a_call_cut_at_its_window_frees_its_slot_and_one_that_waits_leaves_the_queue(server):
    server.models["large"].faults = Faults(hang=True)
    async with opened(OpenAICompatible("large", url=server.url)) as endpoint:
        running = [endpoint.start(call()) for _ in range(3)]
        await seen(server, in_service=2, queued=1)
        for each in running:
            each.answer.cancel()
            await each.over
        await seen(server, in_service=0, queued=0, cancelled=3, calls=3)


async def test_an_outage_breaks_off_calls_under_way(server):
    server.models["large"].faults = Faults(hang=True)
    async with opened(OpenAICompatible("large", url=server.url)) as endpoint:
        running = endpoint.start(call())
        await seen(server, in_service=1)
        server.models["large"].faults = Faults(outage=True)
        with pytest.raises(EndpointFailed):
            await running.answer
        await seen(server, in_service=0, cancelled=0)


async def test_a_model_that_is_not_served_is_the_endpoint_s_fault_and_a_bad_request_the_sender_s(server):
    async with opened(OpenAICompatible("huge", url=server.url)) as endpoint:
        with pytest.raises(EndpointBroken, match="there are large"):
            await answer(endpoint)
    async with opened(OpenAICompatible("large", url=server.url)) as endpoint:
        with pytest.raises(RequestRefused, match="messages"):
            await answer(endpoint, call({"messages": []}))
    assert server.stats()["large"]["calls"] == 0


# Answers.


async def test_a_prompt_has_one_answer_and_others_have_others(server):
    prompts = ("hello", "hello", "bye", [{"type": "text", "text": "hello"}])
    hello, again, bye, in_parts = [await said(server, "large", prompt) for prompt in prompts]
    assert hello == again == in_parts != bye


async def test_embeddings_are_unit_vectors_one_for_each_input(server):
    async with opened(OpenAICompatible("large", url=server.url)) as endpoint:
        output = await answer(endpoint, call({"input": ["a", "b", "a"]}, url="/v1/embeddings"))
    assert isinstance(output.body, bytes)
    a, b, again = (entry["embedding"] for entry in orjson.loads(output.body)["data"])
    assert a == again != b
    assert math.hypot(*a) == pytest.approx(1.0)


async def test_plain_completions_are_served(server):
    async with opened(OpenAICompatible("large", url=server.url)) as endpoint:
        output = await answer(endpoint, call({"prompt": "hello"}, url="/v1/completions"))
    assert isinstance(output.body, bytes)
    assert orjson.loads(output.body)["choices"][0]["text"].startswith("large read 1 words")


async def test_the_models_are_listed_and_it_is_healthy(http):
    async with http.get("/v1/models") as response:
        assert [model["id"] for model in (await response.json())["data"]] == ["large"]
    async with http.get("/health") as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/v1/chat/completions", b"{", "JSON"),
        ("/v1/chat/completions", b"[]", "object"),
        ("/v1/chat/completions", b'{"model": "large"}', "messages"),
        ("/v1/chat/completions", b'{"model": "large", "messages": [{"content": 1}]}', "messages"),
        ("/v1/chat/completions", b'{"model": "large", "messages": [{"content": "x"}], "stream": true}', "stream"),
        ("/v1/completions", b'{"model": "large", "prompt": [1, 2]}', "prompt"),
        ("/v1/completions", b'{"model": "large", "prompt": "x", "metadata": {"work": "much"}}', "work"),
        ("/v1/completions", b'{"model": "large", "prompt": "x", "metadata": {"work": "0"}}', "work"),
        ("/v1/embeddings", b'{"model": "large", "input": []}', "input"),
        ("/v1/embeddings", b'{"model": "large", "input": [1]}', "input"),
    ],
)
async def test_a_bad_request_is_told_what_is_wrong_and_is_no_call(server, http, path, body, named):
    async with http.post(path, data=body) as response:
        assert response.status == 400
        assert named in (await response.json())["error"]["message"]
    assert server.stats()["large"]["calls"] == 0


# Faults and statistics over HTTP.


async def test_a_request_may_say_how_long_it_keeps_the_model_busy(server, http):
    async with http.post("/v1/chat/completions", json={**chat(), "metadata": {"work": "200"}}) as response:
        assert response.status == 200
    assert server.stats()["large"]["busy_seconds"] > 0.02  # .2 s is the median


async def test_faults_are_put_as_a_whole_and_taken_away(http):
    async with http.put("/faults/large", json={"error_rate": 1, "slow": 2}) as response:
        assert (await response.json())["error_rate"] == 1
    async with http.post("/v1/chat/completions", json=chat()) as response:
        assert response.status == 500
    async with http.put("/faults/large", json={"garbage": True}) as response:
        assert (await response.json())["error_rate"] == 0
    async with http.delete("/faults/large") as response:
        assert (await response.json())["garbage"] == 0
    async with http.post("/v1/chat/completions", json=chat()) as response:
        assert response.status == 200


async def test_statistics_are_read_and_reset(http):
    async with http.post("/v1/chat/completions", json=chat()) as response:
        assert response.status == 200
    async with http.get("/stats") as response:
        stats = (await response.json())["large"]
        assert (stats["calls"], stats["answered"]) == (1, 1)
        assert stats["busy_seconds"] > 0
    async with http.post("/stats/reset") as response:
        assert (await response.json())["large"]["calls"] == 0


@pytest.mark.parametrize(
    ("path", "body", "refusal"),
    [
        ("/faults/large", {"hangs": True}, (400, "hangs")),
        ("/faults/large", {"error_rate": 2}, (400, "error_rate")),
        ("/faults/huge", {}, (404, "large")),
    ],
)
async def test_faults_that_make_no_sense_are_refused_by_name(server, http, path, body, refusal):
    async with http.put(path, json=body) as response:
        assert response.status == refusal[0]
        assert refusal[1] in (await response.json())["error"]["message"]
    assert server.models["large"].faults == Faults()


# Its life.


def test_on_a_thread_it_serves_code_that_knows_no_event_loop():
    with ModelServer(FAST, digits=False) as server:
        body = json.dumps(chat()).encode()
        with urllib.request.urlopen(f"{server.url}/v1/chat/completions", data=body, timeout=10) as response:  # noqa: S310
            assert json.load(response)["object"] == "chat.completion"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)


async def test_it_ends_at_once_while_calls_hang(server):
    async with ModelServer(FAST, digits=False) as ending:
        ending.models["large"].faults = Faults(hang=True)
        async with opened(OpenAICompatible("large", url=ending.url)) as endpoint:
            running = endpoint.start(call())
            await seen(ending, in_service=1)
            async with asyncio.timeout(5):
                await ending.__aexit__()
                with pytest.raises(EndpointFailed):
                    await running.answer


async def test_a_taken_port_is_an_error_of_the_environment_on_a_loop_and_on_a_thread():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = ModelServer(FAST, port=taken.getsockname()[1], digits=False)
        for start in (server.__aenter__(), asyncio.to_thread(server.__enter__)):
            with pytest.raises(EnvironmentFailure, match="port 0 takes any free one"):
                await start


# Digits.


async def test_a_model_that_reads_digits_says_the_digit_and_one_that_does_not_says_something_plain():
    fast = ModelSettings(slots=1, queue=0, median_seconds=0.001)
    models = {"large": fast.model_copy(update={"digits": DigitReader.TREES}), "blind": fast}
    (image, *_), (digit, *_) = load_digits(return_X_y=True)
    prompt = " ".join(f"{ink:g}" for ink in image)
    async with ModelServer(models, digits=True) as server:
        assert await said(server, "large", prompt) == str(digit)
        assert (await said(server, "blind", prompt)).startswith("blind read 64 words")
        assert (await said(server, "large", f"{prompt} 1")).startswith("large read 65 words")
