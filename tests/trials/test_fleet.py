import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from failsoft.policy.errors import EnvironmentFailure
from failsoft.trials.fleet import Fleet

READY = "echo $$ >> pids; echo ready: here; exec sleep 60"


def fleet_of(script: str, folder: Path, *, size: int = 2) -> Fleet:
    return Fleet(["/bin/sh", "-c", f"cd {folder}; {script}"], size=size, folder=folder)


def pids(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "pids").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_all_are_ready_inside_and_gone_after(tmp_path: Path):
    async with fleet_of(READY, tmp_path) as fleet:
        assert [is_alive(pid) for pid in pids(tmp_path)] == [True, True]
        fleet.require_running()
    assert [is_alive(pid) for pid in pids(tmp_path)] == [False, False]
    assert fleet.exit_codes == [128 + signal.SIGTERM] * 2


async def test_one_that_is_stopped_and_does_not_end_well_is_complained_about(tmp_path: Path):
    script = "trap 'echo half done; exit 4' TERM; echo ready: here; while :; do sleep 0.05; done"
    async with fleet_of(script, tmp_path, size=1) as fleet:
        pass
    assert fleet.exit_codes == [4]
    assert fleet.complaints == [
        "worker 1 was stopped and ended with exit code 4. Its last lines:\nready: here\nhalf done"
    ]


async def test_a_killed_one_is_not_missed_and_can_be_started_again(tmp_path: Path):
    async with fleet_of(READY, tmp_path) as fleet:
        fleet.kill(1)
        fleet.require_running()
        await fleet.start(1)
        assert sorted(map(is_alive, pids(tmp_path))) == [False, True, True]
    assert len(fleet.exit_codes) == 2


async def test_one_that_ends_by_itself_is_reported_with_its_exit_code_and_its_last_words(tmp_path: Path):
    with pytest.raises(EnvironmentFailure, match=r"(?s)worker 1 ended by itself with exit code 7.*no such model"):
        async with fleet_of("echo no such model >&2; exit 7", tmp_path, size=1):
            pass


async def test_where_one_does_not_start_none_stays(tmp_path: Path):
    script = f"if mkdir first 2>/dev/null; then {READY}; fi; until test -s pids; do sleep 0.05; done; exit 1"
    with pytest.raises(EnvironmentFailure, match="ended by itself"):
        async with fleet_of(script, tmp_path):
            pass
    assert [is_alive(pid) for pid in pids(tmp_path)] == [False]


async def test_what_a_process_says_when_it_is_ready_can_be_read(tmp_path: Path):
    command = ["/bin/sh", "-c", "echo warming up; echo URL=http://here; exec sleep 60"]
    async with Fleet(command, size=1, folder=tmp_path, kind="model server", ready="URL=") as fleet:
        assert fleet.said(1) == "http://here"


async def test_a_process_is_called_what_it_is(tmp_path: Path):
    with pytest.raises(EnvironmentFailure, match="model server 1 ended by itself with exit code 7"):
        async with Fleet(["/bin/sh", "-c", "exit 7"], size=1, folder=tmp_path, kind="model server", ready="URL="):
            pass


async def test_workers_find_what_is_in_the_directory_that_the_trial_was_started_in(tmp_path: Path):
    script = f"pwd > {tmp_path}/where; echo ready: here; exec sleep 60"
    async with Fleet(["/bin/sh", "-c", script], size=1, folder=tmp_path):
        assert (tmp_path / "where").read_text().strip() == str(Path.cwd())


async def test_workers_do_not_outlive_a_trial_that_is_killed(tmp_path: Path):
    program = f"""
import asyncio
from pathlib import Path
from failsoft.trials.fleet import Fleet

async def main():
    async with Fleet(["/bin/sh", "-c", "cd {tmp_path}; {READY}"], size=1, folder=Path("{tmp_path}")):
        print("up", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""
    trial = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    assert trial.stdout is not None
    assert await trial.stdout.readline() == b"up\n"
    trial.kill()
    await trial.communicate()
    async with asyncio.timeout(10):
        while is_alive(pids(tmp_path)[0]):
            await asyncio.sleep(0.05)
