import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import orjson
import pytest
import pytest_asyncio
from aiohttp import web

from failsoft.endpoints import EndpointBroken, EndpointFailed, OpenAICompatible, RequestRefused
from failsoft.endpoints.openai import ANSWER_BYTES, PATHS
from failsoft.policy.errors import ConfigurationError
from tests.endpoints.fakes import ANSWER, CHAT, Stub, answer, call, opened, stub_server

KEY = "sk-very-secret"


@pytest_asyncio.fixture
async def stub() -> AsyncIterator[Stub]:
    async with stub_server() as server:
        yield server


async def ask(stub: Stub, response: web.Response) -> object:
    async def respond(_: web.Request) -> web.Response:
        return response

    stub.respond = respond
    async with opened(OpenAICompatible("m", url=stub.url)) as endpoint:
        output = await answer(endpoint)
    assert isinstance(output.body, bytes)
    return orjson.loads(output.body)


# What is sent.


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
@pytest.mark.parametrize("path", PATHS)
async def test_the_path_of_the_request_is_kept_however_the_address_ends(stub, ending, path):
    async with opened(OpenAICompatible("m", url=stub.url + ending)) as endpoint:
        await answer(endpoint, call(url=path))
    assert stub.paths == [path]


async def test_an_address_may_have_a_path_before_v1(stub):
    async with opened(OpenAICompatible("m", url=f"{stub.url}/gateway/v1")) as endpoint:
        await answer(endpoint)
    assert stub.paths == [f"/gateway{CHAT}"]


async def test_the_model_is_replaced_and_the_rest_of_the_body_stays(stub):
    body = {
        "model": "gpt",
        "messages": [{"role": "user", "content": "größer"}],
        "temperature": 0,
        "unknown": [1.5, None],
    }
    sent = call(body)
    async with opened(OpenAICompatible("llama-70b", url=stub.url)) as endpoint:
        await answer(endpoint, sent)
    assert stub.bodies == [{**body, "model": "llama-70b"}]
    assert sent.body == body


async def test_trace_context_and_what_is_left_of_the_window_travel_with_it(stub):
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=1"}
    async with opened(OpenAICompatible("m", url=stub.url)) as endpoint:
        await answer(endpoint, call(headers={**trace, "x-other": "not for models"}, window_seconds=30.0))
    sent = stub.headers[0]
    assert {name: sent[name] for name in trace} == trace
    assert "x-other" not in sent
    assert 20_000 < int(sent["x-envoy-expected-rq-timeout-ms"]) <= 30_000


@pytest.mark.parametrize("value", ["a\r\nX-Injected: 1", "ключ", "\x00"])
async def test_trace_context_that_no_header_can_hold_is_left_out_and_fails_nothing(stub, value):
    async with opened(OpenAICompatible("m", url=stub.url)) as endpoint:
        await answer(endpoint, call(headers={"traceparent": value, "tracestate": "a=1"}))
    assert "traceparent" not in stub.headers[0]
    assert "X-Injected" not in stub.headers[0]
    assert stub.headers[0]["tracestate"] == "a=1"


async def test_calls_one_after_another_share_a_connection(stub):
    async with opened(OpenAICompatible("m", url=stub.url)) as endpoint:
        for _ in range(3):
            await answer(endpoint)
    assert len(stub.ports) == 3
    assert len(set(stub.ports)) == 1


async def test_there_are_never_more_connections_than_the_limit(stub):
    release = asyncio.Event()

    async def respond(_: web.Request) -> web.Response:
        await release.wait()
        return web.json_response(ANSWER)

    stub.respond = respond
    async with opened(OpenAICompatible("m", url=stub.url, limit=2)) as endpoint:
        running = [endpoint.start(call()) for _ in range(5)]
        async with asyncio.timeout(10):
            while len(stub.ports) < 2:
                await asyncio.sleep(0.01)
        release.set()
        await asyncio.gather(*(each.answer for each in running))
    assert len(stub.ports) == 5
    assert len(set(stub.ports)) == 2


# What is refused before it is sent.


@pytest.mark.parametrize("url", ["/v1/images/generations", "/v1/chat/completions?x=1", "/", "/v1/../admin"])
async def test_a_path_that_is_not_served_ends_the_request_as_not_found(stub, url):
    async with opened(OpenAICompatible("m", url=stub.url)) as endpoint:
        with pytest.raises(RequestRefused, match="/v1/chat/completions") as refused:
            await answer(endpoint, call(url=url))
    assert refused.value.status_code == 404
    assert stub.paths == []


async def test_streaming_is_refused_with_the_fix(stub):
    async with opened(OpenAICompatible("m", url=stub.url)) as endpoint:
        with pytest.raises(RequestRefused, match="leave it out") as refused:
            await answer(endpoint, call({"messages": [], "stream": True}))
        assert refused.value.status_code == 422
        await answer(endpoint, call({"messages": [], "stream": False}))
    assert len(stub.paths) == 1


