"""Traps of aiokafka that no other test springs: docs/aiokafka.md names each, and the test that holds our answer."""

import ast
import asyncio
import uuid
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from failsoft.kafka import membership, private
from failsoft.kafka.outbox import Outbox
from failsoft.kafka.results import ResultReader

from .conftest import Listener, create_topics, until

TREES = {
    path.stem: ast.parse(path.read_text()) for path in (Path(__file__).parents[2] / "failsoft" / "kafka").glob("*.py")
}
"""All that may import aiokafka, by a rule of dependency."""
NODES = [(module, node) for module, tree in TREES.items() for node in ast.walk(tree)]
FORBIDDEN = {
    "A13": {"value_deserializer", "key_deserializer", "value_serializer", "key_serializer"},
    "A21": {"transactional_id", "begin_transaction", "commit_transaction", "send_offsets_to_transaction"},
    "A24": {"group_instance_id"},
}


def called(name: str) -> list[tuple[str, ast.Call]]:
    """Every call of a method of this name, with its module."""
    return [
        (module, node)
        for module, node in NODES
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == name
    ]


def words() -> set[str | None]:
    """Every keyword, attribute and text in the sources."""
    said: set[str | None] = {node.arg for _, node in NODES if isinstance(node, ast.keyword)}
    said |= {node.attr for _, node in NODES if isinstance(node, ast.Attribute)}
    return said | {str(node.value) for _, node in NODES if isinstance(node, ast.Constant)}


@pytest.mark.parametrize("trap", FORBIDDEN)
def test_what_must_not_be_used_is_not_used(trap):
    assert "enable_auto_commit" in words(), "the sources are not read"
    assert not FORBIDDEN[trap] & words()


def test_no_read_names_partitions_since_an_empty_list_would_mean_all():
    reads = called("getmany")
    assert reads
    assert not [module for module, call in reads if call.args]


def test_nothing_is_paused_but_the_member_that_fetches_nothing():
    assert {module for module, call in called("pause") if call.args} == {"membership"}


def test_no_consumer_unsubscribes_since_reading_from_it_would_wait_for_ever():
    assert not called("unsubscribe")


def test_a_join_has_more_time_than_the_group_may_take_to_answer_it():
    assert membership.REQUEST_SECONDS >= membership.REBALANCE_SECONDS + 10
    assert membership.ILL_SECONDS >= membership.REQUEST_SECONDS


@pytest.mark.kafka
async def test_the_producer_asks_for_all_replicas_and_numbers_its_batches(connection):
    outbox = Outbox(connection)
    await outbox.start()
    assert outbox._line is not None
    producer = outbox._line.producer
    assert producer._sender._acks == -1
    assert producer._txn_manager is not None
    assert producer._txn_manager.transactional_id is None
    await outbox.close()


@pytest.mark.kafka
async def test_a_member_offers_one_assignor_so_that_it_joins_once(new_stage):
    stage, listener = await new_stage(1), Listener()
    inbox = await stage.join(listener)
    assert len(inbox._membership._consumer._coordinator._assignors) == 1
    await inbox.stop()


@pytest.mark.kafka
async def test_a_member_whose_class_is_not_read_for_longer_than_its_poll_interval_stays(new_stage):
    stage, listener = await new_stage(1), Listener(rooms={"batch": 0, "interactive": 0})
    inbox = await stage.join(listener)
    await until(lambda: listener.owned.keys() == stage.everything)
    coordinator = inbox._membership._consumer._coordinator
    coordinator._max_poll_interval = 1.5  # our poll comes every second
    before, turns = private.fence_of(inbox._membership._consumer), inbox._membership.turns
    await until(lambda: inbox._membership.turns >= turns + 4)
    assert private.fence_of(inbox._membership._consumer) == before
    assert listener.calls == ["assigned"]
    inbox._tasks[0].cancel()  # the poller: without it the member leaves, so the interval was in force
    inbox._is_stopping = True
    await until(lambda: private.fence_of(inbox._membership._consumer).generation < 0)


@pytest.mark.kafka
async def test_records_go_on_coming_while_the_group_waits_for_a_dead_member(new_stage, outbox):
    stage, first, second = await new_stage(2), Listener(), Listener()
    inbox = await stage.join(first)
    await until(lambda: first.owned.keys() == stage.everything)
    other = await stage.join(second)
    await until(lambda: len(second.owned) == 2)
    await other.stop(leave=False)
    member, before = inbox._membership._consumer, private.fence_of(inbox._membership._consumer)
    private.request_rejoin(member)
    await until(lambda: member._coordinator._performed_join_prepare)
    [kept] = [partition for partition in first.owned if partition.request_class == "batch"]
    await outbox.send(stage.topics["batch"], key=None, value=b"now", partition=kept.number)
    await until(lambda: first.offsets(kept) == [0])
    assert private.fence_of(member) == before, "the join ended before the record came: nothing was shown"


@pytest.mark.kafka
async def test_a_record_that_is_larger_than_a_fetch_comes_whole(new_stage, outbox):
    stage, listener = await new_stage(1), Listener()
    await outbox.send(stage.topics["batch"], key=None, value=b"x" * 1_000_000)
    await outbox.send(stage.topics["batch"], key=None, value=b"next")
    await stage.join(listener)
    await until(lambda: len(listener.taken) == 2)
    assert [len(fetched.value or b"") for fetched in listener.taken] == [1_000_000, 4]


@pytest.mark.kafka
@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_what_others_have_compressed_is_read(new_stage, connection, codec):
    stage, listener = await new_stage(1), Listener()
    producer = AIOKafkaProducer(bootstrap_servers=connection.bootstrap_servers, compression_type=codec)
    await producer.start()
    await producer.send_and_wait(stage.topics["batch"], b"x" * 10_000)
    await producer.stop()
    await stage.join(listener)
    await until(lambda: listener.taken)
    assert listener.taken[0].value == b"x" * 10_000


@pytest.mark.kafka
@pytest.mark.parametrize("is_committed", [True, False])
async def test_reading_to_the_end_ends_behind_the_marker_of_a_transaction(connection, is_committed):
    topic = f"results-{uuid.uuid4().hex[:8]}"
    await create_topics(connection.bootstrap_servers, {topic: 1})
    producer = AIOKafkaProducer(bootstrap_servers=connection.bootstrap_servers, transactional_id=topic)
    await producer.start()
    await producer.begin_transaction()
    await producer.send_and_wait(topic, b"v", key=b"k")
    await (producer.commit_transaction() if is_committed else producer.abort_transaction())
    await producer.stop()
    reader = ResultReader(connection, topic, start="beginning", until_end=True)
    await reader.start()
    async with asyncio.timeout(20):
        assert [record.key async for record in reader.records()] == [b"k"]
    await reader.stop()


@pytest.mark.kafka
async def test_two_members_of_one_process_remember_each_their_own(new_stage):
    stage, first, second = await new_stage(4), Listener(), Listener()
    inboxes = [await stage.join(first), await stage.join(second)]
    await until(lambda: len(first.owned) == len(second.owned) == 4)
    held = [inbox._membership._consumer._coordinator._assignors[0]._held for inbox in inboxes]
    assert held == [frozenset(partition.number for partition in listener.owned) for listener in (first, second)]
