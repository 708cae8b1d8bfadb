"""A server that speaks OpenAI's HTTP API: vLLM, Ollama, TGI, llama.cpp, a gateway, a provider.

A call forwards the request's path and body with ``model`` replaced, and hands on the answer's bytes as they came. The window
of the call is its timeout: the shell cancels it, which closes the connection, so that the server stops working for nobody; what
is left of it travels as ``x-envoy-expected-rq-timeout-ms``. There are no retries here and no redirects: when another call may be
made is decided where the deadline and the budget are known, and a redirect would carry the key somewhere else.

What a failure means is in :mod:`failsoft.endpoints.http_status`; a connection that fails or breaks is a passing failure, and
an answer that is none (not JSON, not an object, an error with status 200, no end) tells of a broken endpoint.
"""

import asyncio
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import aiohttp
import orjson
from yarl import URL

from failsoft.endpoints.call import Call, EndpointBroken, EndpointFailed, EndpointUnreachable, Output, RequestRefused
from failsoft.endpoints.endpoint import Running
from failsoft.endpoints.http_status import error_message, failure
from failsoft.policy.durations import Duration, parse_duration
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.settings import DEFAULT_LIMIT

PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
"""Those whose request names a model and whose answer is one JSON object."""
MODELS_PATH = "/v1/models"
ANSWER_BYTES = 4 * 1024 * 1024
"""What the topic of results takes; reading more would be for nothing."""
ERROR_BYTES = 64 * 1024
"""Enough of an error to read its message."""
CONNECT_TIMEOUT = "2s"
"""A first packet that is lost is sent again after 1 s; twice lost is no connection."""
KEEP_ALIVE_SECONDS = 4.0
"""Shorter than uvicorn's 5 s, on which vLLM runs: a connection that the server closes while a call is
being written to it would fail that call."""

_ENV = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")
_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
"""As other names; a slash or a bar would break the names of breakers."""
_TRACE = ("traceparent", "tracestate")
_REMAINING = "x-envoy-expected-rq-timeout-ms"


class OpenAICompatible:
    """An OpenAI-compatible server as an endpoint.

    Args:
        model: what the server calls it; replaces the request's ``model``.
        url: the server's address, with or without ``/v1`` at its end.
        urls: region -> address, instead of ``url``, the usual region first; an operator moves calls to another.
        api_key: ``env:NAME``, the environment variable that holds the key, read when a worker starts; None for no key.
        limit: how many calls may be in flight, for the whole fleet, in each region; also the most connections of one worker.
        connect_timeout: for a connection to come up; a call has its window besides.

    Raises:
        ConfigurationError: names the argument and the fix.
    """

    def __init__(
        self,
        model: str,
        *,
        url: str | None = None,
        urls: Mapping[str, str] | None = None,
        api_key: str | None = None,
        limit: int = DEFAULT_LIMIT,
        connect_timeout: Duration = CONNECT_TIMEOUT,
    ) -> None:
        self.model = model
        self.limit = limit
        self._bases = _bases(model, url, urls)
        self.regions = tuple(region for region in self._bases if region is not None)
        self.region = next(iter(self._bases))
        self._key_variable = _key_variable(api_key)
        self._connect_seconds = parse_duration(connect_timeout, field="connect_timeout")
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        where = f"urls={self._bases}" if self.regions else f"url={self._bases[None]!r}"
        return f"OpenAICompatible(model={self.model!r}, {where}, limit={self.limit})"

    async def open(self) -> None:
        """Read the key and make room for connections; the first call opens one.

        Raises:
            ConfigurationError: the key's variable is not set.
        """
        if self._session is not None:
            return
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self._key_variable is not None:
            headers["Authorization"] = f"Bearer {_read_key(self._key_variable)}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self.limit * len(self._bases), keepalive_timeout=KEEP_ALIVE_SECONDS),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),  # calls of different tenants share nothing
            headers=headers,
        )

    def start(self, call: Call) -> Running:
        """Begin a call."""
        return Running.until_answered(asyncio.get_running_loop().create_task(self._answer(call)))

    async def check(self) -> str | None:
        """Ask each region for its list of models: it needs the key, and costs nothing."""
        remarks = [await self.check_region(region) for region in self._bases]
        return "; ".join(remark for remark in remarks if remark is not None) or None

    async def check_region(self, region: str | None) -> str | None:
        """Ask one region. Raises what a call would raise.

        Returns:
            None if all is well; else what a person should look at.
        """
        base = self._base(region)
        with _explained(base):
            async with self._opened(base).get(base + MODELS_PATH, allow_redirects=False) as response:
                status, headers, body = response.status, response.headers, await _read(response, ANSWER_BYTES)
        if status in {401, 403}:
            fix = f"correct {self._key_variable}" if self._key_variable else 'it wants one: api_key="env:NAME"'
            raise EndpointBroken(f"{base} does not accept the key (HTTP {status}): {fix}")
        if status == 404:
            return f"{base} answers, but has no list of models: only a call can show whether key and model are right"
        if not 200 <= status < 300:
            raise failure(status, headers, body, remaining_seconds=0.0, now=time.time())
        return None if _lists(body, self.model) else f"{base} answers, but does not list the model {self.model!r}"

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def _answer(self, call: Call) -> Output:
        _check_request(call)
        region = self._region(call.region)
        base = self._base(region)
        with _explained(base):
            status, headers, body = await self._exchange(call, base)
        if not 200 <= status < 300:
            raise failure(status, headers, body, remaining_seconds=call.remaining_seconds(), now=time.time())
        _check_answer(body)
        return Output(body, region=region)

    def _region(self, wanted: str | None) -> str | None:
        """Where a call goes: whoever names no region means the usual one."""
        return self.region if wanted is None else wanted

    def _base(self, region: str | None) -> str:
        if region not in self._bases:
            raise EndpointBroken(f"model {self.model}: there is no url for the region {region}")
        return self._bases[region]

    async def _exchange(self, call: Call, base: str) -> tuple[int, Mapping[str, str], bytes]:
        """Send a request and read its response; leaving early, by any way, closes the connection."""
        request = orjson.dumps({**call.body, "model": self.model})
        async with self._opened(base).post(
            base + call.url, data=request, headers=_call_headers(call), allow_redirects=False
        ) as response:
            is_success = 200 <= response.status < 300
            body = await _read(response, ANSWER_BYTES if is_success else ERROR_BYTES)
            if is_success and len(body) > ANSWER_BYTES:
                raise EndpointBroken(f"an answer of more than {ANSWER_BYTES} bytes")
            return response.status, response.headers, body

    def _opened(self, base: str) -> aiohttp.ClientSession:
        if self._session is None:
            raise EndpointFailed(f"{base}: the endpoint is not open")
        return self._session


