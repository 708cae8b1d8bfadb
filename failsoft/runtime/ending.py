"""When a worker ends: it is asked by the first signal, ended at once by a second, and ended by time in any case.

The drain has its budget. Everything after it (the last commit, leaving the group, closing) is bounded step by step, but bounds
add up, and some waits have none: a thread of a tier that computes for ever is joined when the interpreter ends, and a tier
that blocks the event loop keeps all else from running. So a thread of its own ends the process ``CLOSE_SECONDS`` after the
drain budget, with the code that is true by then. Nothing is lost by that, only repeated.

The signal is taken by the interpreter and not by the event loop, which may be what is stuck. Native code that holds the
interpreter's lock in the worker itself outlasts even this, until it returns or somebody sends SIGKILL; ``runs_in="process"``
is for that.
"""

import asyncio
import os
import signal
import threading
from types import FrameType

import structlog

log = structlog.get_logger("failsoft.ending")

CLOSE_SECONDS = 4.5
"""Of the five that a worker is allowed beyond its drain budget: half a second is left to the interpreter."""
DRAINED, UNFINISHED = 0, 4
"""Exit codes, those of failsoft.cli.exits."""


class Ending:
    """What a worker's signals do.

    Args:
        drain_seconds: for finishing what has begun.

    Attributes:
        asked: set by the first signal.
        code: what the process exits with if time ends it.
    """

    def __init__(self, drain_seconds: float) -> None:
        self.asked = asyncio.Event()
        self.code = DRAINED
        self._seconds = drain_seconds + CLOSE_SECONDS
        self._loop = asyncio.get_running_loop()
        self._is_asked = False

    def listen(self) -> None:
        """Take SIGTERM and SIGINT from now on, until the process ends. Only in the main thread, as the interpreter wants it."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._is_asked:
            os._exit(128 + number)
        self._is_asked = True
        self._end_in(self._seconds)
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.asked.set)

    def close(self, code: int) -> None:
        """End the process with this code by time, as after a drain: it closes now, without having been asked to."""
        self.code = code
        self._end_in(CLOSE_SECONDS)

    def _end_in(self, seconds: float) -> None:
        latest = threading.Timer(seconds, self._end)
        latest.daemon = True
        latest.start()

    def _end(self) -> None:
        log.error("not_closed_in_time", seconds=self._seconds, exit_code=self.code)
        os._exit(self.code)
