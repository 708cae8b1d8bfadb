"""Where the cluster is, how it is spoken to, and what every client of this process says when it connects.

Nobody is spoken to in the clear by accident: without TLS only this machine's own brokers are, unless ``allow_insecure`` says
that the network between is trusted. What prompts hold and models answer is private, and a request in the clear can be changed.

aiokafka waits a fixed time between attempts, without jitter and without growth: one consumer made 98 attempts in 5 s at
its default of 100 ms (research/reliability.md A28). Processes that lost one broker would come back in step, so each
process draws its own wait once, from 250 to 750 ms.
"""

import os
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Self

from failsoft.kafka.security import Security, SettingRefused
from failsoft.kafka.settings import BOOTSTRAP_VARIABLE, Settings, read_settings
from failsoft.policy.errors import ConfigurationError, EnvironmentFailure

RETRY_BACKOFF_MS = random.randint(250, 750)
"""Drawn, not derived from the process id: in containers that is 1 everywhere."""

IN_THE_CLEAR = Security()

_SERVER = re.compile(r"([^\s,:\[\]]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Connection:
    """One cluster to talk to.

    Attributes:
        bootstrap_servers: ``host:port``, several with commas between.
        security: TLS and SASL.
        allow_insecure: whether another machine may be spoken to without TLS.
    """

    bootstrap_servers: str
    security: Security = IN_THE_CLEAR
    allow_insecure: bool = False

    def __post_init__(self) -> None:
        """Refuse what no client could connect to, before a client hangs on it, and what none should."""
        hosts = [_host(server.strip()) for server in self.bootstrap_servers.split(",")]
        exposed = [host for host in hosts if not _is_loopback(host)]
        if exposed and not self.security.is_encrypted and not self.allow_insecure:
            raise SettingRefused(
                "security_protocol",
                f"{self.security.security_protocol} would send everything to {exposed[0]} in the clear; set "
                "FAILSOFT_KAFKA_SECURITY_PROTOCOL to SSL or SASL_SSL, or, on a network that you trust, "
                "FAILSOFT_KAFKA_ALLOW_INSECURE to true",
            )

    @classmethod
    def from_environment(cls, bootstrap: str | None = None, *, environment: Mapping[str, str] = os.environ) -> Self:
        """Take what the command line says, else the environment, else the file that it names; see :mod:`failsoft.kafka.settings`.

        There is no default: the wrong cluster is worse than none.

        Raises:
            ConfigurationError: a setting is wrong or no broker is named; says where.
        """
        settings = read_settings(environment, bootstrap=bootstrap)
        servers = settings.text("bootstrap_servers")
        if not servers:
            raise ConfigurationError(f"no broker named: pass --bootstrap HOST:PORT or set {BOOTSTRAP_VARIABLE}")
        try:
            connection = cls(servers, _security(settings), allow_insecure=settings.switch("allow_insecure"))
            connection.security.client_options()  # what cannot be read is told now, not in the middle of the night
        except SettingRefused as refused:
            raise settings.refusal(refused) from None
        return connection

    def client_options(self) -> dict[str, Any]:
        """The keyword arguments that every aiokafka client takes. They hold the password: never log them.

        Raises:
            EnvironmentFailure: a certificate that was there is there no more.
        """
        try:
            security = self.security.client_options()
        except SettingRefused as refused:
            raise EnvironmentFailure(str(refused)) from None
        return {
            "bootstrap_servers": self.bootstrap_servers,
            "client_id": "failsoft",
            "retry_backoff_ms": RETRY_BACKOFF_MS,
            **security,
        }


def names_a_broker(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment, or the file that it names, says where a cluster is."""
    return read_settings(environment).text("bootstrap_servers") is not None


def _security(settings: Settings) -> Security:
    return Security(
        security_protocol=settings.text("security_protocol") or "PLAINTEXT",
        ca_file=settings.path("ca_file"),
        cert_file=settings.path("cert_file"),
        key_file=settings.path("key_file"),
        sasl_mechanism=settings.text("sasl_mechanism"),
        username=settings.text("username"),
        password=settings.password(),
    )


def _host(server: str) -> str:
    found = _SERVER.fullmatch(server)
    if not found:
        raise SettingRefused("bootstrap_servers", f"{server!r} is not host:port, such as broker:9092")
    return found[1].strip("[]")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"
