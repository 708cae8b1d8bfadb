"""The dead letters of a pipeline: each once, with what was done about it, and which of them are meant.

They are read from the beginning of their topic to its end as it is now, and kept without key, value and headers: values may have
4 MiB each, and what they hold is private. Who needs one whole reads it again, from its place.

A worker that dies between a letter and its commit leaves the letter to the next owner, who writes it again. Such repeats
are one letter with several places.
"""

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from failsoft.kafka import ResultRecord
from failsoft.policy.errors import ConfigurationError, MalformedRecord
from failsoft.policy.outcome import Reason
from failsoft.wire import Identity
from failsoft.wire.dead_letter import DeadLetter, decode_dead_letter
from failsoft.wire.dead_letter_mark import Deed, Mark, decode_mark
from failsoft.wire.identity import result_id
from failsoft.wire.replay import Replay

ID_CHARACTERS = 8
"""The shortest beginning of an id that names a letter: eight hexadecimal digits."""


class Read(Protocol):
    """A way to read a topic as it stands in the log."""

    def __call__(self, topic: str, *, since: float) -> AsyncGenerator[ResultRecord, None]:
        """Yield every record from an instant, epoch seconds, to the end of the log as it is now."""


class Said(NamedTuple):
    """A mark, and when it was made, by the broker's clock, epoch seconds."""

    mark: Mark
    at: float


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter, without what it holds.

    Attributes:
        id: the letter's own name; marks speak of it.
        request: which request was given up.
        tenant: whose it is.
        topic: with partition and offset, the place of the record that was given up.
        partition: see topic.
        offset: see topic.
        stage: who gave it up.
        reason: why, as a closed word.
        problem: why, for people.
        error: the class of the error.
        size_bytes: of its value.
        is_whole: whether its value was kept.
        appended_at: when it was written, by the broker's clock, epoch seconds.
        places: where it stands among the dead letters: (partition, offset), the first one first.
        said: what was done about it, and when; None: nothing yet.
    """

    id: str
    request: Identity
    tenant: str | None
    topic: str
    partition: int
    offset: int
    stage: str
    reason: Reason
    problem: str
    error: str
    size_bytes: int
    is_whole: bool
    appended_at: float
    places: tuple[tuple[int, int], ...]
    said: Said | None = None

    @property
    def result_id(self) -> str:
        """The id of the result that says how its request ended: what people call the letter."""
        return result_id(self.request)

    @property
    def deed(self) -> Deed | None:
        """What was done about it, if anything was."""
        return None if self.said is None else self.said.mark.deed

    @property
    def is_open(self) -> bool:
        """Whether something is to be done yet. Of one whose replay may have been sent that is to find out."""
        return self.deed in (None, Deed.SENDING)

    @property
    def replays(self) -> int:
        """How often its request has been replayed, one that may have been sent included."""
        told = Replay.told(self.request).number
        return told if self.said is None else max(told, self.said.mark.number)

    @property
    def next_replay(self) -> Replay:
        """What its next replay is called; one that may have been sent keeps its name."""
        number = self.replays if self.deed is Deed.SENDING else self.replays + 1
        return Replay(Replay.told(self.request).original, number)

    @property
    def partitions(self) -> tuple[int, ...]:
        """Where its marks have to stand: wherever it stands itself."""
        return tuple(dict.fromkeys(partition for partition, _ in self.places))


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters are meant; what is None does not matter.

    Attributes:
        reasons: one of these.
        stage: given up by this one: its name, with or without its pipeline's.
        since_at: written at this instant or later, by the broker's clock, epoch seconds.
        until_at: written before.
        tenant: whose.
        id: its result's id or the beginning of that, or its request's id.
        is_of_all: also those that were handled.
    """

    reasons: frozenset[Reason] = frozenset()
    stage: str | None = None
    since_at: float | None = None
    until_at: float | None = None
    tenant: str | None = None
    id: str | None = None
    is_of_all: bool = False

    def has(self, letter: Letter) -> bool:
        """Tell whether a letter is meant."""
        return (
            (self.is_of_all or letter.is_open)
            and (not self.reasons or letter.reason in self.reasons)
            and (self.stage is None or self.stage in (letter.stage, letter.stage.rpartition(".")[2]))
            and (self.since_at is None or letter.appended_at >= self.since_at)
            and (self.until_at is None or letter.appended_at < self.until_at)
            and (self.tenant is None or letter.tenant == self.tenant)
            and (self.id is None or is_called(letter, self.id))
        )


@dataclass(slots=True)
class Shelf:
    """What stands in a topic of dead letters.

    Attributes:
        letters: in the order in which they were written.
        foreign: records that are neither letters nor marks.
    """

    letters: list[Letter] = field(default_factory=list)
    foreign: int = 0


def is_called(letter: Letter, name: str) -> bool:
    """Tell whether people mean this letter."""
    is_beginning = len(name) >= ID_CHARACTERS and letter.result_id.startswith(name.lower())
    return is_beginning or name == letter.request.id


async def read_letters(read: Read, topic: str) -> Shelf:
    """Read all dead letters that are there, each once, with what was done about it."""
    shelf, letters, said = Shelf(), dict[str, Letter](), dict[str, Said]()
    async for record in read(topic, since=0.0):
        match _decoded(record):
            case Letter() as found:
                letters[found.id] = _joined(letters[found.id], found) if found.id in letters else found
            case Mark() as mark:
                word = Said(mark, record.timestamp)
                said[mark.letter] = max(
                    said.get(mark.letter, word), word, key=lambda each: (each.mark.standing, each.at)
                )
            case None:
                shelf.foreign += 1
    marked = (replace(letter, said=said.get(id_)) for id_, letter in letters.items())
    shelf.letters = sorted(marked, key=lambda letter: letter.appended_at)
    return shelf


async def read_whole(read: Read, topic: str, letter: Letter) -> DeadLetter:
    """Read one letter with all that it holds.

    Raises:
        ConfigurationError: it is there no more.
    """
    async with aclosing(read(topic, since=letter.appended_at)) as records:
        async for record in records:
            if (record.partition, record.offset) in letter.places:
                return decode_dead_letter(record.key, record.value, record.headers)
    raise ConfigurationError(f"dead letter {letter.result_id}: gone from {topic}; its retention has passed")


def began_at(letters: Iterable[Letter]) -> float:
    """When the first of them was written: where to begin to read them again."""
    return min((letter.appended_at for letter in letters), default=0.0)


def _joined(letter: Letter, repeat: Letter) -> Letter:
    appended_at = min(letter.appended_at, repeat.appended_at)
    return replace(letter, appended_at=appended_at, places=letter.places + repeat.places)


def _decoded(record: ResultRecord) -> Letter | Mark | None:
    try:
        whole = decode_dead_letter(record.key, record.value, record.headers)
    except MalformedRecord:
        try:
            return decode_mark(record.headers)
        except MalformedRecord:
            return None
    return _without_content(whole, record)


def _without_content(whole: DeadLetter, record: ResultRecord) -> Letter:
    return Letter(
        id=whole.id,
        request=whole.request,
        tenant=whole.tenant,
        topic=whole.topic,
        partition=whole.partition,
        offset=whole.offset,
        stage=whole.stage,
        reason=whole.reason,
        problem=whole.problem,
        error=whole.error,
        size_bytes=whole.value_bytes or len(whole.value or b""),
        is_whole=whole.is_whole,
        appended_at=record.timestamp,
        places=((record.partition, record.offset),),
    )
