"""An event loop that ends one process, as SIGKILL does, after its k-th step.

A process is what runs in its context: its tasks, their callbacks and its timers, which all inherit the context in which they
were made. A step is one turn of a task, from one await to the next, or one callback. After the last step that it is given nothing
of the process runs any more: no ``finally``, no ``except CancelledError``, no timer. Everybody else goes on.

The steps that it does not take are kept, so that the loop can be closed when all has been looked at.
"""

from asyncio import Handle, TimerHandle
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any, TypeVarTuple

from failsoft.testing.virtual_time import VirtualTimeLoop

Ts = TypeVarTuple("Ts")

is_mortal = ContextVar("is_mortal", default=False)
"""Set in the context of the process that is to die."""


class KillableLoop(VirtualTimeLoop):
    """A loop in virtual time.

    Args:
        steps: how many the process may take.
    """

    def __init__(self, steps: int) -> None:
        self.steps_left = steps
        self.is_dead = False
        self._untaken: list[tuple[Callable[..., object], tuple[Any, ...], Context | None]] = []
        super().__init__()

    def call_soon(self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None) -> Handle:
        """Run a step soon, if its process is alive then."""
        return super().call_soon(self._step, callback, args, context, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> TimerHandle:
        """Run a step at an instant, if its process is alive then."""
        return super().call_at(when, self._step, callback, args, context, context=context)

    def bury(self) -> None:
        """Let what is left of the process run, so that it can be cancelled and closed."""
        self.is_dead, self.steps_left = False, 1_000_000
        for callback, args, context in self._untaken:
            self.call_soon(callback, *args, context=context)

    def _step(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None) -> None:
        if is_mortal.get():
            self.is_dead = self.is_dead or not self.steps_left
            if self.is_dead:
                self._untaken.append((callback, args, context))
                return
            self.steps_left -= 1
        callback(*args)
