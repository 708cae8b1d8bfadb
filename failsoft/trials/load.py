"""Open-loop load: what is sent and when is drawn before anything is sent, and nothing the system does changes it.

Arrivals are a Poisson process, the gaps between them exponential: many people who do not know of each other. A sender that
falls behind (a busy machine, a broker that makes it wait) sends late and at once what is due; how late is measured, because
a trial whose load came late has tried less than it says.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from failsoft.catalogue import Catalogue
from failsoft.kafka import Outbox, RecordRefused
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.request import ClassName
from failsoft.runtime.submission import Destination, choose_destination
from failsoft.trials.digits import Sheet, Sheets
from failsoft.trials.ledger import Asked, Ledger
from failsoft.trials.scenario import ASKING
from failsoft.wire import Identity, RequestLine
from failsoft.wire.body import encode_request
from failsoft.wire.identity import result_id

PATH = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request that will be sent.

    Attributes:
        at_seconds: when, from the beginning of its phase.
        identity: names it.
        asked: what the ledger has to know of it.
        answer: that is right; nothing where there is no such one.
        line: what is asked.
    """

    at_seconds: float
    identity: Identity
    asked: Asked
    answer: str
    line: RequestLine = field(repr=False)

    @property
    def result_id(self) -> str:
        """The id that its result will have."""
        return result_id(self.identity)


class Paced(Protocol):
    """A part of a trial in which requests are sent."""

    @property
    def name(self) -> str:
        """Unlike that of the others."""

    @property
    def seconds(self) -> float:
        """How long."""

    @property
    def requests_per_second(self) -> float:
        """How many."""


class Asker(Protocol):
    """Who says what is asked."""

    def draw(self) -> Sheet:
        """The next question."""


def draw_load(
    run: str, phases: Sequence[Paced], *, seed: int, asker: Callable[[str, random.Random], Asker] = Sheets
) -> list[Arrival]:
    """Draw what is sent in all phases of a trial.

    Args:
        run: its unique name; the seed decides everything else.
        phases: in order, with different names.
        seed: of when, in which class, what.
        asker: makes who says what is asked in this run.
    """
    rng = random.Random(seed)
    questions, source, shares = asker(run, rng), f"/demo/{run}", [each.share for each in ASKING]
    arrivals: list[Arrival] = []
    for phase in phases:
        for at_seconds in _poisson(phase, rng):
            (asking,) = rng.choices(ASKING, shares)
            number, sheet = str(len(arrivals) + 1), questions.draw()
            asked = Asked(phase.name, asking.request_class, source, f"{run}-{number}", asking.deadline_seconds)
            line = RequestLine(asked.custom_id, PATH, dict(sheet.body))
            arrivals.append(Arrival(at_seconds, Identity(source, number), asked, sheet.answer, line))
    return arrivals


def _poisson(phase: Paced, rng: random.Random) -> Iterator[float]:
    at_seconds = rng.expovariate(phase.requests_per_second)
    while at_seconds < phase.seconds:
        yield at_seconds
        at_seconds += rng.expovariate(phase.requests_per_second)


class OpenLoop:
    """Sends arrivals on time, and enters into the ledger what the broker has accepted.

    Args:
        outbox: to the cluster, started.
        catalogue: of the topics.
        ledger: that knows what is asked.
        pipeline: whom it is asked.
    """

    def __init__(self, outbox: Outbox, catalogue: Catalogue, ledger: Ledger, *, pipeline: str) -> None:
        self._outbox = outbox
        self._ledger = ledger
        self._destinations: Mapping[ClassName, Destination] = {
            each.request_class: choose_destination(
                catalogue,
                pipeline=pipeline,
                request_class=each.request_class,
                deadline_seconds=each.deadline_seconds,
            )
            for each in ASKING
        }
        self.late_seconds = 0.0
        """How much after its time a request was sent at worst."""

    async def send(self, arrivals: Sequence[Arrival], *, seconds: float) -> None:
        """Send the arrivals of one phase; return when it is over and every request acknowledged.

        Raises:
            ConfigurationError: the topics keep the senders' time, by which nothing can be judged, or refuse requests.
        """
        began_at = time.monotonic()
        try:
            async with asyncio.TaskGroup() as sending:
                for arrival in arrivals:
                    await _sleep_until(began_at + arrival.at_seconds)
                    self.late_seconds = max(self.late_seconds, time.monotonic() - began_at - arrival.at_seconds)
                    sending.create_task(self._send(arrival))
                await _sleep_until(began_at + seconds)
        except ExceptionGroup as group:
            raise group.exceptions[0] from None  # what is wrong with one request is wrong with all

    async def _send(self, arrival: Arrival) -> None:
        destination = self._destinations[arrival.asked.request_class]
        value = encode_request(arrival.line)
        record = destination.record(arrival.line, value, arrival.identity, sent_at=time.time())
        try:
            place = await self._outbox.send(
                destination.topic, key=record.key, value=record.value, headers=record.headers
            )
        except RecordRefused as error:
            raise ConfigurationError(f"the broker or its topics refuse what the trial asks: {error}") from None
        if place.appended_at is None:
            raise ConfigurationError("a trial needs the broker's time: set message.timestamp.type: LogAppendTime")
        self._ledger.accept(arrival.result_id, appended_at=place.appended_at)


async def _sleep_until(instant: float) -> None:
    remaining = instant - time.monotonic()
    if remaining > 0:
        await asyncio.sleep(remaining)
