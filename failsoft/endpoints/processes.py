"""A function as an endpoint, in processes of its own: the honest answer to native code that crashes or never returns.

A coroutine can be cancelled where it awaits and a thread not at all; a process can be killed anywhere, also inside a C
extension that holds the interpreter's lock. So:

* At the end of its window, or when nobody waits any more, the child is killed and replaced.
* A child that crashes is a failed call, and only that call. It is replaced.
* **The permit comes back when the replacement is warm**, not before: a slot that cannot serve is not free. While no replacement
  gets ready (the model's file is gone) it is tried again after pauses up to 30 s, and the tier is that much smaller.
* Every child imports the function by name and runs ``warm_up``, before the worker takes its first record.

The pool has as many children as the endpoint has permits, in each worker, because a worker that is left alone has them all: a
model is loaded ``limit`` times. Where memory does not allow that, a model server of its own and ``OpenAICompatible`` is the
better tier. A call costs about 0.4 ms more than on the loop; a replacement costs
the start of an interpreter (0.5 s), its imports and the warm-up.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from failsoft.endpoints.call import Call, Output
from failsoft.endpoints.child_process import ChildProcess, NotReady, ProcessDied
from failsoft.endpoints.endpoint import Running
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.settings import DEFAULT_LIMIT

log = structlog.get_logger("failsoft.processes")

ProcessFunction = Callable[[Call], Output | Awaitable[Output]]
"""An ordinary function or an async one; found by its name in its module."""
WarmUp = Callable[[], Any]

PAUSES_SECONDS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Before a child that did not get ready is tried again. One that did, and crashed over a call, is replaced at once."""
CLOSE_SECONDS = 1.0
"""For killed processes to be gone. One that the kernel cannot end (a driver hangs) is left to it."""


class ProcessEndpoint:
    """A function as an endpoint, in child processes.

    Args:
        function: takes a Call, returns an Output, async or not; must be importable by its name.
        limit: how many calls may be in flight, for the whole fleet, and how many children each worker has.
        warm_up: run once in each child before it serves, such as a cached function that loads the model.

    Raises:
        ConfigurationError: a function that no other process can import.
    """

    def __init__(self, function: ProcessFunction, *, limit: int = DEFAULT_LIMIT, warm_up: WarmUp | None = None) -> None:
        self.function = function
        self.warm_up = warm_up
        self.limit = limit
        self._names = importable_name(function), None if warm_up is None else importable_name(warm_up)
        self._children: set[ChildProcess] = set()
        self._dying: set[ChildProcess] = set()
        """Killed, to be replaced, and not known to be gone yet."""
        self._lent: set[ChildProcess] = set()
        self._idle: asyncio.Queue[ChildProcess] = asyncio.Queue()
        self._replacing: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Start the children and wait until all are warm.

        Raises:
            ConfigurationError: the function cannot be imported, or its warm-up fails; the traceback is in the log.
        """
        self._idle = asyncio.Queue()
        starting = [asyncio.create_task(self._start_one()) for _ in range(self.limit)]
        try:
            await asyncio.gather(*starting)
        except BaseException as error:
            for start in starting:
                start.cancel()
            await asyncio.gather(*starting, return_exceptions=True)
            await self.close()
            if isinstance(error, NotReady):
                raise ConfigurationError(
                    f"{self._names[0]} does not get ready in a process of its own: {error}"
                ) from None
            raise

    def start(self, call: Call) -> Running:
        """Begin a call."""
        taken: list[ChildProcess] = []
        answer = asyncio.get_running_loop().create_task(self._answer(call, taken))
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda _: self._after(taken, over))
        return Running(answer, over)

    async def close(self) -> None:
        """Kill the children."""
        for task in self._replacing:
            task.cancel()
        children, self._children = self._children | self._dying, set()
        ending = [asyncio.create_task(child.kill()) for child in children]
        if left := [*self._replacing, *ending]:
            await asyncio.wait(left, timeout=CLOSE_SECONDS)

    async def _answer(self, call: Call, taken: list[ChildProcess]) -> Output:
        while not (child := await self._idle.get()).is_free:
            pass  # it died while it waited, and is being replaced
        taken.append(child)
        self._lent.add(child)
        try:
            return await child.ask(call)
        except ProcessDied as error:
            log.warning("process_died", function=self._names[0], tier=call.tier, how=str(error))
            raise

    def _after(self, taken: list[ChildProcess], over: "asyncio.Future[None]") -> None:
        """The answer is there, or nobody waits for it: the child serves the next one, or is replaced."""
        if not taken:
            over.set_result(None)
            return
        (child,) = taken
        self._lent.discard(child)
        if child.is_free:
            self._idle.put_nowait(child)
            over.set_result(None)
        else:
            self._replace_soon(child, over)

    def _replace_soon(self, child: ChildProcess, over: "asyncio.Future[None] | None" = None) -> None:
        if child not in self._children:
            return  # it is being replaced, or all is closed
        self._children.discard(child)
        self._dying.add(child)
        task = asyncio.get_running_loop().create_task(self._replace(child, over))
        self._replacing.add(task)
        task.add_done_callback(self._replacing.discard)

    async def _replace(self, child: ChildProcess, over: "asyncio.Future[None] | None") -> None:
        await child.kill()
        self._dying.discard(child)
        for pause_seconds in itertools.chain(PAUSES_SECONDS, itertools.repeat(PAUSES_SECONDS[-1])):
            if await self._is_started():
                break
            await asyncio.sleep(pause_seconds)
        if over is not None:
            over.set_result(None)

    async def _is_started(self) -> bool:
        try:
            await self._start_one()
        except NotReady as error:
            log.error("process_not_ready", function=self._names[0], error=str(error))
            return False
        return True

    async def _start_one(self) -> None:
        child = await ChildProcess.started(*self._names)
        self._children.add(child)
        self._idle.put_nowait(child)
        child.exited.add_done_callback(lambda _: self._exited(child))

    def _exited(self, child: ChildProcess) -> None:
        if child not in self._lent:  # else the end of its call sees to it
            self._replace_soon(child)


def importable_name(function: Callable[..., Any]) -> str:
    """``module:qualified.name``, by which another process finds it.

    Raises:
        ConfigurationError: it has no such name.
    """
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not module or not name:
        raise ConfigurationError(
            f"{function!r} has no name to be imported by; runs_in='process' needs a function of a module"
        )
    if "<" in name:
        raise ConfigurationError(
            f"{name} is defined inside a function; runs_in='process' needs one of a module's top level"
        )
    if module == "__main__":
        raise ConfigurationError(
            f"{name} is defined in the program that runs; runs_in='process' needs it in a module that others can import"
        )
    return f"{module}:{name}"
