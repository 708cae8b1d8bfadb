"""TLS and SASL against a real broker: what gets in, and what is told to who does not."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from failsoft.kafka import admin
from failsoft.kafka.clients import close_consumer, connected_consumer
from failsoft.kafka.connection import Connection
from failsoft.kafka.outbox import Outbox
from failsoft.kafka.reach import reach
from failsoft.kafka.security import MECHANISMS, Security
from failsoft.policy.errors import EnvironmentFailure
from failsoft.testing.guarded import GuardedProcess
from failsoft.testing.installation import installed_kafka
from failsoft.testing.readiness import await_ready
from failsoft.testing.storage import write_settings
from tests.kafka.authority import Authority
from tests.kafka.conftest import create_topics

pytestmark = pytest.mark.kafka

USER, PASSWORD, WRONG = "alice", "hunter2", "hunter3"
LISTENERS = {"PLAINTEXT": "PLAINTEXT", "TLS": "SSL", "SASL": "SASL_PLAINTEXT", "BOTH": "SASL_SSL"}
MODULES = "org.apache.kafka.common.security"
JAAS = {
    "plain": f'{MODULES}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
    "scram-sha-256": f"{MODULES}.scram.ScramLoginModule required;",
    "scram-sha-512": f"{MODULES}.scram.ScramLoginModule required;",
}


@pytest.fixture(scope="module")
def servers(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Listener -> bootstrap servers of one broker: TLS wants a certificate, SASL a password, BOTH a password over TLS."""
    folder = tmp_path_factory.mktemp("secure")
    write_settings(folder, port=0, own={})
    with (folder / "server.properties").open("a") as settings:  # of two lines for one setting the later counts
        settings.writelines(f"{name}={value}\n" for name, value in secure_settings(folder, authority).items())
    command = installed_kafka().command(folder)
    users = [f"--add-scram={name}=[name={USER},password={PASSWORD}]" for name in MECHANISMS[:2]]
    tool = [
        *command[:-2],
        "kafka.tools.StorageTool",
        "format",
        "--standalone",
        "--cluster-id",
        "c2VjdXJlLWNsdXN0ZXIxMQ",
    ]
    subprocess.run([*tool, "--config", command[-1], *users], check=True, capture_output=True)
    log = folder / "broker.log"
    process = GuardedProcess(command, log=log)
    try:
        await_ready(process, log, port=0, timeout_seconds=60)
        found = re.findall(r"(\w+): resolved ephemeral port to (\d+)", log.read_text())
        yield {listener: f"127.0.0.1:{port}" for listener, port in found}
    finally:
        process.end(grace_seconds=10)


def secure_settings(folder: Path, authority: Authority) -> dict[str, str]:
    keystore = folder / "keystore.pem"
    keystore.write_bytes(authority.key.read_bytes() + authority.cert.read_bytes())
    jaas = {
        f"listener.name.{listener}.{mechanism}.sasl.jaas.config": module
        for listener in ("sasl", "both")
        for mechanism, module in JAAS.items()
    }
    return {
        "listeners": ",".join(f"{name}://127.0.0.1:0" for name in (*LISTENERS, "CONTROLLER")),
        "listener.security.protocol.map": ",".join(
            f"{n}:{p}" for n, p in {**LISTENERS, "CONTROLLER": "PLAINTEXT"}.items()
        ),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(keystore),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.ca),
        "listener.name.tls.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": ",".join(MECHANISMS),
        **jaas,
    }


def secured(servers: dict[str, str], authority: Authority, listener: str, mechanism: str | None = None) -> Connection:
    """What the listener asks for."""
    protocol = LISTENERS[listener]
    is_encrypted, has_sasl = "SSL" in protocol.split("_"), "SASL" in protocol.split("_")
    security = Security(
        protocol,
        ca_file=authority.ca if is_encrypted else None,
        cert_file=authority.cert if listener == "TLS" else None,
        key_file=authority.key if listener == "TLS" else None,
        sasl_mechanism=mechanism,
        username=USER if has_sasl else None,
        password=PASSWORD if has_sasl else None,
    )
    return Connection(servers[listener], security)


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


async def test_a_wrong_password_is_told_by_the_user_and_what_to_correct_and_not_by_the_password(servers, authority):
    right = secured(servers, authority, "BOTH")
    for mechanism in MECHANISMS:
        wrong = replace(right, security=replace(right.security, sasl_mechanism=mechanism, password=WRONG))
        with pytest.raises(EnvironmentFailure, match=r"refuses user alice; correct FAILSOFT_KAFKA_USERNAME") as told:
            await reach(wrong)
        assert WRONG not in str(told.value)


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
