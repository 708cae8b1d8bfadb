"""A worker under trial writes down what it does, at the instant it decides, for a checker that believes no worker."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from failsoft import Call, Constant, Output, Pipeline
from failsoft.policy.errors import EnvironmentFailure
from failsoft.runtime.worker_history import WorkerHistory
from failsoft.testing.virtual_time import run_in_virtual_time
from failsoft.wire import Identity
from failsoft.wire.identity import result_id
from tests.runtime.fakes import Stand
from tests.runtime.test_runner import a_pipeline, answers

BROKER_AHEAD_SECONDS = 90.0


async def observed(pipeline: Pipeline, folder: Path) -> Stand:
    stand = await Stand.of(pipeline)
    stand.runner._observer = WorkerHistory(
        folder,
        process="one",
        pipeline="demo",
        stage="work",
        broker_clock=lambda: stand.clock.wall() + BROKER_AHEAD_SECONDS,
    )
    return stand


def lines(folder: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (folder / "worker-one.work.jsonl").read_bytes().splitlines()]


def test_a_record_leaves_its_way_through_the_worker(tmp_path: Path):
    async def main() -> float:
        stand = await observed(a_pipeline(answers), tmp_path)
        stand.send(budget_seconds=5.0)
        sent_at = stand.clock.wall()
        await stand.settle(3.0)
        await stand.runner.close()
        return sent_at

    sent_at = run_in_virtual_time(main())
    written = lines(tmp_path)
    committed = [line for line in written if line["event"] == "committed"]
    told = [line for line in written if line["event"] != "committed"]
    assert [line["event"] for line in told] == ["started", "took", "execute", "ended", "published"]
    _, took, execute, ended, published = told
    place = ("interactive", 0, 0)
    for line in (took, execute, published):
        assert (line["request_class"], line["partition"], line["offset"]) == place
    assert took["id"] == result_id(Identity("/test", "0"))
    assert (execute["tier"], execute["execution"], ended["verdict"]) == ("large", 1, "ok")
    assert ended["call"] == execute["call"]
    assert execute["broker_at"] == pytest.approx(sent_at + BROKER_AHEAD_SECONDS, abs=0.01)
    assert execute["deadline_at"] == pytest.approx(sent_at + BROKER_AHEAD_SECONDS + 5.0, abs=0.01)
    assert written[-1] is committed[-1]
    assert committed[-1]["offsets"] == [["interactive", 0, 1, 1]]
    assert all(line["offsets"] == [["interactive", 0, 0, 1]] for line in committed[:-1])  # that it has been begun


def test_an_opening_stands_behind_the_calls_before_it_and_before_the_probe_after_it(tmp_path: Path):
    is_well = asyncio.Event()

    async def large(_: Call) -> Output:
        await asyncio.sleep(0.1)
        if not is_well.is_set():
            raise ConnectionResetError
        return Output({"by": "large"})

    pipeline = Pipeline("demo")
    stage = pipeline.stage("work")
    stage.tier("large", limit=2, expect="100ms")(large)
    stage.tier("sorry", Constant({"by": "constant"}))

    async def main() -> None:
        stand = await observed(pipeline, tmp_path)
        for _ in range(30):
            stand.send(budget_seconds=2.0)
            await stand.settle(0.2)
        is_well.set()
        for _ in range(40):
            stand.send(budget_seconds=2.0)
            await stand.settle(0.5)
        await stand.runner.close()

    run_in_virtual_time(main())
    written = [line for line in lines(tmp_path) if line["event"] in {"execute", "breaker"}]
    states = [line["state"] for line in written if line["event"] == "breaker"]
    assert states[:2] == ["open", "half_open"]
    assert states[-1] == "closed"
    opening = next(at for at, line in enumerate(written) if line.get("state") == "open")
    assert all(line["event"] == "execute" for line in written[:opening])
    assert [line.get("state", "call") for line in written[opening : opening + 3]] == ["open", "half_open", "call"]


def test_a_history_that_cannot_be_written_ends_the_worker(tmp_path: Path):
    async def main() -> None:
        stand = await observed(a_pipeline(answers), tmp_path)
        observer: Any = stand.runner._observer
        observer.close()  # from here on every write fails, as on a disk that is full
        with pytest.raises(EnvironmentFailure, match="cannot be written"):
            stand.send()
        await stand.runner.close()

    run_in_virtual_time(main())
