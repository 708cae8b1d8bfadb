"""The apps on a real broker: exact whatever is killed, and nobody waits for them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from failsoft.catalogue import streams_group_name
from failsoft.policy.rollup import Place
from failsoft.testing import EmbeddedKafka
from tests.streams.site import Site, a_site, needs_faust

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance, needs_faust]


@pytest.fixture
async def site(kafka_bootstrap: str, tmp_path: Path) -> AsyncIterator[Site]:
    async with a_site(kafka_bootstrap, tmp_path) as made:
        yield made


async def test_every_request_that_was_told_is_counted_once_and_what_is_no_rollup_is_passed_over(site: Site):
    topic, headers = f"{site.pipeline}.outcomes", [("ce_type", b"failsoft.rollup.v1")]
    await site.outbox.send(topic, key=None, value=b"{", headers=headers)
    await site.outbox.send(topic, key=None, value=b"", headers=[("ce_type", b"failsoft.clockprobe.v1")])
    await site.tell_for(1.0)
    app = await site.start("degradation")
    await site.tell_for(1.0)
    await site.all_is_counted()
    assert app.log.read_text().count("malformed_rollup") == 1
    assert await app.stop() == 0


async def test_an_app_that_is_killed_twice_under_load_counts_exactly(site: Site):
    telling = asyncio.create_task(site.tell_for(12.0))
    for _ in range(2):
        app = await site.start("degradation")
        await app.assigned()
        await asyncio.sleep(1.7)
        await app.kill()
    await site.start("degradation")
    await telling
    await site.all_is_counted()


async def test_one_that_stands_by_takes_over_and_partitions_that_move_are_counted_exactly(site: Site):
    telling = asyncio.create_task(site.tell_for(10.0))
    first = await site.start("degradation")
    await first.assigned()
    second = await site.start("degradation")
    await second.assigned()
    await asyncio.sleep(1.5)
    assert await first.stop() == 0
    await telling
    await site.all_is_counted()


async def test_one_that_was_frozen_while_another_took_over_spoils_nothing_when_it_wakes(site: Site):
    frozen = await site.start("degradation")
    await frozen.assigned()
    second = await site.start("degradation")
    await second.assigned()
    telling = asyncio.create_task(site.tell_for(12.0))
    await asyncio.sleep(1.5)
    frozen.freeze()
    await asyncio.sleep(10.0)
    frozen.wake()
    await telling
    await site.all_is_counted()


@pytest.mark.timeout(180)
async def test_an_app_outlives_its_broker_and_counts_exactly(tmp_path: Path):
    with EmbeddedKafka() as kafka:
        async with a_site(kafka.bootstrap_servers, tmp_path) as site:
            app = await site.start("degradation")
            await app.assigned()
            await site.tell_for(2.0)
            kafka.kill()
            telling = asyncio.create_task(site.tell_for(3.0))
            await asyncio.sleep(2.0)
            await asyncio.to_thread(kafka.restart)
            await telling
            await site.all_is_counted()
            assert app.process.returncode is None, "it is the same process"


async def test_the_ledger_that_was_emptied_is_the_same_when_all_rollups_are_read_again(site: Site):
    first = await site.start("degradation")
    await site.tell_for(2.0)
    await site.all_is_counted()
    before = {key: record.value for key, record in (await site.model("degradation")).items()}
    assert await first.stop() == 0
    await empty(site, "degradation")
    assert await site.model("degradation") == {}
    await site.start("degradation")
    await site.all_is_counted()
    assert {key: record.value for key, record in (await site.model("degradation")).items()} == before


async def test_reading_all_rollups_again_changes_nothing_where_the_ledger_stands(site: Site):
    first = await site.start("degradation")
    await site.tell_for(2.0)
    await site.all_is_counted()
    assert await first.stop() == 0
    await reset_offsets(site, "degradation")
    second = await site.start("degradation")
    await second.assigned()
    await site.tell_for(1.0)
    await site.all_is_counted()


async def test_the_fleets_latency_is_what_all_workers_told_and_is_kept_over_a_crash(site: Site):
    app = await site.start("latency")
    await site.tell_for(2.0)
    place = Place("work", "large", "")
    async with asyncio.timeout(50.0):
        while not (found := await site.profiles()) or found[place].samples != 40:
            await asyncio.sleep(0.3)
    assert found.keys() == {place, Place("find", "large", "")}
    assert found[place].answers.mean() == pytest.approx(0.2, rel=0.02)
    await app.kill()
    await site.start("latency")
    await site.tell()
    async with asyncio.timeout(50.0):
        while (await site.profiles())[place].samples < 41:
            await asyncio.sleep(0.3)


async def empty(site: Site, app: str) -> None:
    """As an operator would: delete the records, and set the group back."""
    client = AIOKafkaAdminClient(bootstrap_servers=site.connection.bootstrap_servers)
    await client.start()
    try:
        await client.delete_records({TopicPartition(f"{site.pipeline}.{app}", 0): RecordsToDelete(before_offset=-1)})
    finally:
        await client.close()
    await reset_offsets(site, app)


async def reset_offsets(site: Site, app: str) -> None:
    """Set the group back to the beginning, as `kafka-consumer-groups --reset-offsets` does."""
    group = streams_group_name(site.pipeline, app)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=site.connection.bootstrap_servers, group_id=group, enable_auto_commit=False
    )
    await consumer.start()
    try:
        places = [TopicPartition(f"{site.pipeline}.outcomes", number) for number in (0, 1)]
        consumer.assign(places)
        await consumer.commit(dict.fromkeys(places, 0))
    finally:
        await consumer.stop()
