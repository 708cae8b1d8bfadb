"""Processes of a trial, workers above all: started, killed as a crash would, started again, and stopped in order.

Each is guarded (:mod:`failsoft.testing.guarded`): when the trial itself dies, by SIGKILL too, they end. Each writes a log
of its own, whose last lines are shown if the process ends without being told to.
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from failsoft.policy.errors import EnvironmentFailure
from failsoft.testing.guarded import GuardedProcess

READY_SECONDS = 60.0
"""A worker is ready in 5 s, most of it the training of its models; on a loaded machine in a multiple of that."""
STOP_SECONDS = 15.0
"""After SIGTERM; what is not done by then is killed."""
LAST_LINES = 15

_POLL_SECONDS = 0.1
_CHANGE_DIRECTORY = ("/bin/sh", "-c", 'cd "$0" && exec "$@"')
"""The guard starts its child where the log is; a worker finds pipeline and catalogue where the trial was started."""


class Fleet:
    """A number of equal processes, as a context manager: ready inside, gone after.

    Args:
        command: starts one in the current directory.
        size: how many.
        folder: of their logs.
        kind: what they are, in messages.
        ready: how the line begins by which one says that it is ready.
    """

    def __init__(
        self, command: Sequence[str], *, size: int, folder: Path, kind: str = "worker", ready: str = "ready: "
    ) -> None:
        self._command = [*_CHANGE_DIRECTORY, str(Path.cwd()), *command]
        self._size = size
        self._folder = folder
        self._kind = kind
        self._ready = ready
        self._running: dict[int, GuardedProcess] = {}
        self._starts = 0
        self._logs: dict[int, Path] = {}
        self.exit_codes: list[int] = []
        """Of those that were stopped in order: 0 where all that had begun was finished."""
        self.complaints: list[str] = []
        """Of those that were stopped and did not end with 0: with the last lines of their logs."""

    async def __aenter__(self) -> Self:
        try:
            for number in range(1, self._size + 1):
                self._launch(number)
            for number in range(1, self._size + 1):
                await self._readiness(number)
        except BaseException:
            await self.stop()  # `async with` calls __aexit__ only after a start that succeeded
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, number: int) -> None:
        """Start one and return when it is ready.

        Raises:
            EnvironmentFailure: it ended, or was not ready in time; with the last lines of its log.
        """
        self._launch(number)
        await self._readiness(number)

    def kill(self, number: int) -> None:
        """End one as a crash would (SIGKILL)."""
        self._running.pop(number).kill()

    def pid(self, number: int) -> int:
        """Return the process id of one that runs."""
        return self._running[number].pid

    def require_running(self) -> None:
        """Do nothing while all run that should.

        Raises:
            EnvironmentFailure: one ended by itself; with its exit code and the last lines of its log.
        """
        for number, worker in self._running.items():
            if worker.exit_code is not None:
                raise EnvironmentFailure(
                    f"{self._kind} {number} ended by itself with exit code {worker.exit_code}. "
                    f"Its last lines:\n{_tail(self._logs[number])}"
                )

    def said(self, number: int) -> str | None:
        """What one said after the beginning of its ready line; None while it has not."""
        lines = (line.removeprefix(self._ready) for line in _lines(self._logs[number]) if line.startswith(self._ready))
        return next(lines, None)

    async def stop(self) -> None:
        """Stop all in order, at the same time."""
        running, self._running = self._running, {}
        ends = (asyncio.to_thread(worker.end, grace_seconds=STOP_SECONDS) for worker in running.values())
        codes = await asyncio.gather(*ends)
        self.exit_codes.extend(codes)
        self.complaints.extend(
            f"{self._kind} {number} was stopped and ended with exit code {code}. Its last lines:\n{_tail(self._logs[number])}"
            for number, code in zip(running, codes, strict=True)
            if code
        )

    def _launch(self, number: int) -> None:
        self._starts += 1
        self._logs[number] = self._folder / f"{self._kind.replace(' ', '-')}-{number}-{self._starts}.log"
        self._running[number] = GuardedProcess(self._command, log=self._logs[number])

    async def _readiness(self, number: int) -> None:
        log, ends_at = self._logs[number], time.monotonic() + READY_SECONDS
        while self.said(number) is None:
            self.require_running()
            if time.monotonic() > ends_at:
                raise EnvironmentFailure(
                    f"{self._kind} {number} was not ready within {READY_SECONDS:g} s. Its last lines:\n{_tail(log)}"
                )
            await asyncio.sleep(_POLL_SECONDS)


def _lines(log: Path) -> list[str]:
    try:
        return log.read_text("utf-8", errors="replace").splitlines()
    except FileNotFoundError:  # the process has not opened it yet
        return []


def _tail(log: Path) -> str:
    return "\n".join(_lines(log)[-LAST_LINES:])
