"""The workers of a fault trial, each on its own: killed, frozen, told to stop, and started again when it ends by itself.

Whoever ends without being asked is started again after half a second, as an orchestrator would do it; how often that was, with
which exit codes, is part of the report. Each worker has its own way to the brokers, so that one can be cut off alone, and
its own environment, so that one can have a clock that is wrong.
"""

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from failsoft.policy.errors import EnvironmentFailure
from failsoft.testing.guarded import GuardedProcess

READY_SECONDS = 120.0
"""Five seconds where all is well; a worker is ready when its group has answered, and brokers are being killed meanwhile."""
STOP_SECONDS = 20.0
"""After SIGTERM: the drain budget and five seconds are what a worker promises; the rest is for a machine that does too much."""
RESTART_SECONDS = 0.5
LOOK_SECONDS = 0.1
LAST_LINES = 15
KILLED = 128 + signal.SIGKILL

_IN_DIRECTORY = ("/bin/sh", "-c", 'cd "$0" && exec "$@"')


@dataclass(slots=True)
class Worker:
    """One place for a worker process.

    Attributes:
        number: from 1.
        command: starts one.
        extra: of its environment, while a fault wants it.
        process: that runs, or has ended by itself and not been noticed yet; None of one that is to be away.
        log: of that process.
    """

    number: int
    command: Sequence[str]
    extra: Mapping[str, str] = field(default_factory=dict)
    process: GuardedProcess | None = field(default=None, repr=False)
    log: Path | None = None

    @property
    def is_running(self) -> bool:
        """Whether its process lives; a frozen one does."""
        return self.process is not None and self.process.exit_code is None

    @property
    def is_ready(self) -> bool:
        """Whether it has said that it takes requests."""
        return self.is_running and self.log is not None and "\nready: " in "\n" + _text(self.log)


class Crew:
    """Some workers, as a context manager: ready inside, gone after.

    Args:
        commands: one worker each.
        folder: of their logs.
        say: told what they do by themselves.
    """

    def __init__(self, commands: Sequence[Sequence[str]], *, folder: Path, say: Callable[[str], None]) -> None:
        self.workers = {number: Worker(number, command) for number, command in enumerate(commands, start=1)}
        self._folder = folder
        self._say = say
        self._starts = 0
        self._minding: asyncio.Task[None] | None = None
        self.ended_by_themselves: Counter[int] = Counter()
        """Exit code -> how often a worker ended that nobody had told to."""
        self.drained: Counter[int] = Counter()
        """Exit code -> how often a worker ended that was told to (SIGTERM)."""

    async def __aenter__(self) -> Self:
        try:
            for number in self.workers:
                self.launch(number)
            for number in self.workers:
                await self.readiness(number)
        except BaseException:
            await self.__aexit__()
            raise
        self._minding = asyncio.create_task(self._mind())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Tell all to stop, and wait."""
        if self._minding is not None:
            self._minding.cancel()
            await asyncio.wait({self._minding})
        await asyncio.gather(*(self.terminate(number) for number in self.workers))

    def launch(self, number: int) -> None:
        """Start one."""
        worker = self.workers[number]
        if worker.is_running:
            raise RuntimeError(f"worker {number} runs")
        self._starts += 1
        worker.log = self._folder / f"worker-{number}-{self._starts}.log"
        environment = ["env", *(f"{name}={value}" for name, value in worker.extra.items())]
        command = [*_IN_DIRECTORY, str(Path.cwd()), *environment, *worker.command]
        worker.process = GuardedProcess(command, log=worker.log)

    async def readiness(self, number: int) -> None:
        """Wait until one takes requests; one that ends before is started again by whoever minds them.

        Raises:
            EnvironmentFailure: it does not; with the last lines of its log.
        """
        worker, ends_at = self.workers[number], time.monotonic() + READY_SECONDS
        while not worker.is_ready:
            if time.monotonic() > ends_at or (self._minding is None and not worker.is_running):
                raise EnvironmentFailure(f"worker {number} takes no requests. Its last lines:\n{_tail(worker.log)}")
            await asyncio.sleep(LOOK_SECONDS)

    async def kill(self, number: int) -> None:
        """End one as a crash would (SIGKILL), and do not start it again."""
        worker = self.workers[number]
        process = self._unwanted(worker)
        if process is not None:
            await asyncio.to_thread(process.kill)

    async def terminate(self, number: int) -> int | None:
        """Tell one to stop (SIGTERM) and return its exit code; None of one that did not run."""
        worker = self.workers[number]
        process = self._unwanted(worker)
        if process is None:
            return None
        if process.exit_code is not None:
            process.kill()  # lets go of its guard
            return None
        code = await asyncio.to_thread(process.end, grace_seconds=STOP_SECONDS)
        self.drained[code] += 1
        if code == KILLED:
            self._say(
                f"worker {number} did not end within {STOP_SECONDS:g} s of SIGTERM; its last lines:\n{_tail(worker.log)}"
            )
        return code

    def freeze(self, number: int) -> None:
        """Stop the process of one where it is (SIGSTOP)."""
        self._signal(number, signal.SIGSTOP)

    def thaw(self, number: int) -> None:
        """Let a frozen one go on."""
        self._signal(number, signal.SIGCONT)

    def _signal(self, number: int, what: signal.Signals) -> None:
        worker = self.workers[number]
        if worker.process is not None and worker.is_running:
            os.kill(worker.process.pid, what)

    def _unwanted(self, worker: Worker) -> GuardedProcess | None:
        process, worker.process = worker.process, None
        return process

    async def _mind(self) -> None:
        """Start again who ended without being told to."""
        while True:
            for worker in self.workers.values():
                if worker.process is not None and not worker.is_running:
                    await self._replace(worker)
            await asyncio.sleep(RESTART_SECONDS)

    async def _replace(self, worker: Worker) -> None:
        process = worker.process
        if process is None or process.exit_code is None:
            return
        self.ended_by_themselves[process.exit_code] += 1
        self._say(f"worker {worker.number} ended by itself with exit code {process.exit_code}; starting another")
        await asyncio.to_thread(process.kill)  # lets go of its guard
        if worker.process is process:  # else it was told to stop meanwhile
            self.launch(worker.number)


def worker_command(
    target: str,
    *,
    bootstrap: str,
    catalogue: Path,
    models_url: str,
    history: Path,
    session_seconds: float,
    drain_seconds: float,
) -> list[str]:
    """What starts a worker of a trial."""
    return [
        *("env", f"MODEL_SERVER_URL={models_url}"),
        *(sys.executable, "-m", "failsoft", "worker", target),
        *("--bootstrap", bootstrap),
        *("--catalogue", str(catalogue)),
        *("--history", str(history)),
        *("--session-timeout", f"{session_seconds:g}s"),
        *("--drain", f"{drain_seconds:g}s"),
    ]


def _text(log: Path) -> str:
    try:
        return log.read_text("utf-8", errors="replace")
    except FileNotFoundError:  # the process has not opened it yet
        return ""


def _tail(log: Path | None) -> str:
    return "\n".join(_text(log).splitlines()[-LAST_LINES:]) if log else ""
