"""Failover as an operator does it, on a real broker: no request notices, and whatever ends the command, the route ends well."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from failsoft.wire import Result
from tests.failover.scene import Scene, scene, sick, well
from tests.faults.fleet import WHOLE

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance, pytest.mark.timeout(400)]

HEARD_SECONDS = 1.0
"""In which every worker hears a word on a route: a view reads within a tenth of a second, and the machine is loaded."""

TRIES = 3
"""The breaker that opened when the target failed is half open until calls come again, and a run that meets it goes back."""


def failures(ends: Mapping[str, Result]) -> list[str]:
    return [id_ for id_, end in ends.items() if not end.is_ok]


def breaks_at(line: str, made: Scene) -> None:
    """The target fails as soon as a tenth has gone over."""
    if line.startswith("10% of"):
        sick(made.us)


async def test_from_execute_to_all_in_the_other_region_no_request_fails(
    kafka_bootstrap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    async with scene(kafka_bootstrap, tmp_path) as made:
        code, said = await made.command("execute")
        assert (code, "never drilled" in said) == (2, True), said

        code, said = await made.command("drill", "--by", "ann")
        assert code == 0, said
        began_at = time.time()
        code, said = await made.command("execute", "--by", "ann", "--why", "maintenance in eu")
        assert code == 0, said
        over_at = time.time() + HEARD_SECONDS
        await asyncio.sleep(over_at + 2 - time.time())

        ends = await made.ends()
        assert failures(ends) == []
        moving = made.regions(ends, since=began_at, until=over_at)
        assert moving["eu"] > 0
        assert moving["us"] > 0
        assert made.regions(ends, since=over_at).keys() == {"us"}

        status = await made.status()
        assert status["routes"] == {"work/large": "all in us"}
        drill, move = status["runs"]
        assert (drill["kind"], drill["verdict"], drill["by"], drill["share"]) == ("drill", "passed", "ann", 0.0)
        assert (move["verdict"], move["why"], move["share"]) == ("passed", "maintenance in eu", 1.0)
        assert move["runbook_hash"] == drill["runbook_hash"]
        assert {each["check"] for each in move["findings"]} == {
            "reachable", "breakers", "agreement", "p95", "capacity", "served", "arrived",
        }  # fmt: skip

        code, said = await made.command("rollback", "--why", "maintenance is over")
        assert code == 0, said
        back_at = time.time() + HEARD_SECONDS
        await asyncio.sleep(back_at + 1 - time.time())
        ends = await made.ends()
        assert made.regions(ends, since=back_at).keys() == {"eu"}
        assert failures(ends) == []


async def test_a_region_that_fails_is_left_along_the_drilled_path_and_one_that_fails_on_the_way_is_not_gone_to(
    kafka_bootstrap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    async with scene(kafka_bootstrap, tmp_path) as made:
        code, said = await made.command("drill")
        assert code == 0, said

        # The target fails at 10 %: what has gone over comes back by itself.
        code, said = await made.command("execute", on_line=lambda line: breaks_at(line, made))
        assert code == 1, said
        assert "0% of work/large to us, the rest to eu" in said
        assert "FAILED" in said
        assert (await made.status())["routes"] == {"work/large": "all in eu"}

        # The origin fails: its answers are known from the drill.
        well(made.us)
        sick(made.eu)
        for _ in range(TRIES):
            code, said = await made.command("execute", "--why", "eu fails")
            if "breakers 1, at most 0: FAILED" not in said:
                break
        assert code == 0, said
        over_at = time.time() + HEARD_SECONDS
        await asyncio.sleep(over_at + 2 - time.time())
        ends = await made.ends()
        assert failures(ends) == []
        assert made.regions(ends, since=over_at).keys() == {"us"}


KILLS = [("50% of", "resume", 1.0), ("1% of", "resume", 1.0), ("100% of", "rollback", 0.0)]


@pytest.mark.parametrize("kill", KILLS if WHOLE else KILLS[:1], ids=lambda kill: f"{kill[0]}-{kill[1]}")
async def test_a_command_that_is_killed_is_carried_on_or_taken_back(
    kafka_bootstrap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: tuple[str, str, float]
):
    kill_at, then, share = kill
    monkeypatch.chdir(tmp_path)
    async with scene(kafka_bootstrap, tmp_path) as made:
        code, said = await made.command("drill")
        assert code == 0, said
        code, said = await made.command("execute", "--by", "ann", kill_at=kill_at)
        assert code == -9, said
        code, said = await made.command("execute", "--by", "bob", "--force", "--why", "mine")
        assert (code, "ann has a run of eu-us open" in said) == (2, True), said
        code, said = await made.command(then, "--by", "bob")
        assert code == 0, said
        runs = (await made.status())["runs"]
        assert (runs[-1]["phase"], runs[-1]["by"], runs[-1]["share"]) == ("ended", "bob", share)
        assert failures(await made.ends()) == []
