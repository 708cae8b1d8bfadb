"""A broker that asks who one is: TLS, SASL, and ACLs where a test brings them."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from failsoft.kafka.connection import Connection
from failsoft.kafka.security import MECHANISMS, Security
from failsoft.testing.guarded import GuardedProcess
from failsoft.testing.installation import installed_kafka
from failsoft.testing.readiness import await_ready
from failsoft.testing.storage import write_settings
from tests.kafka.authority import Authority

LISTENERS = {"PLAINTEXT": "PLAINTEXT", "TLS": "SSL", "SASL": "SASL_PLAINTEXT", "BOTH": "SASL_SSL"}
"""Listener -> protocol: TLS wants a certificate, SASL a password, BOTH a password over TLS."""
_MODULES = "org.apache.kafka.common.security"
_CLUSTER_ID = "c2VjdXJlLWNsdXN0ZXIxMQ"


@contextmanager
def secured_broker(
    folder: Path, authority: Authority, users: Mapping[str, str], **settings: str
) -> Iterator[dict[str, str]]:
    """Run one; listener -> bootstrap servers.

    Args:
        folder: for its data.
        authority: whose certificates it has and trusts.
        users: name -> password.
        settings: further ones of the broker, with ``_`` for the dots of their names.
    """
    write_settings(folder, port=0, own={})
    further = {name.replace("_", "."): value for name, value in settings.items()}
    with (folder / "server.properties").open("a") as file:  # of two lines for one setting the later counts
        file.writelines(
            f"{name}={value}\n" for name, value in {**_settings(folder, authority, users), **further}.items()
        )
    command = installed_kafka().command(folder)
    scram = [
        f"--add-scram={how}=[name={name},password={word}]" for name, word in users.items() for how in MECHANISMS[:2]
    ]
    tool = [*command[:-2], "kafka.tools.StorageTool", "format", "--standalone", "--cluster-id", _CLUSTER_ID]
    subprocess.run([*tool, "--config", command[-1], *scram], check=True, capture_output=True)
    log = folder / "broker.log"
    process = GuardedProcess(command, log=log)
    try:
        await_ready(process, log, port=0, timeout_seconds=60)
        found = re.findall(r"(\w+): resolved ephemeral port to (\d+)", log.read_text())
        yield {listener: f"127.0.0.1:{port}" for listener, port in found}
    finally:
        process.end(grace_seconds=10)


def _settings(folder: Path, authority: Authority, users: Mapping[str, str]) -> dict[str, str]:
    keystore = folder / "keystore.pem"
    keystore.write_bytes(authority.key.read_bytes() + authority.cert.read_bytes())
    plain = " ".join(f'user_{name}="{word}"' for name, word in users.items())
    modules = {
        "plain": f"{_MODULES}.plain.PlainLoginModule required {plain};",
        "scram-sha-256": f"{_MODULES}.scram.ScramLoginModule required;",
        "scram-sha-512": f"{_MODULES}.scram.ScramLoginModule required;",
    }
    jaas = {
        f"listener.name.{listener}.{mechanism}.sasl.jaas.config": module
        for listener in ("sasl", "both")
        for mechanism, module in modules.items()
    }
    protocols = {**LISTENERS, "CONTROLLER": "PLAINTEXT"}
    return {
        "listeners": ",".join(f"{name}://127.0.0.1:0" for name in protocols),
        "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(keystore),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.ca),
        "listener.name.tls.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": ",".join(MECHANISMS),
        **jaas,
    }


def speaking(
    servers: Mapping[str, str],
    authority: Authority,
    listener: str,
    *,
    user: tuple[str, str],
    mechanism: str | None = None,
) -> Connection:
    """What a listener asks for."""
    protocol = LISTENERS[listener]
    is_encrypted, has_sasl = "SSL" in protocol.split("_"), "SASL" in protocol.split("_")
    security = Security(
        protocol,
        ca_file=authority.ca if is_encrypted else None,
        cert_file=authority.cert if listener == "TLS" else None,
        key_file=authority.key if listener == "TLS" else None,
        sasl_mechanism=mechanism,
        username=user[0] if has_sasl else None,
        password=user[1] if has_sasl else None,
    )
    return Connection(servers[listener], security)