# What comes back.


async def test_the_answer_s_bytes_are_handed_on_as_they_came(stub):
    raw = b'{ "choices": [],\n "big": 1.50 }'

    async def respond(_: web.Request) -> web.Response:
        return web.Response(body=raw, content_type="application/json")

    stub.respond = respond
    async with opened(OpenAICompatible("m", urls={"eu": stub.url, "us": "http://us.invalid/v1"})) as endpoint:
        output = await answer(endpoint)
    assert output.body == raw
    assert output.region == "eu"


async def test_a_call_goes_to_the_region_that_it_names_and_the_answer_says_so(stub):
    async with opened(OpenAICompatible("m", urls={"eu": "http://eu.invalid/v1", "us": stub.url})) as endpoint:
        assert (await answer(endpoint, replace(call(), region="us"))).region == "us"
        with pytest.raises(EndpointBroken, match="no url for the region mars"):
            await answer(endpoint, replace(call(), region="mars"))
    assert len(stub.paths) == 1


async def test_an_endpoint_without_regions_names_none(stub):
    async with opened(OpenAICompatible("m", url=stub.url)) as endpoint:
        assert (await answer(endpoint)).region is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"ok",
        b"<html></html>",
        b'{"choices": [{"mess',
        b'{"choices": []} trailing',
        b'{"value": NaN}',
        b'{"text": "\xff"}',
        b"[]",
        b"null",
        b'"text"',
        b'{"error": {"message": "out of memory"}}',
        b'{"error": "out of memory"}',
        b'{"object": "error", "message": "out of memory"}',
    ],
)
async def test_an_answer_that_is_none_means_a_broken_endpoint(stub, body):
    with pytest.raises(EndpointBroken):
        await ask(stub, web.Response(body=body, content_type="application/json"))


async def test_an_error_member_that_is_null_is_no_error(stub):
    assert await ask(stub, web.json_response({"choices": [], "error": None})) == {"choices": [], "error": None}


async def test_an_answer_cut_off_by_its_length_is_taken_as_it_is(stub):
    cut = {"choices": [{"finish_reason": "length"}]}
    assert await ask(stub, web.json_response(cut)) == cut


async def test_an_answer_as_large_as_a_result_may_be_is_read(stub):
    body = orjson.dumps({"text": "x" * (ANSWER_BYTES - 11)})
    assert len(body) == ANSWER_BYTES
    assert await ask(stub, web.Response(body=body)) == orjson.loads(body)


async def test_an_answer_without_end_is_read_no_further_than_its_bound(stub):
    is_hung_up = asyncio.Event()

    async def respond(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b" " * 65_536)
        finally:
            is_hung_up.set()

    stub.respond = respond
    async with opened(OpenAICompatible("m", url=stub.url)) as endpoint:
        with pytest.raises(EndpointBroken, match=f"more than {ANSWER_BYTES} bytes"):
            await answer(endpoint)
        async with asyncio.timeout(10):
            await is_hung_up.wait()


async def test_a_long_error_is_cut_and_still_means_what_its_status_says(stub):
    with pytest.raises(RequestRefused) as refused:
        await ask(stub, web.json_response({"error": {"message": "x" * 1_000_000}}, status=400))
    assert len(str(refused.value)) <= 500


async def test_a_redirect_is_not_followed(stub):
    with pytest.raises(EndpointBroken, match="307"):
        await ask(stub, web.Response(status=307, headers={"Location": f"{stub.url}/elsewhere"}))
    assert stub.paths == [CHAT]


# Connections that fail.


async def test_no_server_is_a_passing_failure():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with opened(OpenAICompatible("m", url=f"http://127.0.0.1:{port}")) as endpoint:
        with pytest.raises(EndpointFailed, match=f"127.0.0.1:{port}"):
            await answer(endpoint)


async def test_a_connection_that_does_not_come_up_is_a_passing_failure_and_no_timeout_of_the_call():
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:  # they fill the backlog, so that the next handshake gets no answer
            each.settimeout(0)
            each.connect_ex(("127.0.0.1", port))
        try:
            endpoint = OpenAICompatible("m", url=f"http://127.0.0.1:{port}", connect_timeout="100ms")
            async with opened(endpoint):
                with pytest.raises(EndpointFailed, match="Timeout"):
                    await answer(endpoint)
        finally:
            for each in waiting:
                each.close()


async def test_what_speaks_no_http_is_broken():
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with opened(OpenAICompatible("m", url=f"http://127.0.0.1:{port}")) as endpoint:
            with pytest.raises(EndpointBroken):
                await answer(endpoint)


