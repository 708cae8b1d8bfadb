"""A child process that cannot outlive its parent, however the parent dies.

A shell stands between: it starts the child, waits for it, and holds the reading end of a pipe whose writing end only
the parent has. When the parent dies (SIGKILL included) the kernel closes the pipe, and the shell ends the child:
SIGTERM, then SIGKILL after 3 s. This is plain POSIX; Linux's PR_SET_PDEATHSIG fires when the *thread* that spawned
ends, so a broker started in a helper thread died at once.

The child has a session of its own: Ctrl-C reaches the parent only, which then stops the child in its own order.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from failsoft.testing.java import plain_environment

# The guard ends after its watchdog: what the two have inherited, a lock on a folder for one, is free when the guard is gone.
# $1 is the log, the rest the command. Descriptor 3 is the pipe: the standard input of a background job is /dev/null.
_GUARD = """
exec 3<&0
log=$1; shift
"$@" </dev/null >>"$log" 2>&1 3<&- &
child=$!
{
    read -r _ <&3
    kill -TERM $child
    for _ in 1 2 3; do sleep 1; kill -0 $child || exit; done
    kill -KILL $child
} >/dev/null 2>&1 &
watchdog=$!
echo $child
exec >&- 2>/dev/null 3<&-
wait $child
code=$?
kill $watchdog 2>/dev/null
wait $watchdog 2>/dev/null
exit $code
"""


class GuardedProcess:
    """A running command with a guard. Its output is appended to `log`; `keep_open` are descriptors it inherits."""

    def __init__(self, command: Sequence[str], *, log: Path, keep_open: Sequence[int] = ()) -> None:
        """Start it; `pid` is the command's own, not the guard's."""
        self._guard = subprocess.Popen(  # noqa: S603 - our own script and command
            ["/bin/sh", "-c", _GUARD, "guard", str(log), *command],
            env=plain_environment(),
            cwd=log.parent,  # where a crash of Java leaves its report
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=keep_open,
            start_new_session=True,
        )
        assert self._guard.stdout is not None  # noqa: S101 - PIPE was asked for
        with self._guard.stdout as told:
            self.pid = int(told.readline())

    @property
    def exit_code(self) -> int | None:
        """None while it runs; 128 + n after signal n, as shells count."""
        return self._guard.poll()

    def end(self, *, grace_seconds: float) -> int:
        """Ask it to end, force it after the grace, and return its exit code."""
        self._signal(signal.SIGTERM)
        try:
            self._guard.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
        return self._close()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._signal(signal.SIGKILL)
        self._close()

    def _signal(self, number: signal.Signals) -> None:
        if self._guard.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it ended between the two lines
                os.kill(self.pid, number)

    def _close(self) -> int:
        code = self._guard.wait()
        if self._guard.stdin:
            self._guard.stdin.close()
        return code
