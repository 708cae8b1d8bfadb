"""Replays dead letters: each is handled once, however often whoever does it is cut off.

Per letter three records are sent, each acknowledged before the next: a mark ``sending``, the replay, a mark ``replayed``. A run
that is killed anywhere leaves letters without a mark, which were not sent, letters that are done, and a few between the two
marks: those may have been sent. The next run looks for these in the topic they were meant for, from the first mark on, and sends
what it does not find. That costs one reading of what was written there meanwhile, and nothing where no run was cut off.

A write that reaches the log after it was looked for (of a process that was just killed) is sent twice; so is a letter that two
people replay at once. Both records have one name (:mod:`failsoft.wire.replay`), so one visible result.

A letter that cannot be replayed stays open and is counted by what stands in the way.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from typing import NamedTuple

from failsoft.catalogue import Catalogue, ClassSettings, dead_letters_topic
from failsoft.kafka import RecordRefused, ResultRecord
from failsoft.policy.errors import ConfigurationError, MalformedRecord
from failsoft.runtime.clock import Clock
from failsoft.runtime.dead_letter_marks import put_mark
from failsoft.runtime.dead_letters import Letter, Read, began_at
from failsoft.runtime.ports import OutboxPort
from failsoft.runtime.replay_terms import Obstacle, Tally, Terms
from failsoft.runtime.submission import choose_budget
from failsoft.runtime.window import Window
from failsoft.wire import Identity, Record
from failsoft.wire.dead_letter import DeadLetter, decode_dead_letter
from failsoft.wire.dead_letter_mark import Deed, Mark
from failsoft.wire.replay import encode_replay, end_of

CLOCKS_SECONDS = 60.0
"""The mark and the replay are stamped by two brokers, whose clocks are believed to agree within this (policy/deadline.py)."""


class _InTheWay(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, obstacle: Obstacle, text: str) -> None:
        super().__init__(text)
        self.obstacle = obstacle


class _Chosen(NamedTuple):
    topic: str
    settings: ClassSettings


class Replayer:
    """Replays dead letters of one pipeline.

    Args:
        read: reads topics.
        outbox: to the cluster; unused in a dry run.
        catalogue: the topics there are.
        pipeline: whose letters they are.
        terms: how.
        clock: of this process.
        on_obstacle: told of each letter that is not replayed, what is in the way, and that in words.
    """

    def __init__(
        self,
        read: Read,
        outbox: OutboxPort,
        catalogue: Catalogue,
        *,
        pipeline: str,
        terms: Terms,
        clock: Clock,
        on_obstacle: Callable[[Letter, Obstacle, str], None] = lambda *_: None,
    ) -> None:
        self.tally = Tally()
        self._read = read
        self._outbox = outbox
        self._shelf = dead_letters_topic(pipeline)
        stages = catalogue.pipelines[pipeline]
        self._classes = {
            topic: catalogue.classes[name]
            for stage in stages
            for name, topic in catalogue.stage_topics(pipeline, stage).items()
        }
        self._first = set(catalogue.stage_topics(pipeline, stages[0]).values())
        self._terms = terms
        self._clock = clock
        self._on_obstacle = on_obstacle
        self._window = Window()
        self._next_at = 0.0

    def topics(self, letters: Iterable[Letter]) -> set[str]:
        """Say where these would go, so that somebody can see whether that is there.

        Raises:
            ConfigurationError: the topic to send to, or the deadline, is not possible.
        """
        if self._terms.to is not None and self._terms.to not in self._classes:
            raise ConfigurationError(f"--to {self._terms.to}: no stage's topic; there are {', '.join(self._classes)}")
        topics = {self._terms.to or letter.topic for letter in letters} & self._classes.keys()
        for topic in topics:
            choose_budget(self._classes[topic], self._terms.deadline_seconds)
        return topics

    async def run(self, letters: Sequence[Letter]) -> None:
        """Replay these; ``tally`` tells what came of it, also when this is cut off.

        Raises:
            ConfigurationError: the topic to send to, or the deadline, is not possible; nothing was sent.
        """
        self.topics(letters)
        sent = await self._settle(letters)
        await self._send_all({letter.places[0]: letter for letter in letters if letter.id not in sent})

    async def _settle(self, letters: Sequence[Letter]) -> set[str]:
        """Mark those that a run had sent before it was cut off; return their ids."""
        unsure: dict[str, dict[Identity, Letter]] = defaultdict(dict)
        for letter in letters:
            topic = letter.said.mark.to if letter.said is not None and letter.deed is Deed.SENDING else None
            if topic in self._classes:  # else it is no stage's any more, and what it held will have no result
                unsure[topic][letter.next_replay.identity] = letter
        found = [letter for topic, wanted in unsure.items() for letter in await self._find(topic, wanted)]
        for letter in found:
            await self._mark(letter, Deed.REPLAYED, letter.said.mark.to if letter.said else None)
            self.tally.found += 1
        return {letter.id for letter in found}

    async def _find(self, topic: str, wanted: dict[Identity, Letter]) -> list[Letter]:
        since = min(letter.said.at for letter in wanted.values() if letter.said) - CLOCKS_SECONDS
        missed = {(identity.source, identity.id): letter for identity, letter in wanted.items()}
        found = []
        async with aclosing(self._read(topic, since=max(0.0, since))) as records:
            async for record in records:
                if (letter := missed.pop(_said(record), None)) is not None:
                    found.append(letter)
                if not missed:
                    break
        return found

    async def _send_all(self, wanted: dict[tuple[int, int], Letter]) -> None:
        async with (
            asyncio.TaskGroup() as sending,
            aclosing(self._read(self._shelf, since=began_at(wanted.values()))) as records,
        ):
            async for record in records:
                letter = wanted.pop((record.partition, record.offset), None)
                if letter is not None:
                    await self._window.enter(len(record.value or b""))
                    await self._keep_pace()
                    sending.create_task(self._take(letter, record))
                if not wanted:
                    break
        for letter in wanted.values():
            self._note(letter, _InTheWay(Obstacle.GONE, "its retention passed meanwhile"))

    async def _take(self, letter: Letter, record: ResultRecord) -> None:
        try:
            await self._replay(letter, decode_dead_letter(record.key, record.value, record.headers))
            self.tally.replayed += 1
        except _InTheWay as obstacle:
            self._note(letter, obstacle)
        finally:
            self._window.leave(len(record.value or b""))

    async def _replay(self, letter: Letter, whole: DeadLetter) -> None:
        topic, settings = self._choose(letter)
        record = self._written(letter, whole, settings, is_between=topic not in self._first)
        if self._terms.is_dry:
            return
        await self._mark(letter, Deed.SENDING, topic)
        try:
            await self._outbox.send(topic, key=record.key, value=record.value, headers=record.headers)
        except RecordRefused as error:
            raise _InTheWay(Obstacle.TOO_LARGE, str(error)) from None
        await self._mark(letter, Deed.REPLAYED, topic)

    def _choose(self, letter: Letter) -> _Chosen:
        topic, number = self._terms.to or letter.topic, letter.next_replay.number
        if not letter.is_whole:
            raise _InTheWay(Obstacle.NO_VALUE, f"its value of {letter.size_bytes} bytes was too large to be kept")
        if number > self._terms.max_replays:
            raise _InTheWay(
                Obstacle.REPLAYED_OFTEN, f"replayed {number - 1} times; --max-replays {number} lets it go once more"
            )
        if topic not in self._classes:
            raise _InTheWay(Obstacle.UNKNOWN_TOPIC, f"{topic} is no stage's topic any more; name another with --to")
        return _Chosen(topic, self._classes[topic])

    def _written(self, letter: Letter, whole: DeadLetter, settings: ClassSettings, *, is_between: bool) -> Record:
        now = self._clock.wall()
        try:
            expires_at = self._end(letter, whole, settings, now)
            if expires_at <= now:
                raise _InTheWay(
                    Obstacle.DEADLINE_PASSED, "its deadline has passed; leave --keep-deadline out to give a new one"
                )
            return encode_replay(whole, letter.next_replay, expires_at=expires_at, sent_at=now, is_between=is_between)
        except MalformedRecord as error:
            raise _InTheWay(Obstacle.MALFORMED, str(error)) from None

    def _end(self, letter: Letter, whole: DeadLetter, settings: ClassSettings, now: float) -> float:
        if self._terms.keeps_deadline:
            return end_of(whole, given_up_at=letter.appended_at, default_seconds=settings.deadline_seconds)
        return now + choose_budget(settings, self._terms.deadline_seconds)

    async def _mark(self, letter: Letter, deed: Deed, to: str | None) -> None:
        if not self._terms.is_dry:
            await put_mark(self._outbox, self._shelf, letter, Mark(letter.id, deed, letter.next_replay.number, to))

    def _note(self, letter: Letter, obstacle: _InTheWay) -> None:
        self.tally.obstacles[obstacle.obstacle] += 1
        self._on_obstacle(letter, obstacle.obstacle, str(obstacle))

    async def _keep_pace(self) -> None:
        """Wait for this one's turn. There is no burst: the first second is like any other."""
        if self._terms.is_dry:
            return
        now = self._clock.monotonic()
        await asyncio.sleep(max(0.0, self._next_at - now))
        self._next_at = max(now, self._next_at) + 1 / self._terms.per_second


def _said(record: ResultRecord) -> tuple[str, str]:
    """Whose request a record is, as far as its headers say."""
    headers = dict(record.headers)
    source, id_ = headers.get("ce_source", b""), headers.get("ce_id", b"")
    return source.decode(errors="replace"), id_.decode(errors="replace")
