"""A cluster that answers what the test says: librdkafka's mock cluster, which the wheel of confluent-kafka brings along.

It listens on 127.0.0.1, starts in milliseconds and speaks the protocol to any client. Faults are pushed: the next requests of a
kind are answered with these errors, in this order, and what was refused is not carried out. It is no judge of correctness: it
does not check the sequence of an idempotent producer, serves groups of one member only, gives each record the same timestamp
and wakes no long poll. So deadlines, rebalances and speed belong to the embedded broker.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any

import confluent_kafka

ERROR_TEXT_BYTES = 512
PRODUCER = 0
"""librdkafka hangs the cluster on a client of either kind; this one never connects."""


class Api(IntEnum):
    """Kinds of requests, by Kafka's numbers."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    INIT_PRODUCER_ID = 22


class Error(IntEnum):
    """Answers, by Kafka's numbers."""

    OFFSET_OUT_OF_RANGE = 1
    UNKNOWN_TOPIC_OR_PARTITION = 3
    NOT_LEADER_OR_FOLLOWER = 6
    REQUEST_TIMED_OUT = 7
    MESSAGE_TOO_LARGE = 10
    COORDINATOR_LOAD_IN_PROGRESS = 14
    COORDINATOR_NOT_AVAILABLE = 15
    NOT_COORDINATOR = 16
    NOT_ENOUGH_REPLICAS = 19
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20
    ILLEGAL_GENERATION = 22
    UNKNOWN_MEMBER_ID = 25
    REBALANCE_IN_PROGRESS = 27
    TOPIC_AUTHORIZATION_FAILED = 29
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45
    DUPLICATE_SEQUENCE_NUMBER = 46
    INVALID_PRODUCER_EPOCH = 47
    UNKNOWN_PRODUCER_ID = 59
    INVALID_RECORD = 87


