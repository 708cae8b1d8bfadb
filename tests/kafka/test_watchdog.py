"""The watchdog over a real inbox and outbox: what it rebuilds, what it ends, and what it leaves alone."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from failsoft.kafka.connection import Connection
from failsoft.kafka.inbox import Inbox
from failsoft.kafka.outbox import Outbox
from failsoft.kafka.probe import cluster_is_whole
from failsoft.policy.errors import WorkerStuck
from failsoft.policy.request import Partition
from failsoft.policy.watchdog import WatchdogSettings
from failsoft.runtime.metrics import Metrics
from failsoft.runtime.watchdog import Watchdog

from .conftest import Listener, marks, until
from .mock_cluster import Api, Error, MockCluster, mock_cluster

BATCH = Partition("batch", 0)
BOUNDS = WatchdogSettings(rebuild_seconds=9.0, exit_seconds=20.0)
"""Above what a gain may wait for its first commit (five seconds), or that wait would pass for a rest."""
pytestmark = pytest.mark.timeout(90)


class Worker:
    """Inbox, outbox and watchdog of one stage."""

    def __init__(self, cluster: MockCluster) -> None:
        self.cluster = cluster
        self.connection = Connection(cluster.bootstrap_servers)
        self.topic = f"{uuid.uuid4().hex[:8]}.batch"
        self.listener = Listener()
        self.outbox = Outbox(self.connection)
        self.inbox = Inbox(
            self.connection,
            pipeline=self.topic,
            stage="stage",
            topics={"batch": self.topic},
            listener=self.listener,
            session_timeout_seconds=2.0,
            heartbeat_seconds=0.2,
        )
        self.metrics = Metrics()
        self.watchdog = Watchdog(self.metrics, is_cluster_whole=self.is_whole)
        self.watchdog.watch([self.outbox.duty()], BOUNDS)
        self.watchdog.watch(self.inbox.duties(), BOUNDS, stage="stage")

    async def is_whole(self) -> bool:
        return await cluster_is_whole(self.connection, [self.topic], 3.0)

    async def start(self) -> None:
        self.cluster.create(self.topic)
        await self.outbox.start()
        await self.inbox.start()
        await until(lambda: BATCH in self.listener.owned)

    async def stop(self) -> None:
        await asyncio.gather(self.inbox.stop(), self.outbox.close(timeout_seconds=0.5))

    async def commit_for_ever(self) -> None:
        while True:
            if BATCH in self.listener.owned:
                await self.inbox.commit(marks({BATCH: (self.listener.owned[BATCH], 1)}))
            await asyncio.sleep(0.1)

    def rebuilds(self, duty: str, *, stage: str = "stage") -> float | None:
        labels = {"stage": stage, "duty": duty}
        return self.metrics.registry.get_sample_value("failsoft_watchdog_rebuilds_total", labels)


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with mock_cluster(brokers=2) as made:
        yield made


@pytest.fixture
async def worker(cluster: MockCluster) -> AsyncIterator[Worker]:
    made = Worker(cluster)
    await made.start()
    yield made
    await made.stop()


async def test_commits_that_are_never_taken_cost_the_membership_and_then_the_worker(cluster, worker):
    member = worker.inbox._membership._consumer
    cluster.push(Api.OFFSET_COMMIT, *[Error.COORDINATOR_LOAD_IN_PROGRESS] * 10_000)
    committing = asyncio.create_task(worker.commit_for_ever())
    with pytest.raises(WorkerStuck, match="no commit was taken although there is something to commit"):
        await worker.watchdog.run()
    committing.cancel()
    assert worker.rebuilds("commit") == 1.0
    assert worker.inbox._membership._consumer is not member


async def test_a_producer_that_nothing_heals_costs_the_producer_and_then_the_worker(cluster, worker):
    cluster.push(Api.PRODUCE, *[Error.NOT_ENOUGH_REPLICAS] * 10_000)
    sending = asyncio.create_task(worker.outbox.send(worker.topic, key=b"k", value=b"v"))
    with pytest.raises(WorkerStuck, match="no record was acknowledged although some are being sent"):
        await worker.watchdog.run()
    sending.cancel()
    assert worker.rebuilds("send", stage="") == 1.0
    assert worker.outbox.replaced >= 1


async def test_a_fetcher_that_is_given_up_goes_on_with_a_new_client_from_where_it_was(worker):
    await worker.outbox.send(worker.topic, key=b"k", value=b"0")
    await until(lambda: worker.listener.offsets(BATCH) == [0])
    fetcher = worker.inbox._fetchers["batch"]
    client = fetcher._consumer
    fetcher.give_up()
    await until(lambda: fetcher._consumer is not client)
    await worker.outbox.send(worker.topic, key=b"k", value=b"1")
    await until(lambda: worker.listener.offsets(BATCH) == [0, 1])


async def test_an_outage_longer_than_the_bounds_ends_nothing(cluster, worker):
    watching = asyncio.create_task(worker.watchdog.run())
    sending = asyncio.create_task(worker.outbox.send(worker.topic, key=b"k", value=b"v"))
    await sending
    for broker in cluster.brokers:
        cluster.take_down(broker)
    waiting = asyncio.create_task(worker.outbox.send(worker.topic, key=b"k", value=b"v"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(watching), BOUNDS.exit_seconds + 4)
    for broker in cluster.brokers:
        cluster.bring_up(broker)
    await waiting
    await until(lambda: BATCH in worker.listener.owned)
    watching.cancel()
    assert not worker.rebuilds("send", stage="")


async def test_a_worker_with_nothing_to_do_is_left_alone(worker):
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(worker.watchdog.run(), BOUNDS.exit_seconds + 2)
    assert not any(worker.rebuilds(duty) for duty in ("fetch", "membership", "commit"))


async def test_a_record_that_comes_while_a_stall_is_looked_into_costs_no_client(worker):
    fetcher = worker.inbox._fetchers["batch"]
    client, look_up_ends = fetcher._consumer, fetcher._look_up_ends

    async def look_up_ends_just_after_a_record_has_come() -> None:
        await worker.outbox.send(worker.topic, key=b"k", value=b"v")
        await look_up_ends()

    fetcher._look_up_ends = look_up_ends_just_after_a_record_has_come
    fetcher._stall_seconds = 0.5
    await until(lambda: len(worker.listener.taken) >= 3)
    assert fetcher._consumer is client


@pytest.mark.parametrize("fault", ["no leader", "down", "no such topic"])
async def test_a_cluster_is_whole_only_while_all_that_is_needed_is_there(cluster, fault):
    cluster.create("needed", partitions=2)
    connection = Connection(cluster.bootstrap_servers)
    assert await cluster_is_whole(connection, ["needed"], 3.0)
    match fault:
        case "no leader":
            cluster.lead("needed", None, partition=1)
        case "down":
            for broker in cluster.brokers:
                cluster.take_down(broker)
        case "no such topic":
            cluster.refuse_topic("needed", Error.UNKNOWN_TOPIC_OR_PARTITION)
    assert not await cluster_is_whole(connection, ["needed"], 3.0)
