import fcntl
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from failsoft.testing.guarded import GuardedProcess

PARENT = """
import sys, threading
from pathlib import Path
from failsoft.testing.guarded import GuardedProcess

def spawn():
    child = GuardedProcess(["/bin/sh", "-c", sys.argv[2]], log=Path(sys.argv[1]))
    children.append(child)
    print(child.pid, flush=True)

children = []
thread = threading.Thread(target=spawn)
thread.start()
thread.join()
sys.stdin.read()
"""


def start_and_hear(tmp_path: Path, script: str) -> GuardedProcess:
    """Start a shell script that says when it is under way, by closing its end of a pipe (`$W`)."""
    reader, writer = os.pipe()
    command = ["/bin/sh", "-c", f"{script.replace('$W', f'/dev/fd/{writer}')}; exec sleep 600"]
    process = GuardedProcess(command, log=tmp_path / "log", keep_open=[writer])
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert pipe.readline() == "under way\n"
    return process


def test_it_runs_logs_and_ends_in_order(tmp_path):
    process = start_and_hear(tmp_path, "echo spoken; echo under way >$W")
    assert process.exit_code is None
    os.kill(process.pid, 0)
    assert process.end(grace_seconds=10) == 128 + signal.SIGTERM
    assert (tmp_path / "log").read_text() == "spoken\n"


def test_an_end_of_its_own_is_seen_with_its_code(tmp_path):
    process = GuardedProcess(["/bin/sh", "-c", "exit 7"], log=tmp_path / "log")
    process._guard.wait(10)
    assert process.exit_code == 7
    assert process.end(grace_seconds=1) == 7


def test_one_that_ignores_sigterm_is_forced(tmp_path):
    process = start_and_hear(tmp_path, "trap '' TERM; echo under way >$W")
    assert process.end(grace_seconds=0.2) == 128 + signal.SIGKILL


def test_a_kill_ends_it_at_once(tmp_path):
    process = start_and_hear(tmp_path, "echo under way >$W")
    process.kill()
    assert process.exit_code == 128 + signal.SIGKILL


def test_a_lock_that_it_inherited_is_free_as_soon_as_it_is_gone(tmp_path):
    for _ in range(20):
        lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process = GuardedProcess(["/bin/sleep", "600"], log=tmp_path / "log", keep_open=[lock])
        os.close(lock)
        process.kill()


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="watching a process that is not a child needs Linux")
@pytest.mark.parametrize(
    "script",
    [
        pytest.param("exec sleep 600", id="willing"),
        pytest.param("trap '' TERM; while :; do sleep 0.1; done", id="ignores SIGTERM"),
    ],
)
def test_it_outlives_neither_a_killed_parent_nor_ends_with_the_thread_that_started_it(tmp_path, script):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "log"), script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdin
    assert parent.stdout
    with parent.stdin, parent.stdout:
        child = int(parent.stdout.readline())
        watched = os.pidfd_open(child)  # still alive, though the thread that started it has ended
        parent.kill()
        parent.wait()
        assert_ends(watched, within_seconds=15)


def assert_ends(watched: int, *, within_seconds: float) -> None:
    """A pid descriptor becomes readable when its process ends."""
    try:
        assert select.select([watched], [], [], within_seconds)[0], "it is still running"
    finally:
        os.close(watched)
