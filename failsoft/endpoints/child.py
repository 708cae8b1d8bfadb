"""The other end of a tier that runs in processes: one child, one function, one call at a time.

It is a program of its own (``python -m failsoft.endpoints.child``), not a fork: a fork of a process with threads, an event loop
and a model's runtime inherits their locks and none of their threads. The function and its warm-up are imported by name.

* Frames come on standard input and go out on standard output; both are taken away from user code first: what it prints
  goes to standard error, which is the worker's log.
* **It dies with its worker, however that dies.** It holds the reading end of a pipe that nobody ever writes to; the kernel
  is told to send SIGKILL to the child's whole process group when the writing end is closed, which a dead worker's is. No
  code of ours has to run for it, so native code that holds the interpreter's lock for ever dies too, and so do
  processes that the function has started. (PR_SET_PDEATHSIG reaches the child alone, and fires when a thread ends.)
  Where the kernel has no F_SETSIG (macOS) a thread waits on the pipe instead, which native code can starve.
* SIGINT of a terminal does not reach it (its session is its own); SIGINT and SIGTERM sent to it by name, as systemd does
  to a whole unit, are passed over: the worker that drains still waits for its answer.
* A ``SystemExit`` of the function ends the child, as it would end any program.
"""

import asyncio
import fcntl
import inspect
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from types import FrameType
from typing import Any, BinaryIO

from failsoft.endpoints.call import EndpointBroken, Output
from failsoft.endpoints.frames import Head, decode_call, encode_error, encode_output, frame, read_frame


def main() -> None:
    """Serve calls until the worker closes the pipe."""
    calls, answers = _private_streams()
    _die_with(int(sys.argv[1]))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _pass_over)
    order = read_frame(calls)
    if order is None:
        return
    with asyncio.Runner() as runner:
        child = _Child(runner, answers)
        if child.is_ready_for(order[0]):
            while (call := read_frame(calls)) is not None:
                child.serve(*call)


def named(name: str) -> Any:
    """What ``module:qualified.name`` stands for."""
    module, _, path = name.partition(":")
    found: Any = import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


class _Child:
    """Runs what its order names, on a loop that stays, so that connections may stay too."""

    def __init__(self, runner: asyncio.Runner, answers: BinaryIO) -> None:
        self._runner = runner
        self._answers = answers
        self._function: Callable[[Any], Any] | None = None

    def is_ready_for(self, order: Head) -> bool:
        """Import the function and warm up; tell the worker how that went."""
        try:
            sys.path[:] = order["path"]
            self._function = named(order["function"])
            if order["warm_up"] is not None:
                self._run(named(order["warm_up"]))
        except Exception as error:
            traceback.print_exc()
            self._say(frame({"end": "not ready", "message": f"{type(error).__name__}: {error}"}))
            return False
        self._say(frame({"end": "ready"}))
        return True

    def serve(self, head: Head, body: bytes) -> None:
        """Run one call, and answer."""
        try:
            output = self._run(self._function, decode_call(head, body, clock=time.monotonic))
            if not isinstance(output, Output):
                raise EndpointBroken(f"the function returned {type(output).__name__}; return failsoft.Output(body)")
            said = encode_output(output)
        except Exception as error:  # what user code raises is the end of its call, whatever it is
            said = encode_error(error)
        self._say(said)

    def _run(self, function: Any, *arguments: Any) -> Any:
        found = function(*arguments)
        return self._runner.run(_awaited(found)) if inspect.isawaitable(found) else found

    def _say(self, data: bytes) -> None:
        self._answers.write(data)
        self._answers.flush()


async def _awaited(found: Any) -> Any:
    return await found


def _private_streams() -> tuple[BinaryIO, BinaryIO]:
    """Take the pipes to the worker, and leave user code an empty input and the log."""
    calls, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return calls, answers


def _die_with(lifeline: int) -> None:
    """Have this process group killed when the writing end of this pipe is closed."""
    os.set_inheritable(lifeline, False)  # noqa: FBT003 - the module's own signature
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    else:
        threading.Thread(target=_kill_at_end_of, args=(lifeline,), daemon=True).start()
    look = select.poll()
    look.register(lifeline, select.POLLIN)
    if look.poll(0):  # it was closed before the kernel was told
        os.killpg(os.getpgrp(), signal.SIGKILL)


def _kill_at_end_of(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _pass_over(_number: int, _frame: FrameType | None) -> None:
    """Do nothing; unlike SIG_IGN it is not inherited by the programs that the function starts."""


if __name__ == "__main__":
    main()
