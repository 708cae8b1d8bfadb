"""A worker tells once a second what has happened, adds up while nobody listens, and lets nothing wait for it."""

import asyncio

import pytest

from failsoft import Call, Constant, Output, Pipeline
from failsoft.kafka import OutboxClosed, RecordRefused
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.rollup import Kind, Place, RollUp
from failsoft.runtime.rollups import LAST_SECONDS, RollUps
from failsoft.wire.rollup import decode_rollup
from tests.runtime.fakes import Stand
from tests.runtime.test_runner import in_virtual_time

SERVED = Kind("interactive", 1, Reason.NONE, Outcome.OK)
EXPIRED = Kind("interactive", None, Reason.DEADLINE_PASSED, Outcome.EXPIRED)


def a_pipeline() -> Pipeline:
    pipeline = Pipeline("demo")
    stage = pipeline.stage("work", coalesce="off")

    @stage.tier("large", limit=2, expect="200ms")
    async def large(_: Call) -> Output:
        await asyncio.sleep(0.2)
        return Output({})

    stage.tier("sorry", Constant({}))
    return pipeline


async def a_stand() -> tuple[Stand, RollUps]:
    stand = await Stand.of(a_pipeline())
    rollups = RollUps(pipeline="demo", process="p", take=stand.runner.take_rollup, outbox=stand.outbox)
    rollups.start()
    return stand, rollups


def told(stand: Stand) -> list[RollUp]:
    records = [(value, headers) for topic, _, value, headers in stand.outbox.sent if topic == "demo.outcomes"]
    return [rollup for record in records if (rollup := decode_rollup(*record)) is not None]


def keys(stand: Stand) -> list[bytes | None]:
    return [key for topic, key, _, _ in stand.outbox.sent if topic == "demo.outcomes"]


@in_virtual_time
async def test_a_second_is_one_record_however_many_requests_it_had():
    stand, rollups = await a_stand()
    for _ in range(4):
        stand.send()
    stand.send(budget_seconds=-1.0)
    await stand.settle(1.5)
    [rollup] = told(stand)
    assert (rollup.stage, keys(stand)) == ("work", [b"work"])
    assert rollup.endings == {SERVED: 4, EXPIRED: 1}
    [(place, profile)] = rollup.latency.items()
    assert place == Place("work", "large", "")
    assert (profile.answers.count, profile.cut.count) == (4, 0)
    await rollups.close()


@in_virtual_time
async def test_a_second_without_anything_is_none():
    stand, rollups = await a_stand()
    await stand.settle(10.0)
    assert told(stand) == []
    await rollups.close()


@in_virtual_time
async def test_while_no_broker_answers_it_adds_up_and_no_request_waits():
    stand, rollups = await a_stand()
    original = stand.outbox.send
    away = asyncio.Event()

    async def send(topic, **record):
        if topic == "demo.outcomes":
            await away.wait()
        return await original(topic, **record)

    stand.outbox.send = send  # type: ignore[method-assign]  # one topic is away
    for _ in range(30):
        stand.send()
        await stand.settle(1.0)
    assert len(stand.outbox.results()) == 30
    assert told(stand) == []
    away.set()
    await stand.settle(2.0)
    assert len(told(stand)) == 2, "the one under way, and all that came since"
    assert sum(rollup.endings[SERVED] for rollup in told(stand)) == 30
    await rollups.close()


@pytest.mark.parametrize("error", [RecordRefused("too large"), ConfigurationError("no topic demo.outcomes")], ids=repr)
def test_what_its_topic_does_not_take_is_dropped_and_it_goes_on(error):
    @in_virtual_time
    async def scene() -> None:
        stand, rollups = await a_stand()
        stand.send()
        await stand.settle(0.5)
        stand.outbox.refuse = [error]
        await stand.settle(1.0)
        stand.send()
        await stand.settle(1.0)
        assert [rollup.endings for rollup in told(stand)] == [{SERVED: 1}]
        await rollups.close()

    scene()


@in_virtual_time
async def test_what_is_left_is_told_at_the_end():
    stand, rollups = await a_stand()
    stand.send()
    await stand.settle(0.3)
    await rollups.close()
    assert [rollup.endings for rollup in told(stand)] == [{SERVED: 1}]


@in_virtual_time
async def test_the_end_waits_half_a_second_for_a_broker_and_no_longer():
    stand, rollups = await a_stand()
    stand.send()
    await stand.settle(0.3)
    stand.outbox.gate.clear()
    began = asyncio.get_running_loop().time()
    await rollups.close()
    assert asyncio.get_running_loop().time() - began <= LAST_SECONDS + 0.01


@in_virtual_time
async def test_it_ends_when_the_outbox_is_closed():
    stand, rollups = await a_stand()
    stand.send()
    await stand.settle(0.5)
    stand.outbox.refuse = [OutboxClosed("closed")]
    async with asyncio.timeout(5.0):
        await rollups.failed()
