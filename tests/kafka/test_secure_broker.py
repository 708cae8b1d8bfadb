"""TLS and SASL against a real broker: what gets in, and what is told to who does not."""

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from failsoft.kafka import admin
from failsoft.kafka.clients import close_consumer, connected_consumer
from failsoft.kafka.connection import Connection
from failsoft.kafka.outbox import Outbox
from failsoft.kafka.reach import reach
from failsoft.kafka.security import MECHANISMS
from failsoft.policy.errors import EnvironmentFailure
from tests.kafka.authority import Authority
from tests.kafka.conftest import create_topics
from tests.kafka.secured import secured_broker, speaking

pytestmark = pytest.mark.kafka

USER, PASSWORD, WRONG = "alice", "hunter2", "hunter3"


@pytest.fixture(scope="module")
def servers(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with secured_broker(tmp_path_factory.mktemp("secure"), authority, {USER: PASSWORD}) as servers:
        yield servers


def secured(servers: dict[str, str], authority: Authority, listener: str, mechanism: str | None = None) -> Connection:
    return speaking(servers, authority, listener, user=(USER, PASSWORD), mechanism=mechanism)


@pytest.mark.parametrize(
    ("listener", "mechanism"),
    [("TLS", None), *((listener, name) for listener in ("SASL", "BOTH") for name in MECHANISMS), ("BOTH", None)],
)
async def test_who_brings_what_the_listener_asks_for_gets_in(servers, authority, listener, mechanism):
    assert (await reach(secured(servers, authority, listener, mechanism))).brokers == 1


async def test_every_kind_of_client_gets_in(servers, authority):
    connection = secured(servers, authority, "BOTH")
    await create_topics(servers["PLAINTEXT"], {"secure": 1})
    outbox = Outbox(connection)
    await outbox.start()
    assert (await outbox.send("secure", key=None, value=b"sealed")).offset == 0
    await outbox.close()
    async with admin.Admin(connection) as client:
        assert (await client.describe(["secure"])).topics["secure"].partitions == 1
    consumer = await connected_consumer(connection)
    consumer.subscribe(["secure"])
    assert (await consumer.getone()).value == b"sealed"
    await close_consumer(consumer)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the one that lists them is closed again at once


async def test_a_wrong_password_is_told_by_the_user_and_what_to_correct_and_not_by_the_password(servers, authority):
    right, before = secured(servers, authority, "BOTH"), descriptors()
    for mechanism in MECHANISMS:
        wrong = replace(right, security=replace(right.security, sasl_mechanism=mechanism, password=WRONG))
        with pytest.raises(EnvironmentFailure, match=r"refuses user alice; correct FAILSOFT_KAFKA_USERNAME") as told:
            await reach(wrong)
        assert WRONG not in str(told.value)
        assert descriptors() == before, "the connection is closed, and not only about to be"


async def test_a_certificate_of_nobody_known_is_told_with_the_setting_that_names_its_authority(servers, authority):
    right = secured(servers, authority, "BOTH")
    with pytest.raises(EnvironmentFailure, match=r"its certificate is not trusted .*FAILSOFT_KAFKA_CA_FILE"):
        await reach(replace(right, security=replace(right.security, ca_file=None)))


@pytest.mark.parametrize(
    ("spoken", "listener"),
    [("PLAINTEXT", "BOTH"), ("PLAINTEXT", "SASL"), ("SASL", "BOTH"), ("BOTH", "SASL"), ("TLS", "PLAINTEXT")],
)
async def test_who_speaks_another_protocol_than_the_listener_is_told_which_setting_says_so(
    servers, authority, spoken, listener
):
    wrong = replace(secured(servers, authority, spoken), bootstrap_servers=servers[listener])
    with pytest.raises(EnvironmentFailure, match="FAILSOFT_KAFKA_SECURITY_PROTOCOL"):
        await reach(wrong)
