"""What a catalogue needs of a cluster: look at its topics, create, add partitions, change configuration.

aiokafka knows only the old ``AlterConfigs``, which *replaces* all that is set on a topic: a key that is left out falls
back to the broker's default. So a change sends everything that is set on the topic, merged with what is new. Whoever
changes the same topic by other means between the look and the change is overwritten; the next plan shows it.
"""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from failsoft.catalogue import (
    AddPartitions,
    Catalogue,
    ChangeConfig,
    Create,
    DescribedCluster,
    DescribedTopic,
    Entry,
    Plan,
    TopicSpec,
    diff,
    pipeline_prefix,
)
from failsoft.kafka import private
from failsoft.kafka.connection import Connection
from failsoft.kafka.logs import hold_back_aiokafka
from failsoft.kafka.settings import BOOTSTRAP_VARIABLE
from failsoft.policy.errors import ConfigurationError, EnvironmentFailure

REQUEST_TIMEOUT_SECONDS = 10.0
"""An administrator waits at a prompt; a cluster that needs longer for a metadata request is not well."""

SETTLING_SECONDS = 10.0
"""The controller answers first, the brokers know a moment later: under a second where it was seen. Then it is drift."""

SETTLING_POLL_SECONDS = 0.1

_SET_ON_TOPIC = 1
"""``config_source`` of a value that was set on the topic itself (DYNAMIC_TOPIC_CONFIG)."""

_AUTHORS_FAULT = (
    errors.InvalidTopicError,
    errors.InvalidPartitionsError,
    errors.InvalidReplicationFactorError,
    errors.InvalidConfigurationError,
    errors.InvalidRequestError,
    errors.PolicyViolationError,
)


@dataclass(frozen=True, slots=True)
class Applied:
    """What was done, and what remains to be done by people."""

    done: tuple[Entry, ...]
    remaining: Plan


class Admin:
    """One connection for administration; an async context manager.

    Raises:
        EnvironmentFailure: the cluster does not answer, or does not allow it.
        ConfigurationError: the cluster refuses what was asked for.
    """

    def __init__(self, connection: Connection) -> None:
        hold_back_aiokafka()
        self._connection = connection
        self._client = private.tidy(
            AIOKafkaAdminClient(**connection.client_options(), request_timeout_ms=int(REQUEST_TIMEOUT_SECONDS * 1000))
        )

    async def __aenter__(self) -> Self:
        try:
            with _explained(self._connection):
                await self._client.start()
        except BaseException:
            await self._client.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def describe(self, prefixes: Collection[str]) -> DescribedCluster:
        """Look at the brokers, and at the topics that begin with one of these."""
        with _explained(self._connection):
            brokers = (await self._client.describe_cluster())["brokers"]
            found = [each for each in await self._client.describe_topics() if each["topic"].startswith(tuple(prefixes))]
            entries = await self._configs([each["topic"] for each in found])
        topics = [_described(each, entries[each["topic"]]) for each in found if each["topic"] in entries]
        return DescribedCluster(len(brokers), {topic.name: topic for topic in topics})

    async def create(self, topics: Sequence[TopicSpec]) -> None:
        """Create topics. One that somebody else created meanwhile is as good."""
        wanted = [
            NewTopic(each.name, each.partitions, each.replication, topic_configs=dict(each.config)) for each in topics
        ]
        with _explained(self._connection):
            answer = await self._client.create_topics(wanted)
            for name, code, reason in answer.topic_errors:
                if code != errors.TopicAlreadyExistsError.errno:
                    _refuse(code, f"{name}: {reason}")

    async def add_partitions(self, totals: Mapping[str, int]) -> None:
        """Grow topics to so many partitions."""
        with _explained(self._connection):
            await self._client.create_partitions({name: NewPartitions(total) for name, total in totals.items()})

    async def set_config(self, configs: Mapping[str, Mapping[str, str]]) -> None:
        """Set all that is to be set on each topic; what is left out falls back to the broker's default."""
        resources = [ConfigResource(ConfigResourceType.TOPIC, name, dict(config)) for name, config in configs.items()]
        with _explained(self._connection):
            for answer in await self._client.alter_configs(resources):
                for code, reason, _, name in answer.resources:
                    _refuse(code, f"{name}: {reason}")

    async def _configs(self, names: Sequence[str]) -> dict[str, list[Any]]:
        """The configuration entries of each topic; a topic that went away meanwhile is left out."""
        entries: dict[str, list[Any]] = {}
        if not names:
            return entries
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        for answer in await self._client.describe_configs(resources):
            for code, reason, _, name, found in answer.resources:
                if code != errors.UnknownTopicOrPartitionError.errno:
                    _refuse(code, f"{name}: {reason}")
                    entries[name] = found
        return entries


