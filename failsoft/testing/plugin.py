"""Pytest plugin: a Kafka for the whole test session.

A test that asks for `kafka_bootstrap` gets the address of a running Kafka: the one that `KAFKA_BOOTSTRAP_SERVERS`
names, else one in a container with `FAILSOFT_BROKER=docker`, else a real Apache Kafka of its own on a free port of 127.0.0.1,
started at the first request and stopped after the last test.

Pytest loads this module in every project that has failsoft installed, so it imports nothing until a test asks.
"""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def kafka_bootstrap() -> Iterator[str]:
    """Bootstrap servers of the session's Kafka, as `host:port`."""
    from failsoft.testing.cluster import a_broker  # noqa: PLC0415 - brings aiokafka, which most sessions do not need

    with a_broker(records_classes=not os.environ.get("CI")) as connection:
        yield connection.bootstrap_servers