@contextmanager
def _explained(base: str) -> Iterator[None]:
    """Say what a connection that fails tells of the endpoint."""
    try:
        yield
    except (aiohttp.ClientResponseError, aiohttp.ClientConnectorCertificateError, aiohttp.InvalidURL) as error:
        # From None: such an error holds the headers that were sent, and with them the key.
        raise EndpointBroken(f"{base}: {type(error).__name__}") from None
    except (aiohttp.ClientConnectorError, TimeoutError) as error:  # the only timeout here is the connection's
        raise EndpointUnreachable(f"{base}: {type(error).__name__}: {error}") from None
    except (aiohttp.ClientError, OSError) as error:
        raise EndpointFailed(f"{base}: {type(error).__name__}: {error}") from None


def _lists(body: bytes, model: str) -> bool:
    """Whether a list of models has this one; Ollama's names have a tag, which may be left out."""
    try:
        names = {each["id"] for each in orjson.loads(body)["data"]}
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return False
    return model in names or f"{model}:latest" in names


def _bases(model: str, url: str | None, urls: Mapping[str, str] | None) -> dict[str | None, str]:
    """The address of each region, without ``/v1``; of an endpoint without regions, that of None."""
    if (url is None) == (not urls):
        raise ConfigurationError(f"model {model!r}: say where it is by url, or by urls with a region for each")
    addresses = dict[str | None, str](urls.items()) if urls else {None: str(url)}
    for region, address in addresses.items():
        if region is not None and not _REGION.fullmatch(region):
            raise ConfigurationError(
                f"model {model!r}: region {region!r} is no name; use small letters, digits and hyphens"
            )
        _check_url(address)
    return {region: address.rstrip("/").removesuffix("/v1") for region, address in addresses.items()}


def _check_url(url: str) -> None:
    try:
        parts = URL(url)
    except ValueError:
        parts = URL()
    if parts.scheme not in {"http", "https"} or not parts.host:
        raise ConfigurationError(f'url {url!r} is not the address of a server, such as "http://127.0.0.1:8000/v1"')
    if parts.user is not None or parts.query_string or parts.fragment:
        raise ConfigurationError("url: only scheme, host, port and path; a key is said by api_key")


def _key_variable(api_key: str | None) -> str | None:
    """The name in ``env:NAME``. A key itself is refused, without being repeated: code is no place for it."""
    if api_key is None:
        return None
    named = _ENV.fullmatch(api_key)
    if named is None:
        raise ConfigurationError('api_key: write "env:NAME" with the environment variable that holds the key')
    return named[1]


def _read_key(variable: str) -> str:
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ConfigurationError(
            f"api_key: the environment variable {variable} is not set; it holds the endpoint's key"
        )
    if not (key.isascii() and key.isprintable()):
        raise ConfigurationError(
            f"api_key: the environment variable {variable} holds characters that no header may have"
        )
    return key


def _check_request(call: Call) -> None:
    if call.url not in PATHS:
        raise RequestRefused(f"url: not served here; use one of {', '.join(PATHS)}", status_code=404)
    if call.body.get("stream"):
        raise RequestRefused("body.stream: a result is one record; leave it out or false", status_code=422)


def _call_headers(call: Call) -> dict[str, str]:
    """Trace context as it came, unless it could not stand in a header: then the sender's slip would fail the endpoint."""
    trace = {name: call.headers[name] for name in _TRACE if name in call.headers}
    passed_on = {name: value for name, value in trace.items() if value.isascii() and value.isprintable()}
    return {**passed_on, _REMAINING: str(max(0, int(call.remaining_seconds() * 1_000)))}


async def _read(response: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    """A body, or, where it is longer, a little more of it than the limit."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit_bytes:
            break
    return bytes(body)


def _check_answer(body: bytes) -> None:
    """An answer is handed on as it came, so here it is made sure that it is one."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise EndpointBroken(f"an answer that is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise EndpointBroken(f"an answer that is not an object but {type(document).__name__}")
    if document.get("error") or document.get("object") == "error":
        raise EndpointBroken(f"an error with status 200: {error_message(body)}")
