"""An event loop whose time jumps: what would take minutes takes milliseconds, and takes the same path every time.

The loop never waits. When nothing is ready it moves its clock to the next timer. Sockets and threads still work (the loop
looks at them first), but time does not wait for them, so code under test should have neither.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_DEADLOCK_SECONDS = 5.0
"""Real time to wait for a thread or a socket when no timer is left, before it is called a deadlock."""


def _nothing() -> None:
    pass


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.on_select: Callable[[], None] = _nothing

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.on_select()
        if timeout is None:
            ready = super().select(_DEADLOCK_SECONDS)
            if not ready:
                raise RuntimeError("virtual time: everything waits and no timer is set: a deadlock")
            return list(ready)
        ready = super().select(0)
        if not ready:
            self.now += max(0.0, timeout)
        return list(ready)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop on a clock of its own, which starts at 0 and jumps from timer to timer."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Virtual seconds."""
        return float(self._jumping.now)

    def run_once(self) -> None:
        """Run what is ready; if nothing is, move to the next timer and run what is due then.

        A loop that is stopped while it asks its selector still runs what this makes ready.
        """
        self._jumping.on_select = self.stop
        try:
            self.run_forever()
        finally:
            self._jumping.on_select = _nothing


def run_in_virtual_time(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a loop of its own, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
