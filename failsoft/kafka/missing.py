"""A topic that a record is to be sent to, and that is not there: an outage, or a mistake?

aiokafka says the same of both, since in both no broker has told it of the topic. So a fresh client asks. Only a broker that
answers, and does not know the topic, counts; in an outage the wait begins anew. After half a minute of such answers it is a
mistake: the send fails and names the topic, instead of waiting for ever in silence. Nothing is lost by that, because
what could not be published is not committed either.
"""

import asyncio

from failsoft.kafka.clients import partition_counts
from failsoft.kafka.connection import Connection
from failsoft.policy.errors import ConfigurationError, EnvironmentFailure

MISSING_SECONDS = 30.0
"""Deleting a topic and making it anew takes an operator seconds; who forgot it does not remember by himself."""


class Search:
    """How long brokers that answer have not known a topic.

    Args:
        connection: where the cluster is.
        topic: which.
        patience_seconds: how long that may go on.
    """

    def __init__(self, connection: Connection, topic: str, *, patience_seconds: float) -> None:
        self._connection = connection
        self._topic = topic
        self._patience_seconds = patience_seconds
        self._missing_since: float | None = None

    async def look(self) -> None:
        """Ask for the topic. Raises ConfigurationError once it has been missing for too long."""
        try:
            await partition_counts(self._connection, [self._topic])
        except ConfigurationError:
            now = asyncio.get_running_loop().time()
            self._missing_since = now if self._missing_since is None else self._missing_since
            if now - self._missing_since >= self._patience_seconds:
                raise
        except EnvironmentFailure:
            self._missing_since = None
        else:
            self._missing_since = None
