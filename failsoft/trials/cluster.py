"""The Kafka of a trial: the one that is named, else a real one of its own on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from os import environ

from failsoft.kafka import Connection
from failsoft.kafka.settings import BOOTSTRAP_VARIABLE
from failsoft.testing import EmbeddedKafka
from failsoft.testing.artifacts import Progress


@contextmanager
def trial_cluster(bootstrap: str | None, *, progress: Progress | None = None) -> Iterator[Connection]:
    """Hold a cluster for as long as the trial takes.

    Args:
        bootstrap: host:port of a running one; else the environment names it, else one is started and stopped again.
        progress: told how far the first fetch of Kafka is.

    Raises:
        EnvironmentFailure: it cannot be fetched or started; says the fix.
    """
    if bootstrap or environ.get(BOOTSTRAP_VARIABLE):
        yield Connection.from_environment(bootstrap)
        return
    with EmbeddedKafka(progress=progress) as kafka:
        yield Connection(kafka.bootstrap_servers)
