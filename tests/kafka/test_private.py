"""The contract with aiokafka's insides. When this fails after an upgrade, read the changed source before changing this."""

import inspect
from types import SimpleNamespace

import aiokafka
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.protocol.commit import OffsetCommitRequest

from failsoft.kafka import private
from failsoft.kafka.clients import close_consumer, connected_consumer
from failsoft.kafka.connection import Connection


def test_aiokafka_is_the_version_whose_source_was_read():
    assert aiokafka.__version__ == "0.14.0"


@pytest.mark.kafka
async def test_a_member_has_the_parts_that_are_touched(kafka_bootstrap):
    consumer = await connected_consumer(Connection(kafka_bootstrap), group_id="contract")
    try:
        coordinator, fetcher = consumer._coordinator, consumer._fetcher
        assert (coordinator.generation, coordinator.member_id) == (-1, "")
        assert coordinator.coordinator_id is None or coordinator.coordinator_id >= 0
        assert coordinator.group_id == "contract"
        for name in ("request_rejoin", "coordinator_dead", "reset_generation"):
            assert callable(getattr(coordinator, name))
        assert not coordinator._coordination_task.done()
        assert {"_heartbeat_task", "_commit_refresh_task"} <= vars(coordinator).keys()
        assert not fetcher._fetch_task.done()
        assert fetcher._pending_tasks == set()
        assert "_md_update_fut" in vars(consumer._client)
        assert consumer._closed is False
    finally:
        await close_consumer(consumer)


@pytest.mark.kafka
async def test_a_client_without_group_has_the_parts_that_are_touched(kafka_bootstrap):
    consumer = await connected_consumer(Connection(kafka_bootstrap))
    try:
        assert not consumer._coordinator._reset_committed_task.done()
        consumer.assign([])
        assert consumer._subscription.subscription.assignment.state_value(None) is None
        assert "_topics" in vars(consumer._client)
        assert list(inspect.signature(consumer._client.add_topic).parameters) == ["topic"]
    finally:
        await close_consumer(consumer)


@pytest.mark.kafka
async def test_a_producer_has_the_parts_that_are_touched(kafka_bootstrap):
    producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap, enable_idempotence=True)
    assert not private.sender_is_alive(producer)
    await producer.start()
    assert private.sender_is_alive(producer)
    await private.abandon_producer(producer)
    assert not private.sender_is_alive(producer)


def test_signatures_are_those_that_are_called():
    assert list(inspect.signature(OffsetCommitRequest.__init__).parameters)[1:] == [
        "consumer_group",
        "consumer_group_generation_id",
        "consumer_id",
        "retention_time",
        "topics",
    ]
    assert OffsetCommitRequest.DEFAULT_GENERATION_ID == -1
    assert list(inspect.signature(AIOKafkaConsumer.seek).parameters) == ["self", "partition", "offset"]


@pytest.mark.parametrize(
    ("later", "follows"),
    [
        (private.Fence(5, "a"), True),
        (private.Fence(6, "a"), False),
        (private.Fence(4, "a"), False),
        (private.Fence(5, "b"), False),
    ],
)
def test_only_the_same_member_in_the_next_generation_follows(later, follows):
    assert later.follows(private.Fence(4, "a")) is follows


async def test_a_commit_without_a_known_coordinator_is_an_error_and_not_a_guess():
    consumer = SimpleNamespace(_coordinator=SimpleNamespace(coordinator_id=None))
    with pytest.raises(aiokafka.errors.GroupCoordinatorNotAvailableError):
        await private.fenced_commit(consumer, private.Fence(1, "a"), {})


@pytest.mark.kafka
async def test_closing_a_consumer_that_has_only_just_started_does_not_cancel_the_closer(kafka_bootstrap):
    consumer = await connected_consumer(Connection(kafka_bootstrap))
    await close_consumer(consumer)
    assert consumer._closed
