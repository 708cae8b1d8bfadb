"""A loop in virtual time inside a test that runs on another loop: its time passes only while somebody awaits it.

A context manager cannot change the clock of the loop that runs it: timers of the test, of its fixtures and of pytest's plugins
are set on it already, and some loops (uvloop) have no clock to change. A thread would give the virtual loop a life of its own:
its time would run away while the test looks elsewhere. So the virtual loop lives in the test's thread and is run one round at a
time by those who wait for something on it; between two rounds the test's own loop has its turn. Hence:

* between two awaits of the test no virtual time passes: what it sends then, it sends at one instant;
* several that wait at once (``asyncio.gather``) share the time, and whoever has got its answer goes on before time does;
* the test may touch what lives on the virtual loop (set an ``asyncio.Event`` that a tier waits for): nothing runs beside it.

What waits for the test's own loop (a server that the test has started there) would wait for ever. asyncio's hooks for loops and
tasks of other makes (``_set_running_loop``, ``_enter_task``, ``_leave_task``) put the test's task aside for a round.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from failsoft.testing.virtual_time import VirtualTimeLoop

T = TypeVar("T")


class NestedLoop:
    """A virtual loop, run by those who await something on it."""

    def __init__(self) -> None:
        self._loop = VirtualTimeLoop()
        self._awaited: set[asyncio.Task[Any]] = set()

    @property
    def now(self) -> float:
        """Virtual seconds since it was made."""
        return self._loop.time()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the virtual loop and return what it returns."""
        task = self._loop.create_task(work)
        self._awaited.add(task)
        try:
            while not task.done():
                await asyncio.sleep(0)
                self._run_round()
        finally:
            self._awaited.discard(task)
            task.cancel()
        return task.result()

    def close(self) -> None:
        """Cancel what is left on the loop, let it end, and close."""
        with _put_aside():
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            if left:
                self._loop.run_until_complete(asyncio.wait(left))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def _run_round(self) -> None:
        """Run one round, unless somebody has an answer that it has not taken yet."""
        if not any(task.done() for task in self._awaited):
            with _put_aside():
                self._loop.run_once()


@contextmanager
def _put_aside() -> Iterator[None]:
    """Let another loop run in this thread, as if the one that runs now did not."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    if task is not None:
        asyncio._leave_task(loop, task)  # noqa: SLF001 - asyncio's own documented hook, see above
    asyncio._set_running_loop(None)  # noqa: SLF001 - the same
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)  # noqa: SLF001 - the same
        if task is not None:
            asyncio._enter_task(loop, task)  # noqa: SLF001 - the same
