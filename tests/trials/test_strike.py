"""How a schedule is carried out, with faults that do nothing."""

import asyncio
from pathlib import Path
from typing import cast

import orjson
import pytest

from failsoft.policy.errors import EnvironmentFailure
from failsoft.trials.faults import strike
from failsoft.trials.faults.schedule import Burst, Kind, Planned, Schedule
from failsoft.trials.faults.site import NotHere, Site, Strike
from failsoft.trials.history import FaultHistory

NOWHERE = cast("Site", None)


def a_schedule(*faults: tuple[str, Kind, float]) -> Schedule:
    planned = tuple(Planned(lane, kind, at, 0.0, 1) for lane, kind, at in faults)
    return Schedule(10.0, (Burst(0.0, 7.0),), planned)


async def carried_out(folder: Path, schedule: Schedule, said: list[str]) -> strike.Strikes:
    history = FaultHistory(folder)
    strikes = strike.Strikes(NOWHERE, schedule, history, said.append)
    try:
        await strikes.carry_out()
    finally:
        history.close()
    return strikes


def written(folder: Path) -> list[tuple[str, str]]:
    lines = [orjson.loads(line) for line in (folder / "faults.jsonl").read_bytes().splitlines()]
    kinds = {line["fault"]: line["kind"] for line in lines if line["event"] == "begin"}
    return [(line["event"], line.get("kind") or kinds[line["fault"]]) for line in lines]


async def strikes_at_once(_: Site, fault: Strike) -> None:
    fault.begins("something")
    await asyncio.sleep(0)


async def test_each_fault_is_written_down_before_and_after_in_the_order_of_its_lane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for kind in (Kind.WORKER_KILLED, Kind.WORKER_STOPPED):
        monkeypatch.setitem(strike.STRIKES, kind, strikes_at_once)
    schedule = a_schedule(("workers", Kind.WORKER_STOPPED, 0.0), ("workers", Kind.WORKER_KILLED, 0.01))
    strikes = await carried_out(tmp_path, schedule, [])
    assert written(tmp_path) == [
        ("begin", "worker-stopped"),
        ("end", "worker-stopped"),
        ("begin", "worker-killed"),
        ("end", "worker-killed"),
    ]
    assert strikes.done == {"worker-stopped": 1, "worker-killed": 1}


async def test_a_fault_in_one_lane_does_not_wait_for_another_lane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    other_began = asyncio.Event()

    async def waits(_: Site, fault: Strike) -> None:
        fault.begins("something")
        async with asyncio.timeout(30.0):
            await other_began.wait()

    async def lets_go(_: Site, fault: Strike) -> None:
        fault.begins("something")
        other_began.set()

    monkeypatch.setitem(strike.STRIKES, Kind.WORKER_KILLED, waits)
    monkeypatch.setitem(strike.STRIKES, Kind.MODEL_HANG, lets_go)
    strikes = await carried_out(
        tmp_path, a_schedule(("workers", Kind.WORKER_KILLED, 0.0), ("models", Kind.MODEL_HANG, 0.0)), []
    )
    assert sum(strikes.done.values()) == 2


async def test_what_this_machine_cannot_have_is_skipped_aloud_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def is_not_here(_: Site, __: Strike) -> None:
        raise NotHere("no such disk")

    monkeypatch.setitem(strike.STRIKES, Kind.DISK_FULL, is_not_here)
    said: list[str] = []
    schedule = a_schedule(("brokers", Kind.DISK_FULL, 0.0), ("brokers", Kind.DISK_FULL, 0.0))
    strikes = await carried_out(tmp_path, schedule, said)
    assert strikes.skipped == {"disk-full": "no such disk"}
    assert said == ["disk-full: SKIPPED, no such disk"]
    assert written(tmp_path) == [("skipped", "disk-full")]


async def test_a_fault_that_cannot_begin_is_left_and_one_that_cannot_be_healed_ends_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def finds_nobody(_: Site, __: Strike) -> None:
        raise EnvironmentFailure("nobody leads")

    async def cannot_heal(_: Site, fault: Strike) -> None:
        fault.begins("node 1")
        raise EnvironmentFailure("it does not start again")

    monkeypatch.setitem(strike.STRIKES, Kind.LEADER_KILLED, finds_nobody)
    monkeypatch.setitem(strike.STRIKES, Kind.CONTROLLER_KILLED, cannot_heal)
    schedule = a_schedule(("brokers", Kind.LEADER_KILLED, 0.0), ("brokers", Kind.CONTROLLER_KILLED, 0.0))
    said: list[str] = []
    with pytest.raises(EnvironmentFailure, match="start again"):
        await carried_out(tmp_path, schedule, said)
    assert "nobody leads" in said[0]
    assert written(tmp_path) == [("begin", "controller-killed")]


async def test_what_is_to_be_left_out_is_left_out_aloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(strike.STRIKES, Kind.WORKER_KILLED, strikes_at_once)
    monkeypatch.setitem(strike.STRIKES, Kind.WORKER_STOPPED, strikes_at_once)
    schedule = a_schedule(("workers", Kind.WORKER_STOPPED, 0.0), ("workers", Kind.WORKER_KILLED, 0.0))
    history = FaultHistory(tmp_path)
    strikes = strike.Strikes(NOWHERE, schedule, history, lambda _: None, without=[Kind.WORKER_KILLED])
    await strikes.carry_out()
    history.close()
    assert written(tmp_path) == [("begin", "worker-stopped"), ("end", "worker-stopped"), ("skipped", "worker-killed")]
    assert strikes.skipped == {"worker-killed": "it was to be left out"}
