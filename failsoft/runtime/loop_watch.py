"""Whether the event loop turns: it beats, and a thread beside it listens.

Heartbeats to the group, deadlines and windows are all on the one loop, so whatever blocks it stops the whole worker, and nothing
on the loop can notice. The thread takes down where the loop stands once it has missed a beat for two seconds; the line is logged
when the loop turns again. If it does not turn for ``exit_seconds``, the thread says where and ends the process with code 5, so
that another one may take its place. The bound and its reason are in :mod:`failsoft.policy.watchdog`.

The thread never logs: what blocks the loop may hold the lock of the log. It cannot run while native code keeps the interpreter's
lock, either; then only /health shows it, by not answering.
"""

import asyncio
import contextlib
import os
import select
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Self

import structlog

from failsoft.policy.watchdog import LOOK_SECONDS, Sight, Step, Watch

log = structlog.get_logger("failsoft.watchdog")

EXIT_CODE = 5
BEAT_SECONDS = 0.25
BLOCKED_SECONDS = 2.0
"""From here on it is worth a line: heartbeats are due every second."""
FRAMES = 4
STANDARD_ERROR = 2


def end_process(why: str) -> None:
    """Say why, if anybody can take it, and end at once."""
    if select.select([], [STANDARD_ERROR], [], 0)[1]:
        os.write(STANDARD_ERROR, f"failsoft: {why}\n".encode())
    os._exit(EXIT_CODE)


class LoopWatch:
    """Watches the running loop, as an asynchronous context manager.

    Args:
        exit_seconds: how long it may not turn.
        enforce: False never ends the process.
        observe: takes by how many seconds each beat was late.
        end: ends the process, with the reason.
        look_seconds: how often the thread looks.
    """

    def __init__(
        self,
        *,
        exit_seconds: float,
        enforce: bool,
        observe: Callable[[float], None],
        end: Callable[[str], None] = end_process,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._exit_seconds = exit_seconds
        self._enforce = enforce
        self._observe = observe
        self._end = end
        self._look_seconds = look_seconds
        self._beats = 0
        self._blocked_at: str | None = None
        self._stopped = threading.Event()
        self._loop_thread = threading.get_ident()
        self._thread = threading.Thread(target=self._look_forever, name="failsoft-loop-watch", daemon=True)
        self._beating: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin."""
        self._beating = asyncio.create_task(self._beat_forever())
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End both."""
        self._stopped.set()
        if self._beating is not None:
            self._beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._beating
        self._thread.join()

    async def _beat_forever(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due_at = clock() + BEAT_SECONDS
            await asyncio.sleep(BEAT_SECONDS)
            late_seconds = max(0.0, clock() - due_at)
            self._beats += 1
            self._observe(late_seconds)
            if self._blocked_at is not None:
                log.warning("loop_was_blocked", seconds=round(late_seconds, 1), at=self._blocked_at)
                self._blocked_at = None

    def _look_forever(self) -> None:
        watch = Watch(exit_seconds=self._exit_seconds)
        while not self._stopped.wait(self._look_seconds):
            step = watch.look(Sight(is_due=True, done=self._beats), now=time.monotonic())
            if watch.silent_seconds >= BLOCKED_SECONDS or step is Step.EXIT:
                self._blocked_at = self._where()
            if step is Step.EXIT and self._enforce:
                self._end(f"the event loop has not turned for {watch.silent_seconds:.0f} s, at {self._blocked_at}")

    def _where(self) -> str:
        """The innermost calls of the loop's thread, by file and line: no values, so nothing private."""
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - documented, in spite of its name
        frames = traceback.extract_stack(frame)[-FRAMES:] if frame is not None else []
        return " < ".join(f"{os.path.basename(each.filename)}:{each.lineno} {each.name}" for each in reversed(frames))  # noqa: PTH119
