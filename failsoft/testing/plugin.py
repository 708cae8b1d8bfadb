"""Pytest plugin: a Kafka for the whole test session.

A test that asks for `kafka_bootstrap` gets the address of a running Kafka: the one that `KAFKA_BOOTSTRAP_SERVERS`
names, else a real Apache Kafka of its own on a free port of 127.0.0.1, started at the first request and stopped after
the last test.

Pytest loads this module in every project that has failsoft installed, so it imports nothing until a test asks.
"""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def kafka_bootstrap() -> Iterator[str]:
    """Bootstrap servers of the session's Kafka, as `host:port`."""
    if external := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield external
        return
    from failsoft.testing.broker import EmbeddedKafka  # noqa: PLC0415 - brings aiokafka, which most sessions do not need

    with EmbeddedKafka(records_classes=not os.environ.get("CI")) as kafka:
        yield kafka.bootstrap_servers
