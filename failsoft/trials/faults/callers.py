"""Who asks: open-loop load of mixed classes, with what came of each send written down.

Gaps between requests are exponential, whatever the system does. Of the requests 40 % are interactive, 45 % standard and 15 %
batch; half belong to each of two tenants, whose texts carry a canary; a fifth ask what others ask too, so that executions are
shared. Several producers take turns, each with its own connections.

A send that is not acknowledged in a minute is given up as *unknown*: the record may be in the log, or come into it yet. While an
operator makes a topic anew, what goes to it is held back here, as by callers that were told.
"""

import asyncio
import itertools
import random
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from failsoft.catalogue import Catalogue
from failsoft.kafka import Acknowledged, Connection, Outbox, OutboxClosed, RecordRefused
from failsoft.policy.request import ClassName
from failsoft.runtime.submission import Destination, choose_destination
from failsoft.trials.history import ProducerHistory, text_digest
from failsoft.wire import Envelope, Identity, Record, RequestLine
from failsoft.wire.body import encode_request
from failsoft.wire.envelope import encode_request_headers
from failsoft.wire.identity import result_id

CLASSES: Mapping[ClassName, float] = {"interactive": 0.40, "standard": 0.45, "batch": 0.15}
CANARIES: Mapping[str, str] = {"red": "canary-red-7f3a", "blue": "canary-blue-c41e"}
PRODUCERS = 2
SHARED = 0.2
SHARED_QUESTIONS = 40
GIVE_UP_SECONDS = 60.0
PATH = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request on its way: whither, what, whose result it will have, if it is meant to be served, and a digest of its text."""

    destination: Destination
    record: Record
    result_id: str
    is_poison: bool = False
    asks: str | None = None


class Callers:
    """Producers of requests, as a context manager.

    Args:
        connection: through their own proxies.
        catalogue: of the topics.
        pipeline: whom they ask.
        folder: of the history.
        seed: of what they ask and when.
        per_second: how much, on average.
    """

    def __init__(
        self,
        connection: Connection,
        catalogue: Catalogue,
        *,
        pipeline: str,
        folder: Path,
        seed: int,
        per_second: float,
    ) -> None:
        self._outboxes = [Outbox(connection) for _ in range(PRODUCERS)]
        self._histories = [ProducerHistory(folder, number) for number in range(1, PRODUCERS + 1)]
        self._turns = itertools.cycle(zip(self._outboxes, self._histories, strict=True))
        self._rng = random.Random(seed)
        self._run = f"{seed}-{time.time_ns():x}"
        self._per_second = per_second
        self._numbers, self._texts = itertools.count(1), itertools.count(1)
        self._sends: set[asyncio.Task[None]] = set()
        self._under_way: defaultdict[str, set[asyncio.Task[None]]] = defaultdict(set)
        self._held: dict[str, asyncio.Event] = {}
        self._destinations: dict[tuple[ClassName, str], Destination] = {
            (name, tenant): choose_destination(catalogue, pipeline=pipeline, request_class=name, tenant=tenant)
            for name in CLASSES
            for tenant in CANARIES
        }
        self.accepted: dict[str, str] = {}
        """Result id -> topic, of every request that is acknowledged."""
        self.unknown = 0

    async def __aenter__(self) -> Self:
        for outbox in self._outboxes:
            await outbox.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for outbox in self._outboxes:
            await outbox.close()
        if self._sends:
            await asyncio.wait(self._sends)
        for history in self._histories:
            history.close()

    @property
    def sent(self) -> int:
        """How many requests were acknowledged."""
        return len(self.accepted)

    async def ask(self) -> None:
        """Send for ever, on time."""
        at = time.monotonic()
        while True:
            at += self._rng.expovariate(self._per_second)
            if (wait := at - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            self._send_soon(self._draw())

    async def settle(self) -> None:
        """Wait until every send has its outcome."""
        while self._sends:
            await asyncio.wait(self._sends)

    def hold(self, topic: str) -> None:
        """Keep back what goes to this topic."""
        self._held[topic] = asyncio.Event()

    async def flush(self, topic: str) -> None:
        """Wait until what is on its way to this topic has its outcome; it must be held back."""
        while under_way := self._under_way[topic]:
            await asyncio.wait(under_way)

    def release(self, topic: str) -> None:
        """Let what was kept back go."""
        self._held.pop(topic).set()

    def poison(self, request_class: ClassName, value: bytes) -> None:
        """Send bytes that are no request, under the headers of one."""
        identity, destination = self._identity(), self._destinations[request_class, "red"]
        envelope = Envelope(identity, tenant="red")
        headers = encode_request_headers(envelope, budget_seconds=destination.budget_seconds, sent_at=time.time())
        id_ = result_id(identity)
        self._send_soon(Asked(destination, Record(id_.encode(), value, headers), id_, is_poison=True))

    def ask_poisonously(self, request_class: ClassName, text: str) -> str:
        """Send a request whose text is the harm; return the id that its result will have."""
        asked = self._request(request_class, "red", text, is_poison=True)
        self._send_soon(asked)
        return asked.result_id

    def _identity(self) -> Identity:
        return Identity(f"/trial/{self._run}", str(next(self._numbers)))

    def _draw(self) -> Asked:
        (name,) = self._rng.choices(list(CLASSES), list(CLASSES.values()))
        tenant = self._rng.choice(list(CANARIES))
        is_shared = self._rng.random() < SHARED
        return self._request(
            name,
            tenant,
            f"question {self._rng.randrange(SHARED_QUESTIONS)}"
            if is_shared
            else f"in {self._run}, {next(self._texts)}",
        )

    def _request(self, name: ClassName, tenant: str, text: str, *, is_poison: bool = False) -> Asked:
        identity, destination = self._identity(), self._destinations[name, tenant]
        content = f"{CANARIES[tenant]} {text}"
        body = {"messages": [{"role": "user", "content": content}], "temperature": 0}
        line = RequestLine(identity.id, PATH, body)
        record = destination.record(line, encode_request(line), identity, sent_at=time.time())
        return Asked(destination, record, result_id(identity), is_poison, text_digest(content))

    def _send_soon(self, asked: Asked) -> None:
        task = asyncio.create_task(self._send_when_allowed(asked))
        self._sends.add(task)
        task.add_done_callback(self._sends.discard)

    async def _send_when_allowed(self, asked: Asked) -> None:
        topic = asked.destination.topic
        while held := self._held.get(topic):
            await held.wait()
        sending = asyncio.create_task(self._send(asked, *next(self._turns)))
        self._under_way[topic].add(sending)
        try:
            await sending
        finally:
            self._under_way[topic].discard(sending)

    async def _send(self, asked: Asked, outbox: Outbox, history: ProducerHistory) -> None:
        destination, record = asked.destination, asked.record
        call = history.invoke(
            asked.result_id,
            topic=destination.topic,
            request_class=destination.request_class,
            budget_seconds=destination.budget_seconds,
            tenant=destination.tenant,
            is_poison=asked.is_poison,
            asks=asked.asks,
        )
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                place = await outbox.send(destination.topic, key=record.key, value=record.value, headers=record.headers)
        except RecordRefused as error:
            history.fail(call, str(error))
        except (TimeoutError, OutboxClosed) as error:
            self.unknown += 1
            history.unknown(call, repr(error))
        else:
            self._accept(history, call, asked, place)

    def _accept(self, history: ProducerHistory, call: int, asked: Asked, place: Acknowledged) -> None:
        appended_at = place.appended_at or 0.0
        history.ok(call, asked.result_id, partition=place.partition, offset=place.offset, appended_at=appended_at)
        self.accepted[asked.result_id] = asked.destination.topic
