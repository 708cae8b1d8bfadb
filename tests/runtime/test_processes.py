"""A stage whose tier runs in processes. Time is real here: a process has no virtual one."""

import asyncio

import pytest

from failsoft import Constant, Pipeline
from failsoft.policy.outcome import Reason
from failsoft.wire import RequestLine
from failsoft.wire.body import encode_request
from tests.endpoints import in_processes
from tests.runtime.fakes import Stand


def told(do: str) -> bytes:
    return encode_request(RequestLine("1", "/v1/x", {"do": do}))


@pytest.mark.parametrize(
    ("how", "reason"),
    [("crash", Reason.ENDPOINT_ERROR), ("hang in native code", Reason.ENDPOINT_TIMEOUT)],
)
async def test_a_record_whose_call_ends_its_process_is_served_by_the_next_tier(how: str, reason: Reason):
    pipeline = Pipeline("demo")
    stage = pipeline.stage("work", coalesce="off")
    stage.tier("large", runs_in="process", limit=1, expect="50ms")(in_processes.obey)
    stage.tier("sorry", Constant({"content": "sorry"}))
    stand = await Stand.of(pipeline)
    try:
        stand.send(value=told(how), budget_seconds=2.0)
        async with asyncio.timeout(30.0):
            while not stand.outbox.results():
                await asyncio.sleep(0.01)
        (result,) = stand.outbox.results()
        assert (result.tier, result.reason) == ("sorry", reason)
        stand.send("batch", value=told("answer"), budget_seconds=60.0)
        async with asyncio.timeout(60.0):
            while len(stand.outbox.results()) < 2:
                await asyncio.sleep(0.01)
        assert stand.outbox.results()[1].tier == "large"
    finally:
        await stand.runner.close()