async def plan(connection: Connection, catalogue: Catalogue) -> Plan:
    """Compare a cluster with the catalogue."""
    async with Admin(connection) as admin:
        return diff(catalogue, await _describe(admin, catalogue))


async def apply(connection: Connection, catalogue: Catalogue, *, allow_repartition: bool = False) -> Applied:
    """Bring a cluster into step with the catalogue, as far as it can be without a person.

    Args:
        connection: the cluster.
        catalogue: what is wanted.
        allow_repartition: also add partitions, which moves keys: requests with one key may run twice meanwhile.
    """
    async with Admin(connection) as admin:
        cluster = await _describe(admin, catalogue)
        todo = diff(catalogue, cluster).allowed(repartition=allow_repartition)
        await _carry_out(admin, todo, cluster)
        return Applied(todo, await _settled(admin, catalogue, allow_repartition))


async def describe(connection: Connection, catalogue: Catalogue) -> DescribedCluster:
    """Look at the topics that have the prefix of one of the catalogue's pipelines."""
    async with Admin(connection) as admin:
        return await _describe(admin, catalogue)


async def _describe(admin: Admin, catalogue: Catalogue) -> DescribedCluster:
    return await admin.describe([pipeline_prefix(pipeline) for pipeline in catalogue.pipelines])


async def _carry_out(admin: Admin, todo: Sequence[Entry], cluster: DescribedCluster) -> None:
    create = [each.topic for each in todo if isinstance(each, Create)]
    grow = {each.name: each.want for each in todo if isinstance(each, AddPartitions)}
    configs = {each.name: _merged(each, cluster) for each in todo if isinstance(each, ChangeConfig)}
    if create:
        await admin.create(create)
    if grow:
        await admin.add_partitions(grow)
    if configs:
        await admin.set_config(configs)


def _merged(change: ChangeConfig, cluster: DescribedCluster) -> dict[str, str]:
    """All that will be set on a topic: what is, and what is new."""
    return {**cluster.topics[change.name].overrides, **{key: new for key, (_, new) in change.changes.items()}}


async def _settled(admin: Admin, catalogue: Catalogue, allow_repartition: bool) -> Plan:
    """Look again until all that could be done shows, or it is clear that it will not."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + SETTLING_SECONDS
    while True:
        seen = diff(catalogue, await _describe(admin, catalogue))
        if not seen.allowed(repartition=allow_repartition) or loop.time() >= give_up_at:
            return seen
        await asyncio.sleep(SETTLING_POLL_SECONDS)


def _described(metadata: Mapping[str, Any], entries: Sequence[Any]) -> DescribedTopic:
    """Put together what the cluster says of one topic. Partitions may differ in replicas; the fewest count."""
    return DescribedTopic(
        name=metadata["topic"],
        partitions=len(metadata["partitions"]),
        replication=min((len(each["replicas"]) for each in metadata["partitions"]), default=0),
        config={entry[0]: entry[1] for entry in entries if entry[1] is not None},
        overrides={entry[0]: entry[1] for entry in entries if entry[3] == _SET_ON_TOPIC and entry[1] is not None},
    )


def _refuse(code: int, text: str) -> None:
    """Raise what the broker answered, if that was a refusal."""
    if code:
        raise errors.for_code(code)(text)


@contextmanager
def _explained(connection: Connection) -> Iterator[None]:
    """Turn what goes wrong into whose fault it is, with the fix."""
    servers = connection.bootstrap_servers
    try:
        yield
    except _AUTHORS_FAULT as error:
        raise ConfigurationError(f"Kafka at {servers} refuses: {error}; correct topics.yaml") from error
    except (errors.TopicAuthorizationFailedError, errors.ClusterAuthorizationFailedError) as error:
        raise EnvironmentFailure(
            f"Kafka at {servers} does not allow it: {error}; ask for Create, Alter, DescribeConfigs and AlterConfigs"
        ) from error
    except errors.KafkaConnectionError as error:
        raise EnvironmentFailure(
            f"nothing answers at {servers}; start Kafka there, or name another with --bootstrap or {BOOTSTRAP_VARIABLE}"
        ) from error
    except (errors.KafkaError, TimeoutError, OSError) as error:
        raise EnvironmentFailure(
            f"Kafka at {servers} did not do it ({error!r}); look at its log and try again"
        ) from error
