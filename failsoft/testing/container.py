"""`ContainerKafka`: a real Apache Kafka in a container, for machines where an engine answers and Java does not.

testcontainers' own ``KafkaContainer`` cannot drive ``apache/kafka`` images: it writes scripts for those of Confluent. So this
is its plain container, with the image's complete settings: any ``KAFKA_`` variable replaces all of the image's defaults.

A broker tells its clients at which address to find it, and that holds a port which the engine chooses when the container
starts. So the container waits for its address, gets it as a file, and only then starts Kafka.
"""

from importlib import import_module
from types import TracebackType
from typing import Any, Self

from failsoft.policy.errors import EnvironmentFailure
from failsoft.testing.artifacts import KAFKA_VERSION
from failsoft.testing.readiness import answers

IMAGE = f"apache/kafka:{KAFKA_VERSION}"
READY_TIMEOUT_SECONDS = 60.0
"""Once the image is there; fetching it is not counted."""

SETTINGS = {
    "CLUSTER_ID": "ZmFpbHNvZnQta2Fma2EtMQ",
    "KAFKA_NODE_ID": "1",
    "KAFKA_PROCESS_ROLES": "broker,controller",
    "KAFKA_LISTENERS": "OUTSIDE://:9092,INSIDE://:19092,CONTROLLER://:29093",
    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "OUTSIDE:PLAINTEXT,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "KAFKA_INTER_BROKER_LISTENER_NAME": "INSIDE",
    "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
    "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:29093",
    "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
    "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": "1",
    "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR": "1",
    "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
    "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    "KAFKA_LOG_DIRS": "/tmp/kraft-combined-logs",  # noqa: S108 - inside the container
}
"""One node, quick to start and strict about topics, for the reasons of the embedded one (:mod:`failsoft.testing.storage`)."""

_PORT = 9092
_START_WITH_ADDRESS = (
    "until [ -s /tmp/address ]; do sleep 0.1; done; "
    'KAFKA_ADVERTISED_LISTENERS="OUTSIDE://$(cat /tmp/address),INSIDE://localhost:19092" exec /etc/kafka/docker/run'
)


class ContainerKafka:
    """A Kafka in a container, as a context manager; published on 127.0.0.1 only."""

    def __init__(self) -> None:
        self._container: Any = None
        self.bootstrap_servers = ""
        """Where clients connect, as ``host:port``, once it has started."""

    def __enter__(self) -> Self:
        """Start it and return when it answers.

        Raises:
            EnvironmentFailure: testcontainers is missing, no engine answers, or the broker does not start.
        """
        try:
            core = import_module("testcontainers.core.container")
            engine_errors: type[Exception] = import_module("docker.errors").DockerException
        except ImportError:
            raise EnvironmentFailure(
                "FAILSOFT_BROKER=docker needs testcontainers: pip install 'failsoft[docker]', or unset FAILSOFT_BROKER"
            ) from None
        try:
            self._start(core.DockerContainer(IMAGE))
        except engine_errors as error:
            self._stop()
            raise EnvironmentFailure(
                f"FAILSOFT_BROKER=docker: the container engine did not do it ({error}); "
                "start it, let it fetch the image, or unset FAILSOFT_BROKER"
            ) from error
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the container with its records."""
        self._stop()

    def _start(self, container: Any) -> None:
        self._container = container
        container.with_envs(**SETTINGS).with_command(["sh", "-c", _START_WITH_ADDRESS])
        container.ports[f"{_PORT}/tcp"] = ("127.0.0.1", None)  # any free port; with_exposed_ports would open it to all
        container.start()
        self.bootstrap_servers = f"{container.get_container_host_ip()}:{container.get_exposed_port(_PORT)}"
        container.exec(["sh", "-c", f"echo {self.bootstrap_servers} > /tmp/address"])
        if not answers(self.bootstrap_servers, READY_TIMEOUT_SECONDS):
            raise EnvironmentFailure(
                f"{IMAGE} did not answer within {READY_TIMEOUT_SECONDS:g} s; its last words:\n{_last_words(container)}"
            )

    def _stop(self) -> None:
        if self._container is not None:
            self._container.stop()
            self._container = None


def _last_words(container: Any) -> str:
    out, err = container.get_logs()
    return "\n".join((out + err).decode(errors="replace").splitlines()[-10:])
