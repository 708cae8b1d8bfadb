"""What a group has committed, never older than what it has been told is committed.

**Rule.** Ask for *stable* offsets, as Kafka's own consumers do (OffsetFetch version 7, KIP-447). The coordinator then answers
behind a write of its own, and so behind every commit that it has acknowledged.

A plain question, the only one that aiokafka has, is answered from what the replicas of ``__consumer_offsets`` are known to
share. On a broker that has just become the coordinator that can be less than was acknowledged, or nothing: "no commit". In a
trial of rolling restarts (2026-11-30) one worker got that answer for six partitions, began them at the start of their logs, and
2,100 requests were executed again.

aiokafka has only the older versions, so the request is written down here, by the names of Kafka's own schema. Brokers before 2.5
do not know it, and are asked plainly.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, NotCoordinatorForGroupError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

from failsoft.kafka import private

NOTHING = -1
"""The offset that stands for "no commit"."""


async def committed(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, tuple[int, str]]:
    """Return the committed offset, and the metadata beside it, of those partitions that have one.

    Raises:
        KafkaError: the coordinator is not known, moves, or cannot say yet; ask again.
    """
    group, by_topic = private.group_of(consumer), defaultdict(list)
    for partition in partitions:
        by_topic[partition.topic].append(partition.partition)
    try:
        answer = await private.ask_coordinator(consumer, _OffsetFetch(group, by_topic))
    except (IncompatibleBrokerVersion, NotImplementedError):  # what aiokafka says where no version is shared
        return await private.fetch_committed(consumer, partitions)
    _raise(consumer, answer.error_code)
    found = {}
    for topic, numbers, _ in answer.topics:
        for number, offset, _, metadata, code, _ in numbers:
            _raise(consumer, code)
            if offset != NOTHING:
                found[TopicPartition(topic, number)] = (offset, metadata or "")
    return found


def _raise(consumer: AIOKafkaConsumer, code: int) -> None:
    if not code:
        return
    error = for_code(code)
    if error is NotCoordinatorForGroupError:
        private.coordinator_moved(consumer)
    raise error() if issubclass(error, KafkaError) else KafkaError(error.__name__)


class _OffsetFetchResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 9
    API_VERSION = 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition_index", Int32),
                        ("committed_offset", Int64),
                        ("committed_leader_epoch", Int32),
                        ("metadata", CompactString("utf-8")),
                        ("error_code", Int16),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("error_code", Int16),
        ("tags", TaggedFields),
    )


class _OffsetFetchStruct(RequestStruct):  # type: ignore[misc]  # aiokafka has no types
    FLEXIBLE_VERSION = True
    API_KEY = 9
    API_VERSION = 7
    RESPONSE_TYPE = _OffsetFetchResponse
    SCHEMA = Schema(
        ("group_id", CompactString("utf-8")),
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")), ("partition_indexes", CompactArray(Int32)), ("tags", TaggedFields)
            ),
        ),
        ("require_stable", Boolean),
        ("tags", TaggedFields),
    )


class _OffsetFetch(Request[_OffsetFetchStruct]):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 9

    def __init__(self, group: str, partitions: Mapping[str, Collection[int]]) -> None:
        self._group = group
        self._partitions = partitions

    def build(self, request_struct_class: type[_OffsetFetchStruct]) -> _OffsetFetchStruct:
        topics: list[tuple[str, list[int], dict[int, bytes]]] = [(t, [*n], {}) for t, n in self._partitions.items()]
        return request_struct_class(self._group, topics, True, {})  # noqa: FBT003 - the order is the schema's
