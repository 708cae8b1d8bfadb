"""Any async function as an endpoint, on the event loop or in a thread.

**Loop** (the default): the function awaits; at the end of its window it is cancelled, which closes its connections.
**Thread**: the function computes. A thread cannot be cut, so its permit is held until it really ends, while the request is
answered at its window. The pool has as many threads as the endpoint has permits: a call never waits for a thread.

A function that may crash, or never return, runs in processes: :mod:`failsoft.endpoints.processes`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from failsoft.endpoints.call import Call, EndpointBroken, Output
from failsoft.endpoints.endpoint import Running, when_done
from failsoft.policy.settings import DEFAULT_LIMIT

RunsIn = Literal["loop", "thread"]
Function = Callable[[Call], Awaitable[Output]]


class CallableEndpoint:
    """An async function as an endpoint.

    Args:
        function: takes a Call, returns an Output; how it may fail is in :mod:`failsoft.endpoints.call`.
        limit: how many calls may be in flight, for the whole fleet.
        runs_in: "loop", or "thread" for functions that compute for more than a few milliseconds.
    """

    def __init__(self, function: Function, *, limit: int = DEFAULT_LIMIT, runs_in: RunsIn = "loop") -> None:
        self.function = function
        self._runs_in = runs_in
        self._threads: ThreadPoolExecutor | None = None
        self.limit = limit

    async def open(self) -> None:
        """Start the threads, if it takes any."""
        if self._runs_in == "thread":
            self._threads = ThreadPoolExecutor(self.limit, thread_name_prefix="failsoft-call")

    def start(self, call: Call) -> Running:
        """Begin a call."""
        if self._threads is None:
            return Running.until_answered(asyncio.get_running_loop().create_task(self._checked(call)))
        ran = asyncio.wrap_future(self._threads.submit(lambda: asyncio.run(self._checked(call))))
        return Running(_answer_of(ran), when_done(ran))

    async def close(self) -> None:
        """Leave threads that still compute to end by themselves."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _checked(self, call: Call) -> Output:
        output = await self.function(call)
        if not isinstance(output, Output):
            name = getattr(self.function, "__name__", "the function")
            raise EndpointBroken(f"{name} returned {type(output).__name__}; return failsoft.Output(body)")
        return output


def _answer_of(ran: "asyncio.Future[Output]") -> "asyncio.Future[Output]":
    """The end of ``ran``, in a future that can be cancelled without touching what runs."""

    async def wait() -> Output:
        return await asyncio.shield(ran)

    return asyncio.get_running_loop().create_task(wait())
