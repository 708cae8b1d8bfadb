"""Where the cluster is, and what every client of this process says when it connects.

aiokafka waits a fixed time between attempts, without jitter and without growth: one consumer made 98 attempts in 5 s at
its default of 100 ms (research/reliability.md A28). Processes that lost one broker would come back in step, so each
process draws its own wait once, from 250 to 750 ms.
"""

import os
import random
import re
from dataclasses import dataclass
from typing import Any, Self

from failsoft.policy.errors import ConfigurationError

BOOTSTRAP_VARIABLE = "KAFKA_BOOTSTRAP_SERVERS"

RETRY_BACKOFF_MS = random.randint(250, 750)
"""Drawn, not derived from the process id: in containers that is 1 everywhere."""

_SERVER = re.compile(r"(?:[^\s,:\[\]]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Connection:
    """One cluster to talk to.

    Attributes:
        bootstrap_servers: ``host:port``, several with commas between.
    """

    bootstrap_servers: str

    def __post_init__(self) -> None:
        """Refuse what no client could connect to, before a client hangs on it."""
        for server in self.bootstrap_servers.split(","):
            if not _SERVER.fullmatch(server.strip()):
                raise ConfigurationError(f"bootstrap servers: {server.strip()!r} is not host:port, such as broker:9092")

    @classmethod
    def from_environment(cls, bootstrap: str | None = None) -> Self:
        """Take what the command line says, else the environment. No default: the wrong cluster is worse than none."""
        servers = bootstrap or os.environ.get(BOOTSTRAP_VARIABLE)
        if not servers:
            raise ConfigurationError(f"no broker named: pass --bootstrap HOST:PORT or set {BOOTSTRAP_VARIABLE}")
        return cls(servers)

    def client_options(self) -> dict[str, Any]:
        """The keyword arguments that every aiokafka client takes."""
        return {
            "bootstrap_servers": self.bootstrap_servers,
            "client_id": "failsoft",
            "retry_backoff_ms": RETRY_BACKOFF_MS,
        }
