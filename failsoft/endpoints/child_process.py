"""One child process, seen from the worker: started, asked, killed, and known to be gone.

It is a process of asyncio's with a protocol of its own, and neither ``concurrent.futures`` (kills nothing: a call that hangs
holds its process, and one process that dies breaks the whole pool) nor ``multiprocessing`` (imports the worker's ``__main__``
again, starts a resource tracker, pickles, and blocks the loop where it writes and joins).

What decides is the exit that the kernel reports, not the end of a pipe: a pipe stays open as long as anybody has inherited it.
"""

import asyncio
import contextlib
import os
import signal
import sys
from typing import Self

from failsoft.endpoints.call import Call, EndpointFailed, Output
from failsoft.endpoints.frames import Frames, Head, decode_end, encode_call, frame


class ProcessDied(EndpointFailed):
    """The process that worked on a call has ended: a crash of native code, the kernel's out-of-memory killer, an exit."""


class NotReady(Exception):  # noqa: N818 - named by what happened
    """A child could not import its function or warm up; its own words, or how it ended."""


class ChildProcess(asyncio.SubprocessProtocol):
    """A child. Made by :meth:`started`.

    Args:
        lifeline: writing end of the pipe whose closing kills it.
    """

    def __init__(self, lifeline: int) -> None:
        self._lifeline: int | None = lifeline
        self._frames = Frames()
        self._answer: asyncio.Future[tuple[Head, bytes]] | None = None
        self._transport: asyncio.SubprocessTransport | None = None
        self.exited: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """How it ended, when it has."""

    @classmethod
    async def started(cls, function: str, warm_up: str | None) -> Self:
        """Start one and wait until it is warm. Raises NotReady; leaves nothing behind when it fails or is cancelled."""
        try:
            child = await cls._spawned()
        except OSError as error:  # no descriptors, no memory, no process ids: all of them may pass
            raise NotReady(f"no process could be started: {error}") from None
        order = {"path": [path or os.getcwd() for path in sys.path], "function": function, "warm_up": warm_up}  # noqa: PTH109 - as import does
        try:
            head, _ = await child._exchange(frame(order))  # noqa: SLF001 - a child of this class
        except ProcessDied as error:
            raise NotReady(str(error)) from None
        except BaseException:
            await child.kill()
            raise
        if head["end"] != "ready":
            await child.kill()
            raise NotReady(head["message"])
        return child

    @property
    def pid(self) -> int:
        """Its process id, and its group's."""
        if self._transport is None:
            raise ValueError("not started")
        return self._transport.get_pid()

    @property
    def is_free(self) -> bool:
        """Whether it lives and works on nothing."""
        return not self.exited.done() and self._answer is None

    async def ask(self, call: Call) -> Output:
        """Have a call run. Cancelled, the child goes on with it, and takes no other: it is to be killed.

        Raises:
            ProcessDied: it ended over it.
            Exception: what the function raised, as :mod:`failsoft.endpoints.call` knows it.
        """
        head, body = await self._exchange(encode_call(call))
        return decode_end(head, body)

    async def kill(self) -> None:
        """End it and whatever it has started, and wait until it is gone."""
        if not self.exited.done():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        await asyncio.shield(self.exited)

    @classmethod
    async def _spawned(cls) -> Self:
        reading, lifeline = os.pipe()
        child = cls(lifeline)
        try:
            await asyncio.get_running_loop().subprocess_exec(
                lambda: child,
                *(sys.executable, "-m", "failsoft.endpoints.child", str(reading)),
                stderr=None,
                pass_fds=(reading,),
                start_new_session=True,
            )
        except BaseException:
            child._cut_lifeline()
            raise
        finally:
            os.close(reading)
        return child

    async def _exchange(self, data: bytes) -> tuple[Head, bytes]:
        if self._transport is None or self.exited.done():
            raise ProcessDied(self.exited.result() if self.exited.done() else "never started")
        self._answer = asyncio.get_running_loop().create_future()
        stdin = self._transport.get_pipe_transport(0)
        assert isinstance(stdin, asyncio.WriteTransport)  # noqa: S101 - subprocess_exec makes a pipe by default
        stdin.write(data)
        answer = await self._answer
        self._answer = None
        return answer

    def _cut_lifeline(self) -> None:
        lifeline, self._lifeline = self._lifeline, None
        if lifeline is not None:
            os.close(lifeline)

    # asyncio tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It runs."""
        assert isinstance(transport, asyncio.SubprocessTransport)  # noqa: S101 - what subprocess_exec makes
        self._transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """It has said something."""
        for said in self._frames.feed(data):
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(said)

    def process_exited(self) -> None:
        """It is gone: so is what it has started, once we have seen to it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._cut_lifeline()
        if self._transport is not None:
            how = _how(self._transport.get_returncode())
            self._transport.close()
            if self._answer is not None and not self._answer.done():
                self._answer.set_exception(ProcessDied(how))
            self.exited.set_result(how)


def _how(code: int | None) -> str:
    if code is None or code >= 0:
        return f"the process ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"the process was ended by {signal.Signals(-code).name}"
    return f"the process was ended by signal {-code}"
