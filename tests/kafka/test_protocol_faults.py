"""Faults of the protocol, one by one: the cluster answers with an error, and what was accepted still arrives.

On librdkafka's mock cluster, because a real broker cannot be made to answer so when a test wants it.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from failsoft.kafka import private
from failsoft.kafka.connection import Connection
from failsoft.kafka.inbox import Inbox
from failsoft.kafka.outbox import Outbox, OutboxClosed, RecordRefused
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.request import Partition

from .conftest import Listener, log_of, marks, until
from .mock_cluster import Api, Error, MockCluster, mock_cluster

RETRIED = (
    Error.NOT_ENOUGH_REPLICAS,
    Error.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    Error.NOT_LEADER_OR_FOLLOWER,
    Error.REQUEST_TIMED_OUT,
)
NOT_RETRIED = (
    Error.OUT_OF_ORDER_SEQUENCE_NUMBER,
    Error.INVALID_PRODUCER_EPOCH,
    Error.UNKNOWN_PRODUCER_ID,
    Error.TOPIC_AUTHORIZATION_FAILED,
    Error.INVALID_RECORD,
)
BATCH = Partition("batch", 0)


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with mock_cluster(brokers=2) as made:
        yield made


@pytest.fixture
def topic(cluster: MockCluster) -> str:
    cluster.create("results", partitions=2)
    return "results"


@pytest.fixture
async def sender(cluster: MockCluster) -> AsyncIterator[Outbox]:
    outbox = Outbox(Connection(cluster.bootstrap_servers))
    await outbox.start()
    yield outbox
    await outbox.close(timeout_seconds=1.0)


async def send(outbox: Outbox, topic: str, *values: int) -> list[Any]:
    return await asyncio.gather(*(outbox.send(topic, key=b"k", value=b"%d" % n, partition=0) for n in values))


def producer_of(outbox: Outbox) -> Any:
    assert outbox._line is not None
    return outbox._line.producer


@pytest.mark.parametrize("error", RETRIED, ids=lambda error: error.name.lower())
async def test_what_passes_by_itself_costs_no_producer_and_no_repeat(cluster, sender, topic, error):
    cluster.push(Api.PRODUCE, error, error)
    before = producer_of(sender)
    await send(sender, topic, 1)
    assert producer_of(sender) is before
    assert list((await log_of(Connection(cluster.bootstrap_servers), topic)).values()) == [b"1"]


@pytest.mark.parametrize("error", NOT_RETRIED, ids=lambda error: error.name.lower())
async def test_what_leaves_a_hole_in_the_sequence_costs_the_producer_and_no_record(cluster, sender, topic, error):
    await send(sender, topic, 0)
    before = producer_of(sender)
    cluster.push(Api.PRODUCE, error)
    await send(sender, topic, 1, 2, 3)
    assert producer_of(sender) is not before
    assert sender.replaced == 1
    assert set((await log_of(Connection(cluster.bootstrap_servers), topic)).values()) == {b"0", b"1", b"2", b"3"}


async def test_a_record_that_the_broker_has_already_is_acknowledged_without_its_offset(cluster, sender, topic):
    cluster.push(Api.PRODUCE, Error.DUPLICATE_SEQUENCE_NUMBER)
    [acknowledged] = await send(sender, topic, 1)
    assert (acknowledged.offset, acknowledged.appended_at) == (-1, None)
    assert sender.replaced == 0


async def test_a_record_that_is_refused_takes_its_producer_along_and_the_next_one_is_written(cluster, sender, topic):
    await send(sender, topic, 0)
    cluster.push(Api.PRODUCE, Error.MESSAGE_TOO_LARGE)
    with pytest.raises(RecordRefused, match=topic):
        await send(sender, topic, 1)
    await send(sender, topic, 2)
    assert sender.replaced == 1
    assert set((await log_of(Connection(cluster.bootstrap_servers), topic)).values()) == {b"0", b"2"}


async def test_a_partition_without_a_leader_is_waited_for(cluster, sender, topic):
    await send(sender, topic, 0)
    cluster.lead(topic, None)
    waiting = asyncio.create_task(send(sender, topic, 1))
    asked = len(cluster.requests())
    await until(lambda: cluster.requests()[asked:].count(Api.METADATA) >= 2)
    assert not waiting.done()
    cluster.lead(topic, 2)
    await waiting
    await send(sender, topic, 2)
    assert set((await log_of(Connection(cluster.bootstrap_servers), topic)).values()) == {b"0", b"1", b"2"}


async def test_a_leader_that_moves_is_followed_by_the_same_producer(cluster, sender, topic):
    await send(sender, topic, 0)
    for broker in (2, 1, 2):
        cluster.lead(topic, broker)
        await send(sender, topic, broker)
    assert sender.replaced == 0


async def test_brokers_that_are_down_are_waited_for(cluster, sender, topic):
    await send(sender, topic, 0)
    for broker in cluster.brokers:
        cluster.take_down(broker)
    waiting = asyncio.create_task(send(sender, topic, 1))
    await until(lambda: sender.unanswered == 1)
    for broker in cluster.brokers:
        cluster.bring_up(broker)
    await waiting
    assert (sender.unanswered, sender.acknowledged) == (0, 2)


async def test_a_sender_whose_brokers_are_down_closes_and_says_so(cluster, topic):
    outbox = Outbox(Connection(cluster.bootstrap_servers))
    await outbox.start()
    for broker in cluster.brokers:
        cluster.take_down(broker)
    waiting = asyncio.create_task(send(outbox, topic, 1))
    await until(lambda: outbox.unanswered)
    async with asyncio.timeout(10):
        await outbox.close(timeout_seconds=0.5)
    with pytest.raises(OutboxClosed):
        await waiting


async def test_a_producer_that_gets_no_answer_is_replaced_and_its_record_is_sent_again(cluster, topic):
    outbox = Outbox(Connection(cluster.bootstrap_servers), attempt_seconds=1.0, unanswered_seconds=1.0)
    await outbox.start()
    cluster.lead(topic, 1)
    await send(outbox, topic, 0)
    cluster.delay(1, 4.0)  # more than it may take, less than a request's own timeout
    waiting = asyncio.create_task(send(outbox, topic, 1))
    await until(lambda: outbox.replaced)
    cluster.delay(1, 0.0)
    cluster.lead(topic, 2)  # what stands before the delay in a connection still waits for it
    await waiting
    await outbox.close()
    assert set((await log_of(Connection(cluster.bootstrap_servers), topic)).values()) == {b"0", b"1"}


async def test_how_long_a_record_waits_is_told_also_while_the_cluster_is_not_whole(cluster, sender, topic):
    assert sender.waited_seconds == 0
    cluster.push(Api.PRODUCE, *[Error.NOT_ENOUGH_REPLICAS] * 100)
    waiting = asyncio.create_task(send(sender, topic, 1))
    await until(lambda: sender.waited_seconds > 1)
    later = asyncio.create_task(send(sender, topic, 2))
    await until(lambda: sender.unanswered == 2)
    assert sender.waited_seconds > 1, "the oldest counts"
    cluster.forget(Api.PRODUCE)
    await asyncio.gather(waiting, later)
    assert sender.waited_seconds == 0


async def test_a_producer_that_is_replaced_from_outside_loses_nothing(cluster, sender, topic):
    await send(sender, topic, 0)
    cluster.push(Api.PRODUCE, *[Error.NOT_ENOUGH_REPLICAS] * 100)
    before = producer_of(sender)
    waiting = asyncio.create_task(send(sender, topic, 1, 2))
    await until(lambda: sender.unanswered == 2)
    cluster.forget(Api.PRODUCE)
    sender.replace()
    await waiting
    assert producer_of(sender) is not before
    assert set((await log_of(Connection(cluster.bootstrap_servers), topic)).values()) == {b"0", b"1", b"2"}


@pytest.mark.timeout(60)
async def test_a_topic_that_brokers_do_not_know_is_named_and_one_that_appears_meanwhile_is_not(cluster):
    cluster.refuse_topic("gone", Error.UNKNOWN_TOPIC_OR_PARTITION)
    outbox = Outbox(Connection(cluster.bootstrap_servers), missing_seconds=0.0)
    patient = Outbox(Connection(cluster.bootstrap_servers))
    await outbox.start()
    await patient.start()
    waiting = asyncio.create_task(send(patient, "gone", 1))
    with pytest.raises(ConfigurationError, match=r"gone; run `failsoft topics apply`"):
        await send(outbox, "gone", 1)
    assert outbox.unanswered == 0
    cluster.refuse_topic("gone", None)
    await waiting
    await asyncio.gather(outbox.close(), patient.close())


@pytest.mark.timeout(60)
async def test_an_outage_is_not_taken_for_a_topic_that_is_missing(cluster, topic):
    outbox = Outbox(Connection(cluster.bootstrap_servers), missing_seconds=0.0)
    await outbox.start()
    producer = producer_of(outbox)
    for broker in cluster.brokers:
        cluster.take_down(broker)
    with pytest.raises(TimeoutError):  # what aiokafka says after 5 s is heard and waited out
        await asyncio.wait_for(send(outbox, topic, 1), 9)
    assert producer_of(outbox) is producer
    await outbox.close(timeout_seconds=0.5)


class Member:
    """One stage on the mock cluster, with all that is sent to it."""

    def __init__(self, cluster: MockCluster) -> None:
        self.cluster = cluster
        self.pipeline = f"test-{uuid.uuid4().hex[:8]}"
        self.topics = {"interactive": f"{self.pipeline}.interactive", "batch": f"{self.pipeline}.batch"}
        for topic in self.topics.values():
            cluster.create(topic)
        self.listener = Listener()
        self.inbox = Inbox(
            Connection(cluster.bootstrap_servers),
            pipeline=self.pipeline,
            stage="stage",
            topics=self.topics,
            listener=self.listener,
            session_timeout_seconds=2.0,
            heartbeat_seconds=0.2,
        )

    async def join(self) -> None:
        await self.inbox.start()
        await until(lambda: len(self.listener.owned) == 2)

    @property
    def fence(self) -> private.Fence | None:
        return self.inbox._membership._fence

    async def commit(self, offset: int) -> bool:
        return await self.inbox.commit(marks({BATCH: (self.listener.owned[BATCH], offset)})) == {BATCH}


@pytest.fixture
async def member(cluster: MockCluster) -> AsyncIterator[Member]:
    member = Member(cluster)
    await member.join()
    yield member
    await member.inbox.stop()


@pytest.mark.parametrize("error", [Error.COORDINATOR_LOAD_IN_PROGRESS, Error.REBALANCE_IN_PROGRESS])
async def test_a_heartbeat_that_is_refused_for_now_leads_back_with_all_that_was_owned(cluster, member, error):
    before, fence = dict(member.listener.owned), member.fence
    cluster.push(Api.HEARTBEAT, error)
    await until(lambda: member.fence != fence)
    assert fence is not None
    assert member.fence is not None
    assert member.fence.follows(fence)
    assert member.listener.owned == before
    assert member.listener.calls == ["assigned"]


@pytest.mark.parametrize("error", [Error.UNKNOWN_MEMBER_ID, Error.ILLEGAL_GENERATION])
async def test_a_member_that_was_evicted_gains_everything_anew(cluster, member, error):
    before = dict(member.listener.owned)
    cluster.push(Api.HEARTBEAT, error)
    await until(lambda: len(member.listener.calls) == 3)
    assert member.listener.calls == ["assigned", "revoked", "assigned"]
    assert not set(before.values()) & set(member.listener.owned.values())


@pytest.mark.parametrize(
    "error",
    [
        Error.COORDINATOR_LOAD_IN_PROGRESS,
        Error.REBALANCE_IN_PROGRESS,
        Error.UNKNOWN_MEMBER_ID,
        Error.ILLEGAL_GENERATION,
    ],
)
async def test_a_commit_that_is_refused_is_a_value_and_no_error(cluster, member, error):
    assert await member.commit(1)
    cluster.push(Api.OFFSET_COMMIT, error)
    assert not await member.commit(2)
    assert await member.commit(2)


async def test_a_coordinator_that_has_moved_is_found_again_and_takes_the_commit(cluster, member):
    asked = cluster.requests().count(Api.FIND_COORDINATOR)
    cluster.push(Api.OFFSET_COMMIT, Error.NOT_COORDINATOR)
    assert not await member.commit(1)
    async with asyncio.timeout(10):
        while not await member.commit(1):
            await asyncio.sleep(0.05)
    assert cluster.requests().count(Api.FIND_COORDINATOR) > asked


@pytest.mark.parametrize("error", [Error.OFFSET_OUT_OF_RANGE, Error.NOT_LEADER_OR_FOLLOWER])
async def test_a_fetch_that_is_refused_is_repeated_and_nothing_is_skipped(cluster, member, sender, error):
    topic = member.topics["batch"]
    await send(sender, topic, 0)
    await until(lambda: member.listener.offsets(BATCH) == [0])
    cluster.push(Api.FETCH, error)
    await send(sender, topic, 1, 2)
    await until(lambda: len(member.listener.taken) >= 3)
    assert set(member.listener.offsets(BATCH)) == {0, 1, 2}


async def test_a_leader_that_moves_is_followed_by_the_fetcher(cluster, member, sender):
    async def arrived(offset: int) -> None:
        await until(lambda: offset in member.listener.offsets(BATCH))

    for number, broker in enumerate((2, 1, 2)):
        cluster.lead(member.topics["batch"], broker)
        await send(sender, member.topics["batch"], number)
        await arrived(number)
    assert member.listener.offsets(BATCH) == [0, 1, 2]


async def test_a_join_that_is_refused_for_now_is_repeated(cluster):
    member = Member(cluster)
    cluster.push(Api.JOIN_GROUP, Error.COORDINATOR_LOAD_IN_PROGRESS, Error.COORDINATOR_NOT_AVAILABLE)
    cluster.push(Api.SYNC_GROUP, Error.REBALANCE_IN_PROGRESS)
    await member.join()
    assert await member.commit(1)
    await member.inbox.stop()


async def test_positions_are_asked_for_until_group_and_log_answer(cluster):
    member = Member(cluster)
    cluster.push(Api.OFFSET_FETCH, Error.COORDINATOR_LOAD_IN_PROGRESS)
    cluster.push(Api.LIST_OFFSETS, Error.NOT_LEADER_OR_FOLLOWER)
    await member.join()
    assert member.listener.positions == {BATCH: 0, Partition("interactive", 0): 0}
    await member.inbox.stop()


async def test_a_member_whose_brokers_are_down_commits_nothing_and_closes_all_the_same(cluster):
    member = Member(cluster)
    await member.join()
    for broker in cluster.brokers:
        cluster.take_down(broker)
    async with asyncio.timeout(20):
        assert not await member.commit(1)
        await member.inbox.stop()
