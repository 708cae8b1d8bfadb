"""What the tests of dead letters share: a broker in memory with letters, and somebody who replays them and may be cut off."""

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from failsoft.catalogue import Catalogue, parse
from failsoft.kafka import Acknowledged, RecordRefused, ResultRecord
from failsoft.policy.outcome import Reason
from failsoft.runtime.dead_letters import Letter, Selection, Shelf, read_letters
from failsoft.runtime.replay_terms import Obstacle, Terms
from failsoft.runtime.replaying import Replayer
from failsoft.testing.memory import MemoryBroker, MemoryOutbox, memory_records
from failsoft.testing.virtual_clock import VirtualClock
from failsoft.wire import Envelope, Identity, Record
from failsoft.wire.dead_letter import DeadLetter, encode_dead_letter
from failsoft.wire.envelope import encode_request_headers

CATALOGUE: Catalogue = parse("""
version: 1
defaults: {partitions: 3, replication: 1, config: {message.timestamp.type: LogAppendTime}}
classes:
  interactive: {weight: 8, deadline: 5s, deadline_max: 60s}
  batch:       {weight: 1, deadline: 1h, deadline_max: 2h}
pipelines: {shop: [find, answer]}
topics:
  requests:     {config: {retention.ms: 7d, max.message.bytes: 1.25MiB}}
  results:      {config: {retention.ms: 7d}}
  dead-letters: {config: {retention.ms: 14d}}
""")
OPEN, TERMS = Selection(), Terms()
SHELF = "shop.dead-letters"
BATCH, INTERACTIVE = "shop.find.batch", "shop.find.interactive"


class Killed(BaseException):
    """The process is gone: nothing that it would do afterwards happens."""


class Killable(MemoryOutbox):
    """The outbox of a process that dies at one of its sends: before the record is written, or after."""

    def __init__(self, broker: MemoryBroker, *, dies_at: int, is_written: bool) -> None:
        super().__init__(broker)
        self._left = dies_at
        self._is_written = is_written
        self.is_dead = False

    async def send(self, topic: str, **record: Any) -> Acknowledged:
        if self.is_dead:
            raise Killed
        self._left -= 1
        if self._left < 0:
            self.is_dead = True
            if self._is_written:
                await super().send(topic, **record)
            raise Killed
        return await super().send(topic, **record)


class Refusing(MemoryOutbox):
    """The outbox to a topic that takes nothing."""

    def __init__(self, broker: MemoryBroker, topic: str) -> None:
        super().__init__(broker)
        self._topic = topic

    async def send(self, topic: str, **record: Any) -> Acknowledged:
        if topic == self._topic:
            raise RecordRefused("too large")
        return await super().send(topic, **record)


class Office:
    """A broker with a topic of dead letters."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.broker = MemoryBroker(CATALOGUE, self.clock)
        self.outbox = MemoryOutbox(self.broker)
        self.noted: list[tuple[str, Obstacle]] = []

    def read(self, topic: str, *, since: float) -> AsyncGenerator[ResultRecord, None]:
        return memory_records(self.broker, topic, since=since)

    def letter(self, id_: str, *, topic: str = BATCH, offset: int = 0, **headers: str) -> DeadLetter:
        sent = encode_request_headers(Envelope(Identity("/app", id_)), budget_seconds=5.0, sent_at=self.clock.wall())
        said = (*sent, *((name, text.encode()) for name, text in headers.items()))
        stage = topic.rpartition(".")[0]
        return DeadLetter(topic, 0, offset, stage, Reason.POISON, "why", "poison", id_.encode(), id_.encode(), said)

    async def put(self, *letters: DeadLetter) -> None:
        for letter in letters:
            await self._append(SHELF, encode_dead_letter(letter))

    async def put_many(self, count: int) -> None:
        await self.put(*(self.letter(f"q{number}", offset=number) for number in range(count)))

    async def shelf(self) -> Shelf:
        return await read_letters(self.read, SHELF)

    async def letters(self, selection: Selection = OPEN) -> list[Letter]:
        return [letter for letter in (await self.shelf()).letters if selection.has(letter)]

    async def replay(
        self, terms: Terms = TERMS, *, letters: Sequence[Letter] | None = None, outbox: MemoryOutbox | None = None
    ) -> Replayer:
        replayer = Replayer(
            self.read,
            outbox or self.outbox,
            CATALOGUE,
            pipeline="shop",
            terms=terms,
            clock=self.clock,
            on_obstacle=lambda letter, obstacle, _: self.noted.append((letter.request.id, obstacle)),
        )
        await replayer.run(await self.letters() if letters is None else letters)
        return replayer

    async def replay_until_killed(self, dies_at: int, *, is_written: bool, terms: Terms = TERMS) -> bool:
        """Replay with a process that dies; return whether it did."""
        outbox = Killable(self.broker, dies_at=dies_at, is_written=is_written)
        try:
            await self.replay(terms, outbox=outbox)
        except* Killed:
            pass
        return outbox.is_dead

    def sent(self, topic: str = BATCH) -> Counter[tuple[str, bytes | None]]:
        """What stands in a topic of requests: (whose, value) -> how often."""
        return Counter(
            (dict(record.headers)["ce_source"].decode() + " " + dict(record.headers)["ce_id"].decode(), record.value)  # type: ignore[union-attr]
            for record in self.records(topic)
        )

    def records(self, topic: str) -> list[Record]:
        logs = self.broker.topic(topic).logs
        return [entry.value for log in logs for entry in log.read(0, log.end) if entry.value is not None]

    async def _append(self, topic: str, record: Record, partition: int | None = None) -> None:
        await self.outbox.send(topic, key=record.key, value=record.value, headers=record.headers, partition=partition)
