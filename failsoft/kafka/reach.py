"""Why a cluster cannot be reached, one server at a time: what a client at work only logs.

A client that cannot bootstrap says no more than that. Here each bootstrap server is spoken to alone, and then each broker at
the address that the cluster itself gives out (``advertised.listeners``): a client that gets through the first door and
not through the second hangs, and that is how most first connections to a Kafka in a container fail.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import (
    AuthenticationFailedError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from failsoft.kafka import private
from failsoft.kafka.connection import Connection
from failsoft.kafka.logs import hold_back_aiokafka
from failsoft.policy.errors import EnvironmentFailure

TIMEOUT_SECONDS = 5.0
"""For one connection with TLS and SASL: milliseconds where all is well."""
CLOSE_SECONDS = 1.0

T = TypeVar("T")

_FETCH, _OLDEST_FETCH_OF_KAFKA_4 = 1, 4
_NOT_OURS = {"bootstrap_servers", "retry_backoff_ms"}


@dataclass(frozen=True, slots=True)
class Reached:
    """A cluster that answers.

    Attributes:
        brokers: how many there are.
        is_kafka_4: whether they are Kafka 4.0 or newer. Brokers do not tell their version; from 4.0 on they do not take
            the oldest requests to fetch any more (KIP-896).
    """

    brokers: int
    is_kafka_4: bool


async def reach(connection: Connection) -> Reached:
    """Connect to the first bootstrap server that answers, and to every broker that it names.

    Raises:
        EnvironmentFailure: none answers, or a broker is not where the cluster says; says why, and the fix.
    """
    hold_back_aiokafka()
    refusals = []
    for server in connection.bootstrap_servers.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            return await _look_around(connection, host.strip("[]"), int(port))
        except _Refused as refused:
            refusals.append(str(refused))
    raise EnvironmentFailure("; ".join(refusals))


class _Refused(Exception):  # noqa: N818 - never leaves this module
    """This server does not answer; the next may."""


async def _look_around(connection: Connection, host: str, port: int) -> Reached:
    first = await _connected(connection, host, port)
    try:
        metadata = await _within(first.send(MetadataRequest([])), connection, host, port)
        is_kafka_4 = private.api_versions(first)[_FETCH][0] >= _OLDEST_FETCH_OF_KAFKA_4
    finally:
        await _closed(first)
    brokers = [(broker[1], broker[2]) for broker in metadata.brokers]
    for place in brokers:
        try:
            await _closed(await _connected(connection, *place))
        except _Refused as refused:
            raise EnvironmentFailure(
                f"{host}:{port} answers and says that a broker is at {place[0]}:{place[1]}, but {refused}; "
                "set the broker's advertised.listeners to an address that can be reached from here"
            ) from None
    return Reached(len(brokers), is_kafka_4)


async def _connected(connection: Connection, host: str, port: int) -> AIOKafkaConnection:
    options = {name: value for name, value in connection.client_options().items() if name not in _NOT_OURS}
    attempt = AIOKafkaConnection(host, port, **options)
    try:
        await _within(attempt.connect(), connection, host, port)
    except BaseException:
        if private.got_through(attempt):  # a broker says goodbye to who is refused 100 ms later
            await _closed(attempt)
        raise
    return attempt


async def _closed(connected: AIOKafkaConnection) -> None:
    """Close, and wait for TLS to say goodbye; a server that does not answer that is not waited for."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS):
            await connected.close()


async def _within(work: Awaitable[T], connection: Connection, host: str, port: int) -> T:
    """Wait for an answer, and put what comes instead into words."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await work
    except (OSError, KafkaError) as error:
        raise _Refused(_explained(error, connection, f"{host}:{port}")) from None


def _explained(error: Exception, connection: Connection, server: str) -> str:
    spoken = (
        f"correct FAILSOFT_KAFKA_SECURITY_PROTOCOL: this listener may not speak {connection.security.security_protocol}"
    )
    match error:
        case socket.gaierror():
            return f"{server}: there is no such host; correct --bootstrap or KAFKA_BOOTSTRAP_SERVERS"
        case ConnectionRefusedError():
            return f"nothing listens at {server}; start Kafka there, or correct --bootstrap or KAFKA_BOOTSTRAP_SERVERS"
        case ssl.SSLCertVerificationError():
            reason = error.verify_message
            return (
                f"{server}: its certificate is not trusted ({reason}); name its authority with FAILSOFT_KAFKA_CA_FILE"
            )
        case ssl.SSLError():
            return f"{server}: no TLS ({error.reason}); {spoken}"
        case UnsupportedSaslMechanismError():
            return f"{server} does not take this mechanism; correct FAILSOFT_KAFKA_SASL_MECHANISM"
        case AuthenticationFailedError() | SaslAuthenticationFailed():
            return f"{server} refuses user {connection.security.username}; correct FAILSOFT_KAFKA_USERNAME and its password"
        case _:
            reason = str(error) or type(error).__name__
            return f"{server} does not answer as Kafka does ({reason}); is the address right? If so, {spoken}"
