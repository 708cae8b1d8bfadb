"""Canaries: requests whose answers are known well enough to compare regions by them.

Two answers agree if they say the same: the texts of their choices, or, where there are none, all but what differs from call to
call. Only a digest is kept of what a region answered, so that the evidence holds nobody's data.

**The origin's answers** are asked for at the drill, and kept with it. In an emergency the origin may answer nothing any more, or
nonsense: the target agrees with it if it says what the origin says now or said then.
"""

import asyncio
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from failsoft.endpoints import Call, OpenAICompatible, Output
from failsoft.failover.runbook import Runbook
from failsoft.policy.errors import ConfigurationError, FailsoftError, MalformedRecord
from failsoft.wire.body import RequestLine, decode_request

ASK_SECONDS = 30.0
"""For all canaries in one region. An origin that hangs must not hold up the way out of it for longer."""
AT_ONCE = 4
"""Enough to be done soon, and no load."""
_VOLATILE = frozenset({"id", "created", "model", "system_fingerprint", "usage", "service_tier"})


def read_canaries(runbook: Runbook) -> tuple[RequestLine, ...]:
    """Read the lines of a runbook's canaries.

    Raises:
        ConfigurationError: one is no line of an OpenAI batch file, or two have one name.
    """
    lines: dict[str, RequestLine] = {}
    for number, written in enumerate(runbook.canaries, 1):
        try:
            line = decode_request(written)
        except MalformedRecord as error:
            raise ConfigurationError(f"{runbook.path}: canary: line {number}: {error}") from None
        if line.custom_id in lines:
            raise ConfigurationError(
                f"{runbook.path}: canary: line {number}: custom_id {line.custom_id!r} is there twice"
            )
        lines[line.custom_id] = line
    return tuple(lines.values())


class Canaries:
    """Asks one endpoint in one region after the other.

    Args:
        lines: what to ask.
        endpoint: whom; it has to be open.
        tier: its tier, for the call.
    """

    def __init__(self, lines: Sequence[RequestLine], endpoint: OpenAICompatible, *, tier: str) -> None:
        self._lines = lines
        self._endpoint = endpoint
        self._tier = tier

    async def ask(self, region: str) -> tuple[dict[str, str], list[float]]:
        """Ask a region all of them: the digests of its answers, and how long each call took; infinity of one that failed."""
        permits = asyncio.Semaphore(AT_ONCE)
        until = asyncio.get_running_loop().time() + ASK_SECONDS

        async def asked(line: RequestLine) -> tuple[str | None, float]:
            async with permits:
                return await self._call(line, region, until=until)

        ends = await asyncio.gather(*(asked(line) for line in self._lines))
        digests = {
            line.custom_id: digest for line, (digest, _) in zip(self._lines, ends, strict=True) if digest is not None
        }
        return digests, [seconds for _, seconds in ends]

    async def answered_at_once(self, region: str, count: int) -> int:
        """Make so many calls at once; how many of them are answered."""
        until = asyncio.get_running_loop().time() + ASK_SECONDS
        calls = (self._call(self._lines[number % len(self._lines)], region, until=until) for number in range(count))
        return sum(digest is not None for digest, _ in await asyncio.gather(*calls))

    async def _call(self, line: RequestLine, region: str, *, until: float) -> tuple[str | None, float]:
        clock = asyncio.get_running_loop().time
        began_at = clock()
        call = Call(
            body=line.body,
            url=line.url,
            request_class="canary",
            tier=self._tier,
            execution=1,
            tenant=None,
            headers={},
            window_ends_at=until,
            clock=clock,
            region=region,
        )
        try:
            async with asyncio.timeout_at(until):
                output = await self._endpoint.start(call).answer
        except (FailsoftError, TimeoutError):
            return None, math.inf
        return digest_of(output), clock() - began_at


def digest_of(output: Output) -> str:
    """What an answer says, in sixteen digits."""
    body = orjson.loads(output.body) if isinstance(output.body, bytes) else dict(output.body)
    return hashlib.sha256(orjson.dumps(_said(body), option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def _said(body: Mapping[str, Any]) -> Any:
    choices = body.get("choices")
    if isinstance(choices, list) and choices:
        return [_text(choice) for choice in choices]
    return {name: value for name, value in body.items() if name not in _VOLATILE}


def _text(choice: Any) -> Any:
    message = choice.get("message") if isinstance(choice, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    text = content if content is not None else choice.get("text") if isinstance(choice, dict) else None
    return text.strip() if isinstance(text, str) else choice
