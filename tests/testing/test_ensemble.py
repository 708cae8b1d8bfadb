"""Three brokers: what one of them may do to the others, and to whom."""

import asyncio

import pytest

from failsoft.catalogue import TopicSpec
from failsoft.kafka import Connection, Outbox, operations
from failsoft.kafka.admin import Admin
from failsoft.policy.errors import EnvironmentFailure
from failsoft.testing.ensemble import Ensemble
from failsoft.testing.proxy import CUT, PASS
from failsoft.testing.readiness import answers

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

TOPIC = TopicSpec("kept", 3, 3, {"min.insync.replicas": "2", "message.timestamp.type": "LogAppendTime"})
PATIENCE_SECONDS = 60.0


async def led_otherwise(ensemble: Ensemble, killed: int) -> None:
    """Wait until somebody else leads the controllers, and every partition has another leader."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while ensemble.active_controller() in {killed, None}:
            await asyncio.sleep(0.1)
        while True:
            try:
                led = await operations.leaders(Connection(ensemble.direct), [TOPIC.name])
            except EnvironmentFailure:
                led = {}
            if led and not {killed, -1} & set(led.values()):
                return
            await asyncio.sleep(0.1)


async def in_sync(ensemble: Ensemble) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await operations.lagging(Connection(ensemble.direct), [TOPIC.name]):
            await asyncio.sleep(0.1)


async def test_what_is_acknowledged_survives_the_controller_s_death_and_a_group_that_is_cut_off_is_cut_off_alone():
    async with Ensemble(3, groups=("some", "others")) as ensemble:
        async with Admin(Connection(ensemble.direct)) as admin:
            await admin.create([TOPIC])
        outbox = Outbox(Connection(ensemble.gates["some"].addresses))
        await outbox.start()

        async def send(numbers: range) -> None:
            sends = (outbox.send("kept", key=None, value=b"%d" % n, partition=n % 3) for n in numbers)
            async with asyncio.timeout(PATIENCE_SECONDS):
                await asyncio.gather(*sends)

        await send(range(30))
        killed = ensemble.active_controller()
        assert killed is not None
        await ensemble.kill(killed)
        with pytest.raises(EnvironmentFailure, match="not running"):
            ensemble.require_running(killed)
        await led_otherwise(ensemble, killed)
        await send(range(30, 60))
        await ensemble.start(killed)
        await in_sync(ensemble)
        bounds = await operations.log_bounds(Connection(ensemble.direct), {"kept": 3})
        assert sum(end - first for first, end in bounds.values()) == 60

        await ensemble.gates["some"].behave(CUT)
        assert not await asyncio.to_thread(answers, ensemble.gates["some"].addresses, 1.0)
        assert await asyncio.to_thread(answers, ensemble.gates["others"].addresses, PATIENCE_SECONDS)
        await ensemble.gates["some"].behave(PASS)
        await send(range(60, 90))

        frozen = (await operations.leaders(Connection(ensemble.direct), ["kept"]))["kept", 0]
        ensemble.freeze(frozen)
        try:
            await led_otherwise(ensemble, frozen)
            await send(range(90, 120))
        finally:
            ensemble.thaw(frozen)
        await in_sync(ensemble)
        await outbox.close()
