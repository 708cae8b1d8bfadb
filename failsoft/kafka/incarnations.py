"""Which log a topic is: an operator may delete it and make it anew, and then the same name, and the same offsets, are others.

**Rule.** A broker gives each topic an id of its own when it is made (KIP-516). A stage asks for the ids of its topics when it
begins with partitions, and once a second from then on. An id that it did not know means another log: all partitions of that
topic are lost, and gained again from the beginning. A commit names the log that it speaks of
(:mod:`failsoft.wire.progress`), so one of the old log is void on the new one, whoever reads it, also where the offset exists.

Brokers learn of a new topic one after the other, so one may still tell the old id after another has told the new one. An id
that was left is never believed again.

aiokafka asks by older versions, whose answers have no ids, so the request is written down here, by the names of Kafka's own
schema (Metadata version 10, brokers from 2.8 on). Brokers that do not tell ids are believed to have kept their logs, until an
offset goes back (:mod:`failsoft.kafka.fetcher`).
"""

import logging
from collections.abc import Collection, Mapping
from io import BytesIO

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import IncompatibleBrokerVersion
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from failsoft.kafka import private
from failsoft.wire.progress import LOG_DIGITS

log = logging.getLogger(__name__)

ID_BYTES = 16
NO_ID = bytes(ID_BYTES)


class Incarnations:
    """The logs that the topics of one stage are, as far as brokers have told.

    Args:
        topics: their names.
    """

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = sorted(topics)
        self._known: dict[str, str] = {}
        self._left: set[str] = set()
        self._is_told = True

    async def look(self, consumer: AIOKafkaConsumer) -> None:
        """Ask a broker. One that has none of these topics, or tells no ids, changes nothing.

        Raises:
            KafkaError: none has answered.
        """
        try:
            answer = await private.ask_any(consumer, _MetadataRequest(self._topics))
        except (IncompatibleBrokerVersion, NotImplementedError):  # what aiokafka says where no version is shared
            if self._is_told:
                log.warning("the brokers tell no topic ids: a topic made anew is noticed only when an offset goes back")
            self._is_told = False
            return
        self.heard({name: log_name(id_) for code, name, id_, *_ in answer.topics if not code and id_ != NO_ID})

    def heard(self, told: Mapping[str, str]) -> None:
        """Take in which logs a broker says that topics are, but for those that were left."""
        for topic, name in told.items():
            known = self._known.get(topic)
            if name != known and name not in self._left:
                self._known[topic] = name
                self._left |= {known} if known else set()

    def log_of(self, topic: str) -> str:
        """Which log a topic is; empty where no broker has told."""
        return self._known.get(topic, "")


def log_name(topic_id: bytes) -> str:
    """The name by which commits speak of a log."""
    return topic_id.hex()[:LOG_DIGITS]


class _Uuid(AbstractType[bytes]):  # type: ignore[misc]  # aiokafka has no types
    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(ID_BYTES)


class _MetadataResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition_index", Int32),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("replica_nodes", CompactArray(Int32)),
                        ("isr_nodes", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("topic_authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _MetadataRequestStruct(RequestStruct):  # type: ignore[misc]  # aiokafka has no types
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 10
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(("topic_id", _Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields)),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _MetadataRequest(Request[_MetadataRequestStruct]):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 3

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_MetadataRequestStruct]) -> _MetadataRequestStruct:
        named: list[tuple[bytes, str, dict[int, bytes]]] = [(NO_ID, topic, {}) for topic in self._topics]
        return request_struct_class(named, False, False, False, {})  # noqa: FBT003 - the order is the schema's
