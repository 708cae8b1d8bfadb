"""Tells the other workers this one's word on breakers: the newest of each, and nothing waits for it.

While a word is under way, newer ones on the same breaker replace each other; only the last is sent when the way is free. A word
has three seconds: its counts and durations grow old, and the machine says it again as long as it matters. So an outage leaves
neither a backlog nor old news behind it.

Who goes in order takes its words back, as far as others know as much. Else it would count as living for half a minute, and
those who wait for their turn to probe would leave it one.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from enum import StrEnum

import structlog
from prometheus_client import Counter

from failsoft.kafka import OutboxClosed, RecordRefused
from failsoft.policy.actions import AnnounceRegister
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.register import Register
from failsoft.runtime.ports import OutboxPort
from failsoft.wire.register import encode_deleted_register, encode_register

log = structlog.get_logger("failsoft.breakers")

LEAVE_SECONDS = 1.0
"""As for the last commit: what does not come through is forgotten with the topic's retention."""
SEND_SECONDS = 3.0
"""Three of the announcements that trouble makes; what takes longer is news to nobody."""


class Said(StrEnum):
    """What became of a word."""

    SENT = "sent"
    REPLACED = "replaced"
    """A newer one came before it could be sent."""
    FAILED = "failed"
    """The broker did not take it, or not in time."""


class Announcer:
    """Sends this worker's registers.

    Args:
        outbox: the way to the broker.
        topic: ``<pipeline>.breakers``.
        process: this worker's name, unlike any other's.
        said: counts words by what became of them.
    """

    def __init__(self, outbox: OutboxPort, topic: str, *, process: str, said: Counter) -> None:
        self._outbox = outbox
        self._topic = topic
        self._process = process
        self._said = said
        self._waiting: dict[str, Register] = {}
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._is_failing = False
        self._has_left = False

    def announce(self, action: AnnounceRegister) -> None:
        """Have the others know. Returns at once."""
        if self._has_left:
            return
        if action.breaker in self._waiting:
            self._count(Said.REPLACED)
        self._waiting[action.breaker] = action.register
        if action.breaker not in self._sending:
            task = asyncio.get_running_loop().create_task(self._send_all(action.breaker))
            self._sending[action.breaker] = task

    async def leave(self, breakers: Iterable[str]) -> None:
        """Say nothing more, and take back what was said of these; a broker that does not answer is not waited for."""
        await self.close()
        records = [encode_deleted_register(breaker, self._process) for breaker in breakers]
        with contextlib.suppress(TimeoutError, RecordRefused, OutboxClosed, ConfigurationError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await asyncio.gather(*(self._outbox.send(self._topic, key=r.key, value=None) for r in records))

    async def close(self) -> None:
        """Say nothing more, and wait for nothing that is under way."""
        self._has_left = True
        sending = list(self._sending.values())
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)

    async def _send_all(self, breaker: str) -> None:
        try:
            while (register := self._waiting.pop(breaker, None)) is not None:
                await self._send(breaker, register)
        finally:
            del self._sending[breaker]

    async def _send(self, breaker: str, register: Register) -> None:
        record = encode_register(breaker, self._process, register)
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._outbox.send(self._topic, key=record.key, value=record.value, headers=record.headers)
        except (TimeoutError, RecordRefused, OutboxClosed, ConfigurationError) as error:
            self._count(Said.FAILED)
            self._note_failure(error)
        else:
            self._count(Said.SENT)
            self._is_failing = False

    def _count(self, fate: Said) -> None:
        self._said.labels(fate.value).inc()

    def _note_failure(self, error: Exception) -> None:
        """Say once that nobody is told, until somebody is again."""
        if not self._is_failing:
            log.warning("breakers_not_shared", topic=self._topic, error=repr(error))
        self._is_failing = True
