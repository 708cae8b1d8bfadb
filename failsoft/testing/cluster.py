"""Which Kafka a trial or a test session runs on, decided in one place.

One that is named (``--bootstrap``, ``KAFKA_BOOTSTRAP_SERVERS``, ``FAILSOFT_KAFKA_CONFIG``); else with ``FAILSOFT_BROKER=docker``
one in a container; else a real one of its own on this machine, which needs nothing but Java.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from failsoft.kafka.connection import Connection, names_a_broker
from failsoft.policy.errors import ConfigurationError
from failsoft.testing.artifacts import Progress
from failsoft.testing.broker import EmbeddedKafka
from failsoft.testing.container import ContainerKafka

BROKER_VARIABLE = "FAILSOFT_BROKER"


@contextmanager
def a_broker(
    bootstrap: str | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
    records_classes: bool = False,
    progress: Progress | None = None,
) -> Iterator[Connection]:
    """Hold a broker for as long as the block takes, and stop it afterwards if it was started here.

    Args:
        bootstrap: host:port of a running one.
        environment: what may name one, or how to start one.
        records_classes: of :class:`~failsoft.testing.broker.EmbeddedKafka`.
        progress: told how far the first fetch of Kafka is.

    Raises:
        ConfigurationError: a setting is wrong; names it.
        EnvironmentFailure: the broker cannot be started; says the fix.
    """
    if bootstrap or names_a_broker(environment):
        yield Connection.from_environment(bootstrap, environment=environment)
        return
    match environment.get(BROKER_VARIABLE) or "embedded":
        case "embedded":
            with EmbeddedKafka(records_classes=records_classes, progress=progress) as kafka:
                yield Connection(kafka.bootstrap_servers)
        case "docker":
            with ContainerKafka() as container:
                yield Connection(container.bootstrap_servers)
        case other:
            raise ConfigurationError(f"{BROKER_VARIABLE}: {other!r} is not known; it is embedded or docker")
