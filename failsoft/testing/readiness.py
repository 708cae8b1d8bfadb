"""When a broker is ready, and in whose words to say why it is not.

Ready means that it answers a client. Its log is read first: it holds the port that the kernel chose, saves a client
that knocks in vain, and is the only witness when the broker dies.
"""

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from failsoft.kafka.connection import Connection
from failsoft.kafka.probe import cluster_answers
from failsoft.policy.errors import EnvironmentFailure
from failsoft.testing.guarded import GuardedProcess

POLL_SECONDS = 0.05
LAST_LINES = 10

_ADDRESS = re.compile(r"PLAINTEXT: resolved ephemeral port to (\d+)")
_SERVING = "Kafka Server started"

_KNOWN_DEATHS = {
    "Address already in use": "the port is taken: choose another, or 0 for any free one",
    "No space left on device": "the disk is full: make room, or choose another data folder (TMPDIR)",
    "Failed to acquire lock on file": "another Kafka uses this data folder: stop it, or choose another",
    "OutOfMemoryError": "Java ran out of memory: the machine or its container has too little left",
}


def await_ready(process: GuardedProcess, log: Path, *, port: int, timeout_seconds: float) -> int:
    """Wait until the broker answers and return its port.

    Raises:
        EnvironmentFailure: it died, or did not answer in time.
    """
    ends_at = time.monotonic() + timeout_seconds
    while _SERVING not in _text(log):
        require_running(process, log)
        if time.monotonic() > ends_at:
            raise EnvironmentFailure(_explain_silence(log, timeout_seconds))
        time.sleep(POLL_SECONDS)
    address = _ADDRESS.search(_text(log))
    port = int(address[1]) if address else port
    if not answers(f"127.0.0.1:{port}", max(1.0, ends_at - time.monotonic())):
        raise EnvironmentFailure(_explain_silence(log, timeout_seconds))
    return port


def require_running(process: GuardedProcess, log: Path) -> None:
    """Do nothing while the broker runs.

    Raises:
        EnvironmentFailure: it ended by itself; says why.
    """
    if process.exit_code is not None:
        raise EnvironmentFailure(explain_death(_text(log), process.exit_code))


def explain_death(log_text: str, exit_code: int) -> str:
    """Say why a broker ended, from its log; with its last lines where the reason is none we know."""
    for words, reason in _KNOWN_DEATHS.items():
        if words in log_text:
            return f"Kafka ended: {reason}"
    return f"Kafka ended with exit code {exit_code}. Its last lines:\n{_last_lines(log_text)}"


def _explain_silence(log: Path, timeout_seconds: float) -> str:
    return (
        f"Kafka did not answer within {timeout_seconds:g} s: the machine may be overloaded "
        f"(ready_timeout_seconds allows more). Its last lines:\n{_last_lines(_text(log))}"
    )


def answers(bootstrap_servers: str, timeout_seconds: float) -> bool:
    """Ask from a thread with an event loop of its own: the caller may be running inside one already."""
    with ThreadPoolExecutor(1, "probe") as thread:
        return thread.submit(asyncio.run, cluster_answers(Connection(bootstrap_servers), timeout_seconds)).result()


def _text(log: Path) -> str:
    try:
        return log.read_text("utf-8", errors="replace")
    except FileNotFoundError:  # the process has not opened it yet
        return ""


def _last_lines(text: str) -> str:
    """Leave out Java's stack frames: they push the sentence that explains them out of sight."""
    return "\n".join([line for line in text.splitlines() if not line.startswith("\tat ")][-LAST_LINES:])
