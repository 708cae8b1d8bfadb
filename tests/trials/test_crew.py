"""Worker processes of a fault trial, played by shell scripts."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from failsoft.policy.errors import EnvironmentFailure
from failsoft.trials.faults.crew import KILLED, Crew

SERVES = ["sh", "-c", 'trap "exit 0" TERM; echo "ready: here"; while :; do sleep 0.05; done']
DIES_SOON = ["sh", "-c", 'echo "ready: here"; sleep 0.2; exit 7']
NEVER_READY = ["sh", "-c", "echo sorry; exit 3"]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30.0):
        while not condition():
            await asyncio.sleep(0.02)


async def test_who_ends_by_itself_is_started_again_and_said_to_be(tmp_path: Path):
    said: list[str] = []
    async with Crew([DIES_SOON], folder=tmp_path, say=said.append) as crew:
        await until(lambda: crew.ended_by_themselves[7] >= 2)
        await crew.readiness(1)
    assert "worker 1 ended by itself with exit code 7" in said[0]


async def test_who_is_killed_or_told_to_stop_stays_away_until_launched_again(tmp_path: Path):
    async with Crew([SERVES, SERVES], folder=tmp_path, say=lambda _: None) as crew:
        await crew.kill(1)
        assert await crew.terminate(2) == 0
        await asyncio.sleep(1.0)  # twice as long as it takes to start again who ended by itself
        assert [worker.is_running for worker in crew.workers.values()] == [False, False]
        crew.launch(1)
        await crew.readiness(1)
        assert crew.workers[1].is_ready
    assert crew.ended_by_themselves == {}
    assert crew.drained == {0: 2}


async def test_a_frozen_worker_runs_and_one_that_does_not_end_is_killed_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("failsoft.trials.faults.crew.STOP_SECONDS", 0.5)
    said: list[str] = []
    async with Crew([SERVES], folder=tmp_path, say=said.append) as crew:
        crew.freeze(1)
        assert crew.workers[1].is_running
        assert await crew.terminate(1) == KILLED
    assert "did not end" in said[0]


async def test_what_a_fault_wants_of_its_environment_reaches_the_next_process(tmp_path: Path):
    tells = ["sh", "-c", 'echo "ready: $SKEW"; sleep 60']
    async with Crew([tells], folder=tmp_path, say=lambda _: None) as crew:
        await crew.kill(1)
        crew.workers[1].extra = {"SKEW": "90"}
        crew.launch(1)
        await crew.readiness(1)
        log = crew.workers[1].log
        assert log is not None
        assert "ready: 90" in log.read_text()


async def test_a_worker_that_is_never_ready_ends_the_start_with_its_last_words(tmp_path: Path):
    with pytest.raises(EnvironmentFailure, match="sorry"):
        async with Crew([NEVER_READY], folder=tmp_path, say=lambda _: None):
            pass
