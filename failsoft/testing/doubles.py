"""What a tier calls in a test: a double is an async function of a :class:`~failsoft.Call`, like every tier that is a function.

So a function of the test's own will do wherever these do not, and these can be declared as tiers.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from failsoft.endpoints import Call, Output
from failsoft.endpoints.http_status import failure
from failsoft.policy.durations import Duration, parse_duration

Double = Callable[[Call], Awaitable[Output]]


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers always the same.

    Attributes:
        body: what becomes ``response.body`` of the result.
        after: how long it takes, such as "80ms".
    """

    body: Mapping[str, Any]
    after: Duration = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse what is no duration."""
        parse_duration(self.after, field="after")

    async def __call__(self, call: Call) -> Output:
        """Take the time, and answer."""
        await asyncio.sleep(parse_duration(self.after))
        return Output(self.body)


@dataclass(frozen=True, slots=True)
class Fails:
    """Fails always the same.

    Attributes:
        how: an HTTP status, which means what it means from a model server (429 is busy, 400 the request's fault, 500 a passing
            failure: :mod:`failsoft.endpoints.http_status`); or what is raised.
        after: how long it takes.
        retry_after: with a status, when the server asks to be called again.
    """

    how: int | Exception
    after: Duration = field(default=0.0, kw_only=True)
    retry_after: Duration | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse what is no duration."""
        parse_duration(self.after, field="after")
        parse_duration(self.retry_after or 0.0, field="retry_after")

    async def __call__(self, call: Call) -> Output:
        """Take the time, and fail."""
        await asyncio.sleep(parse_duration(self.after))
        if isinstance(self.how, Exception):
            raise self.how
        asked = None if self.retry_after is None else str(parse_duration(self.retry_after))
        headers = {} if asked is None else {"retry-after": asked}
        raise failure(self.how, headers, b"", remaining_seconds=call.remaining_seconds(), now=0.0)


@dataclass(frozen=True, slots=True)
class Hangs:
    """Never answers: its calls end at their windows."""

    async def __call__(self, call: Call) -> Output:
        """Wait for ever."""
        await asyncio.Event().wait()
        raise AssertionError