async def test_cutting_a_call_closes_its_connection_and_ends_the_server_s_work(stub):
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def respond(_: web.Request) -> web.Response:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    stub.respond = respond
    async with opened(OpenAICompatible("m", url=stub.url)) as endpoint:
        running = endpoint.start(call())
        async with asyncio.timeout(10):
            await begun.wait()
            running.answer.cancel()
            await running.over
            await cancelled.wait()


async def test_closing_while_a_call_runs_ends_it(stub):
    begun = asyncio.Event()

    async def respond(_: web.Request) -> web.Response:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    stub.respond = respond
    endpoint = OpenAICompatible("m", url=stub.url)
    await endpoint.open()
    running = endpoint.start(call())
    async with asyncio.timeout(10):
        await begun.wait()
        await endpoint.close()
        with pytest.raises(EndpointFailed):
            await running.answer


async def test_a_call_before_opening_fails_as_a_call_does():
    with pytest.raises(EndpointFailed, match="not open"):
        await answer(OpenAICompatible("m", url="http://127.0.0.1:1"))


# Keys.


async def test_the_key_is_read_from_the_environment_when_it_opens(stub, monkeypatch):
    endpoint = OpenAICompatible("m", url=stub.url, api_key="env:TEST_MODEL_KEY")
    monkeypatch.setenv("TEST_MODEL_KEY", f"{KEY}\n")
    async with opened(endpoint):
        await answer(endpoint)
    assert stub.headers[0]["Authorization"] == f"Bearer {KEY}"


async def test_without_a_key_nothing_is_sent(stub):
    async with opened(OpenAICompatible("m", url=stub.url)) as endpoint:
        await answer(endpoint)
    assert "Authorization" not in stub.headers[0]


@pytest.mark.parametrize("value", [None, "", "  "])
async def test_a_missing_key_is_named_by_its_variable(monkeypatch, value):
    monkeypatch.delenv("TEST_MODEL_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("TEST_MODEL_KEY", value)
    with pytest.raises(ConfigurationError, match="TEST_MODEL_KEY is not set"):
        await OpenAICompatible("m", url="http://127.0.0.1:1", api_key="env:TEST_MODEL_KEY").open()


async def test_a_key_that_no_header_can_hold_is_refused_without_being_shown(monkeypatch):
    monkeypatch.setenv("TEST_MODEL_KEY", f"{KEY}\nX-Injected: 1")
    with pytest.raises(ConfigurationError) as refused:
        await OpenAICompatible("m", url="http://127.0.0.1:1", api_key="env:TEST_MODEL_KEY").open()
    assert KEY not in str(refused.value)


@pytest.mark.parametrize("written", [KEY, "env:", "env:NOT A NAME", "$KEY", ""])
def test_a_key_written_into_the_code_is_refused_without_being_shown(written):
    with pytest.raises(ConfigurationError, match="env:NAME") as refused:
        OpenAICompatible("m", url="http://127.0.0.1:1", api_key=written)
    assert KEY not in str(refused.value)


async def test_the_key_is_in_no_message_and_no_representation(stub, monkeypatch):
    monkeypatch.setenv("TEST_MODEL_KEY", KEY)
    async with opened(OpenAICompatible("m", url=stub.url, api_key="env:TEST_MODEL_KEY")) as endpoint:
        assert KEY not in repr(endpoint)

        async def respond(request: web.Request) -> web.Response:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

        stub.respond = respond
        with pytest.raises(EndpointFailed) as failed:
            await answer(endpoint)
        assert KEY not in repr(failed.value)
        assert failed.value.__cause__ is None
        assert failed.value.__suppress_context__


# Declarations.


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000", "localhost", "ftp://host/v1", "http://", "http:///v1", "http://host:99999", "http://host:port", "",
        "http://user:password@host/v1", "http://host/v1?key=1", "http://host/v1#x",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_where_it_is_written(url):
    with pytest.raises(ConfigurationError, match="url"):
        OpenAICompatible("m", url=url)
    with pytest.raises(ConfigurationError, match="url"):
        OpenAICompatible("m", urls={"eu": "http://127.0.0.1:1", "us": url})


@pytest.mark.parametrize("said", [{}, {"urls": {}}, {"url": "http://h", "urls": {"eu": "http://h"}}])
def test_there_is_one_way_to_say_where_it_is(said):
    with pytest.raises(ConfigurationError, match="model 'm'"):
        OpenAICompatible("m", **said)


def test_the_representation_says_which_server():
    shown = repr(OpenAICompatible("m", urls={"eu": "http://host:1/v1"}, limit=3))
    assert shown == "OpenAICompatible(model='m', urls={'eu': 'http://host:1'}, limit=3)"
    assert (
        repr(OpenAICompatible("m", url="http://host:1/v1"))
        == "OpenAICompatible(model='m', url='http://host:1', limit=8)"
    )