def _library() -> Any:
    [path] = (Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs").glob("librdkafka*")
    library = ctypes.CDLL(str(path))
    pointer, text, whole = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32
    for name, result, arguments in (
        ("rd_kafka_conf_new", pointer, []),
        ("rd_kafka_conf_set", ctypes.c_int, [pointer, text, text, text, ctypes.c_size_t]),
        ("rd_kafka_new", pointer, [ctypes.c_int, pointer, text, ctypes.c_size_t]),
        ("rd_kafka_destroy", None, [pointer]),
        ("rd_kafka_mock_cluster_new", pointer, [pointer, ctypes.c_int]),
        ("rd_kafka_mock_cluster_destroy", None, [pointer]),
        ("rd_kafka_mock_cluster_bootstraps", text, [pointer]),
        ("rd_kafka_mock_topic_create", ctypes.c_int, [pointer, text, ctypes.c_int, ctypes.c_int]),
        ("rd_kafka_mock_topic_set_error", None, [pointer, text, ctypes.c_int]),
        (
            "rd_kafka_mock_push_request_errors_array",
            None,
            [pointer, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(ctypes.c_int)],
        ),
        ("rd_kafka_mock_clear_request_errors", None, [pointer, ctypes.c_int16]),
        ("rd_kafka_mock_set_apiversion", ctypes.c_int, [pointer, ctypes.c_int16, ctypes.c_int16, ctypes.c_int16]),
        ("rd_kafka_mock_partition_set_leader", ctypes.c_int, [pointer, text, whole, whole]),
        ("rd_kafka_mock_coordinator_set", ctypes.c_int, [pointer, text, text, whole]),
        ("rd_kafka_mock_broker_set_down", ctypes.c_int, [pointer, whole]),
        ("rd_kafka_mock_broker_set_up", ctypes.c_int, [pointer, whole]),
        ("rd_kafka_mock_broker_set_rtt", ctypes.c_int, [pointer, whole, ctypes.c_int]),
        ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, [pointer, whole]),
        ("rd_kafka_mock_start_request_tracking", None, [pointer]),
        ("rd_kafka_mock_get_requests", ctypes.POINTER(pointer), [pointer, ctypes.POINTER(ctypes.c_size_t)]),
        ("rd_kafka_mock_request_api_key", ctypes.c_int16, [pointer]),
        ("rd_kafka_mock_request_destroy_array", None, [ctypes.POINTER(pointer), ctypes.c_size_t]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class MockCluster:
    """One cluster. Its brokers are numbered from 1.

    Args:
        library: librdkafka.
        handle: of the cluster.
        brokers: how many.
    """

    def __init__(self, library: Any, handle: int, brokers: int) -> None:
        self._library = library
        self._handle = handle
        self.brokers = range(1, brokers + 1)
        self.bootstrap_servers: str = library.rd_kafka_mock_cluster_bootstraps(handle).decode()
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(handle, 0)
        library.rd_kafka_mock_start_request_tracking(handle)

    def create(self, topic: str, *, partitions: int = 1) -> None:
        """Make a topic; its partitions are led by the brokers in turn."""
        self._try("rd_kafka_mock_topic_create", topic.encode(), partitions, len(self.brokers))

    def push(self, api: Api, *errors: Error) -> None:
        """Answer the next requests of a kind with these, one each, whichever broker they come to."""
        self._library.rd_kafka_mock_push_request_errors_array(
            self._handle, api, len(errors), (ctypes.c_int * len(errors))(*errors)
        )

    def forget(self, api: Api) -> None:
        """Answer this kind as ever."""
        self._library.rd_kafka_mock_clear_request_errors(self._handle, api)

    def speak(self, api: Api, *, newest_version: int) -> None:
        """Understand no version of a kind of requests after this one."""
        self._try("rd_kafka_mock_set_apiversion", api, 0, newest_version)

    def refuse_topic(self, topic: str, error: Error | None) -> None:
        """Answer metadata requests for a topic with this until told otherwise."""
        self._library.rd_kafka_mock_topic_set_error(self._handle, topic.encode(), error or 0)

    def lead(self, topic: str, broker: int | None, *, partition: int = 0) -> None:
        """Let this broker lead a partition; None: nobody does."""
        self._try("rd_kafka_mock_partition_set_leader", topic.encode(), partition, -1 if broker is None else broker)

    def coordinate(self, group: str, broker: int) -> None:
        """Let this broker coordinate a group."""
        self._try("rd_kafka_mock_coordinator_set", b"group", group.encode(), broker)

    def take_down(self, broker: int) -> None:
        """Close a broker's connections, and refuse new ones."""
        self._try("rd_kafka_mock_broker_set_down", broker)

    def bring_up(self, broker: int) -> None:
        """Accept connections again."""
        self._try("rd_kafka_mock_broker_set_up", broker)

    def delay(self, broker: int, seconds: float) -> None:
        """Answer everything this much later."""
        self._try("rd_kafka_mock_broker_set_rtt", broker, round(seconds * 1000))

    def requests(self) -> list[int]:
        """The kinds of all requests so far, in their order."""
        count = ctypes.c_size_t()
        found = self._library.rd_kafka_mock_get_requests(self._handle, ctypes.byref(count))
        try:
            return [self._library.rd_kafka_mock_request_api_key(found[n]) for n in range(count.value)]
        finally:
            self._library.rd_kafka_mock_request_destroy_array(found, count)

    def _try(self, name: str, *arguments: object) -> None:
        code = getattr(self._library, name)(self._handle, *arguments)
        if code:
            raise RuntimeError(f"{name}{arguments} failed with {code}")


@contextmanager
def mock_cluster(brokers: int = 1) -> Iterator[MockCluster]:
    """A cluster of so many brokers, gone after."""
    library = _library()
    problem = ctypes.create_string_buffer(ERROR_TEXT_BYTES)
    settings = library.rd_kafka_conf_new()
    library.rd_kafka_conf_set(
        settings, b"log_level", b"3", problem, ERROR_TEXT_BYTES
    )  # it misses a broker to connect to
    client = library.rd_kafka_new(PRODUCER, settings, problem, ERROR_TEXT_BYTES)
    if not client:
        raise RuntimeError(problem.value.decode())
    handle = library.rd_kafka_mock_cluster_new(client, brokers)
    try:
        yield MockCluster(library, handle, brokers)
    finally:
        library.rd_kafka_mock_cluster_destroy(handle)
        library.rd_kafka_destroy(client)
