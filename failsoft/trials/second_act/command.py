"""``failsoft failover`` as an operator gives it at a prompt: a process of its own, whose words the audience hears.

It cannot outlive the demo for long: its next word finds nobody who listens, and ends it.
"""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Callable, Sequence
from pathlib import Path

from failsoft.trials.second_act.script import Verb

GIVE_UP_SECONDS = 90.0
"""A command that has not ended by then is killed, and has not passed."""
OPERATOR = "demo"
_DETAIL = "  "
"""How the lines begin that tell single figures; those that failed are told all the same."""


class FailoverCommand:
    """Gives one verb after the other.

    Args:
        runbook: its file.
        regions: where the pipeline finds its models, as MODEL_SERVER_URLS.
        options: that every verb takes.
        tell: takes what they say.
    """

    def __init__(self, runbook: Path, *, regions: str, options: Sequence[str], tell: Callable[[str], None]) -> None:
        self._runbook = runbook
        self._environment = os.environ | {"MODEL_SERVER_URLS": regions}
        self._options = (*options, "--by", OPERATOR)
        self._tell = tell

    async def give(self, verb: Verb, *, why: str) -> int:
        """Run a verb to its end and return its exit code; why is kept with the evidence."""
        self._tell(f"$ failsoft failover {verb} {self._runbook.name}")
        words = (sys.executable, "-m", "failsoft", "failover", verb, str(self._runbook), *self._options, "--why", why)
        process = await asyncio.create_subprocess_exec(*words, env=self._environment, stdout=PIPE, stderr=STDOUT)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GIVE_UP_SECONDS):
                    await self._hear(process)
                    await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
            code = await process.wait()
        return code

    async def _hear(self, process: Process) -> None:
        if process.stdout is None:
            raise ValueError("its standard output was not asked for")
        async for raw in process.stdout:
            line = raw.decode("utf-8", errors="replace").rstrip()
            if not line.startswith(_DETAIL) or "FAILED" in line:
                self._tell(f"  {line.strip()}")
