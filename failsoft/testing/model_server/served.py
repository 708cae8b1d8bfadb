"""One served model: its slots, its queue, its faults, and the account of every call.

At every instant calls = answered + failed + cancelled + in service + queued: nothing that came is forgotten. A call whose
client has gone is cancelled by the server, and gives its slot back in that moment.

*Repeated* are calls that ask what this model was asked before: retries, redeliveries, and questions that nobody shares.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from failsoft.testing.model_server.faults import Failure, Faults, broken_end, draw, refusal, service_seconds
from failsoft.testing.model_server.settings import ModelSettings

PROMPTS_MAX = 100_000
"""What is remembered of the past, as digests: some ten megabytes; of what is older a repeat is not seen."""


class ServedModel:
    """A model in service. Belongs to the event loop that runs when it is made, and lives on its clock.

    Args:
        name: what clients call it.
        settings: what it is like.
        seed: of its draws; each model draws by itself, so that calls of one do not move another's.
    """

    def __init__(self, name: str, settings: ModelSettings, *, seed: int) -> None:
        self.name = name
        self.settings = settings
        self._now = asyncio.get_running_loop().time
        self._rng = random.Random(f"{seed}/{name}")
        self._slots = asyncio.Semaphore(settings.slots)
        self._moving = asyncio.Event()
        self._moving.set()
        self._under_way: set[asyncio.Timeout] = set()
        self._queued = 0
        self._in_service = 0
        self._faults = Faults()
        self.reset_stats()

    @property
    def faults(self) -> Faults:
        """What goes wrong now."""
        return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        """Switch faults, all at once. An outage breaks off what is under way; the end of a hang lets it go on."""
        self._faults = faults
        if faults.hang or faults.outage:
            self._moving.clear()
        else:
            self._moving.set()
        while faults.outage and self._under_way:
            self._under_way.pop().reschedule(0.0)

    def reset_stats(self) -> None:
        """Count from here; calls under way count as new."""
        self._calls = self._queued + self._in_service
        self._answered = 0
        self._cancelled = 0
        self._failed = Counter[Failure]()
        self._repeated = 0
        self._asked = dict[int, None]()
        self._busy_seconds = 0.0
        self._wasted_seconds = 0.0
        self._changed_at = self._now()

    def stats(self) -> dict[str, Any]:
        """The account so far. ``wasted_seconds`` is the slot time of calls that were broken off, by client or outage."""
        self._note_in_service(0)
        return {
            "calls": self._calls,
            "answered": self._answered,
            "failed": {failure.value: self._failed[failure] for failure in Failure},
            "cancelled": self._cancelled,
            "repeated": self._repeated,
            "in_service": self._in_service,
            "queued": self._queued,
            "busy_seconds": self._busy_seconds,
            "wasted_seconds": self._wasted_seconds,
        }

    async def serve(self, prompt: str | None = None, *, work: float = 1.0) -> Failure | None:
        """Take one call through the queue and its service time; cancelled when its client goes.

        Args:
            prompt: what is asked; None: no repeat of anything.
            work: how many times as long as usual it takes.

        Returns:
            How it failed; None if it may be answered.
        """
        self._calls += 1
        if prompt is not None:
            self._note_asked(hash(prompt))
        try:
            failure = await self._until_outage(work)
        except asyncio.CancelledError:
            self._cancelled += 1
            raise
        if failure is None:
            self._answered += 1
        else:
            self._failed[failure] += 1
        return failure

    def _note_asked(self, digest: int) -> None:
        self._repeated += digest in self._asked
        self._asked[digest] = None
        if len(self._asked) > PROMPTS_MAX:
            del self._asked[next(iter(self._asked))]

    async def _until_outage(self, work: float) -> Failure | None:
        lot = draw(self._rng)
        if self._faults.outage:
            return Failure.OUTAGE
        if refused := refusal(lot, self._faults):
            return refused
        if self._slots.locked() and self._queued >= self.settings.queue:
            return Failure.QUEUE_FULL
        try:
            async with self._breakable(), self._slot():
                await asyncio.sleep(service_seconds(lot, self.settings, self._faults, work=work))
                await self._moving.wait()
                return broken_end(lot, self._faults)
        except TimeoutError:
            return Failure.OUTAGE

    @asynccontextmanager
    async def _breakable(self) -> AsyncIterator[None]:
        """A block that an outage ends with TimeoutError, told apart from a client that went away."""
        async with asyncio.timeout(None) as scope:
            self._under_way.add(scope)
            try:
                yield
            finally:
                self._under_way.discard(scope)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        self._queued += 1
        try:
            await self._slots.acquire()
        finally:
            self._queued -= 1
        self._note_in_service(1)
        begun_at = self._now()
        try:
            yield
        except asyncio.CancelledError:
            self._wasted_seconds += self._now() - begun_at
            raise
        finally:
            self._note_in_service(-1)
            self._slots.release()

    def _note_in_service(self, change: int) -> None:
        """Add up the slot time since the last change: busy_seconds is the integral of the calls in service."""
        now = self._now()
        self._busy_seconds += self._in_service * (now - self._changed_at)
        self._changed_at = now
        self._in_service += change
