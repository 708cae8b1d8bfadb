import asyncio
import socket
from dataclasses import replace
from uuid import uuid4

import pytest

from failsoft.catalogue import AddPartitions, Catalogue, ChangeConfig, Create, Plan, parse
from failsoft.kafka import admin
from failsoft.kafka.admin import Admin
from failsoft.kafka.connection import Connection
from failsoft.policy.errors import ConfigurationError, EnvironmentFailure

WRITTEN = """
version: 1
defaults: {partitions: 2, replication: 3, config: {min.insync.replicas: 2, message.timestamp.type: LogAppendTime}}
classes:
  interactive: {weight: 8, deadline: 5s, deadline_max: 60s}
  batch:       {weight: 1, deadline: 1h, deadline_max: 2h}
pipelines: {PIPELINE: [classify]}
topics:
  requests:     {config: {retention.ms: 7d, max.message.bytes: 1.25MiB}}
  results:      {config: {retention.ms: 7d, max.message.bytes: 4MiB}}
  dead-letters: {config: {retention.ms: 14d}}
  answers:      {config: {cleanup.policy: "compact,delete", min.cleanable.dirty.ratio: 0.50, segment.bytes: 1MiB}}
"""


@pytest.fixture
def pipeline() -> str:
    """A pipeline of the test's own: the cluster is the session's."""
    return f"p{uuid4().hex[:12]}"


def catalogue_of(pipeline: str, old: str = "", new: str = "") -> Catalogue:
    return parse(
        WRITTEN.replace("PIPELINE", pipeline).replace(old, new, 1) if old else WRITTEN.replace("PIPELINE", pipeline)
    )


@pytest.mark.kafka
async def test_apply_creates_what_is_missing_and_then_plan_is_clean(kafka_bootstrap, pipeline):
    connection, catalogue = Connection(kafka_bootstrap), catalogue_of(pipeline)
    before = await admin.plan(connection, catalogue)
    assert [type(entry) for entry in before.entries] == [Create] * 5

    applied = await admin.apply(connection, catalogue)
    assert applied.done == before.entries
    assert applied.remaining.is_in_step
    assert (await admin.plan(connection, catalogue)).is_in_step
    assert (await admin.apply(connection, catalogue)).done == ()

    topic = (await admin.describe(connection, catalogue)).topics[f"{pipeline}.answers"]
    assert (topic.partitions, topic.replication) == (2, 1)
    assert topic.config["cleanup.policy"] == "compact,delete"
    assert topic.config["min.insync.replicas"] == "1"
    assert topic.overrides.keys() == catalogue.topics["answers"].config.keys()


@pytest.mark.kafka
async def test_a_change_leaves_what_somebody_else_has_set(kafka_bootstrap, pipeline):
    connection, catalogue = Connection(kafka_bootstrap), catalogue_of(pipeline)
    await admin.apply(connection, catalogue)
    results = f"{pipeline}.results"
    overrides = dict((await admin.describe(connection, catalogue)).topics[results].overrides)
    async with Admin(connection) as client:
        await client.set_config({results: {**overrides, "retention.ms": "1000", "segment.bytes": "1048576"}})

    drifted = await _until_it_shows(connection, catalogue)
    assert drifted.entries == (ChangeConfig(results, {"retention.ms": ("1000", "604800000")}),)

    assert (await admin.apply(connection, catalogue)).remaining.is_in_step
    found = (await admin.describe(connection, catalogue)).topics[results].overrides
    assert found == {**overrides, "segment.bytes": "1048576"}


@pytest.mark.kafka
async def test_partitions_are_added_only_when_allowed(kafka_bootstrap, pipeline):
    connection = Connection(kafka_bootstrap)
    await admin.apply(connection, catalogue_of(pipeline))
    wider = catalogue_of(pipeline, "partitions: 2", "partitions: 3")

    refused = await admin.apply(connection, wider)
    assert refused.done == ()
    assert refused.remaining.entries[0] == AddPartitions(f"{pipeline}.classify.interactive", 2, 3)

    allowed = await admin.apply(connection, wider, allow_repartition=True)
    assert len(allowed.done) == 5
    assert allowed.remaining.is_in_step


@pytest.mark.kafka
async def test_two_who_apply_at_once_are_both_content(kafka_bootstrap, pipeline):
    connection, catalogue = Connection(kafka_bootstrap), catalogue_of(pipeline)
    both = await asyncio.gather(*(admin.apply(connection, catalogue) for _ in range(2)))
    assert all(applied.remaining.is_in_step for applied in both)


@pytest.mark.kafka
async def test_topics_of_others_with_the_prefix_are_reported_and_left_alone(kafka_bootstrap, pipeline):
    connection, catalogue = Connection(kafka_bootstrap), catalogue_of(pipeline)
    stray = replace(catalogue.wanted_topics()[0], name=f"{pipeline}.stray", replication=1)
    async with Admin(connection) as client:
        await client.create([stray])
    await admin.apply(connection, catalogue)
    plan = await admin.plan(connection, catalogue)
    assert plan.unknown == (stray.name,)
    assert plan.is_in_step


@pytest.mark.kafka
async def test_what_kafka_refuses_is_the_authors_to_correct(kafka_bootstrap, pipeline):
    catalogue = catalogue_of(pipeline, "{retention.ms: 14d}", "{retentoin.ms: 14d}")
    with pytest.raises(ConfigurationError, match=rf"{pipeline}\.dead-letters: .*retentoin.*correct topics\.yaml"):
        await admin.apply(Connection(kafka_bootstrap), catalogue)


async def test_a_cluster_that_is_not_there_is_named_with_the_way_to_name_another(pipeline):
    with socket.socket() as taken:  # bound but not listening: nobody else can take the port, and it refuses
        taken.bind(("127.0.0.1", 0))
        servers = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(EnvironmentFailure, match=rf"nothing answers at {servers}; .*KAFKA_BOOTSTRAP_SERVERS"):
            await admin.plan(Connection(servers), catalogue_of(pipeline))


async def _until_it_shows(connection: Connection, catalogue: Catalogue) -> Plan:
    """The plan once the broker has heard from the controller what was set."""
    async with asyncio.timeout(10):
        while (found := await admin.plan(connection, catalogue)).is_in_step:
            pass
    return found
