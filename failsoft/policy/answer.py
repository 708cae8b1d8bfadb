"""An answer of the past as a value, and the words for what becomes of it. The rule is in :mod:`failsoft.policy.answers`."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class AnswerName(NamedTuple):
    """Under what a body is kept."""

    key: str
    level: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model once said.

    Attributes:
        name: key and level.
        tier: which said it.
        size_bytes: of its body.
        produced_at: when, monotonic seconds.
        fresh_seconds: how long it is fresh, as it was drawn when it was given.
        number: of the partitions whose owner has it.
    """

    name: AnswerName
    tier: str
    size_bytes: int
    produced_at: float
    fresh_seconds: float
    number: int = 0


@dataclass(frozen=True, slots=True)
class Hit:
    """An answer that will do.

    Attributes:
        answer: which.
        is_stale: it is past its time; the result says so, and what served at once is to be revalidated.
    """

    answer: Answer
    is_stale: bool


class Freshness(StrEnum):
    """What a look for an answer has found."""

    FRESH = "fresh"
    STALE = "stale"
    EXPIRED = "expired"
    """One that is older than request and stage tolerate."""
    MISSING = "missing"
    """None whose level will do."""


class Gone(StrEnum):
    """Why an answer is kept no longer."""

    ROOM = "room"
    """Others were used more recently."""
    AGE = "age"
    PARTITION = "partition"
    """Its partition belongs to another worker."""
    DELETED = "deleted"
    """Somebody deleted it in the log."""


@dataclass(frozen=True, slots=True)
class AnswerCounts:
    """What became of answers at one worker, for those who watch.

    Attributes:
        lookups: what looks for one have found; with ``enforce=False`` what would have served.
        stored: how many were kept that this worker's calls gave.
        heard: how many were kept that stood in the log.
        gone: why others are kept no longer.
        kept: how many there are.
        kept_bytes: what they take.
    """

    lookups: Mapping[Freshness, int]
    stored: int
    heard: int
    gone: Mapping[Gone, int]
    kept: int
    kept_bytes: int
