"""How dead letters are to be replayed, and what came of it: the values of :mod:`failsoft.runtime.replaying`."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

MAX_REPLAYS = 3
"""As often as a record may end a worker before it is given up. What comes back three times needs a person, not a fourth time."""
PER_SECOND = 100.0
"""Replays come on top of what is asked anyhow, so are not sent as fast as a broker takes them: a thousand in ten seconds."""


class Obstacle(StrEnum):
    """Why a letter was not replayed."""

    NO_VALUE = "no_value"
    """Its value was too large for the topic of dead letters: only a digest was kept."""
    REPLAYED_OFTEN = "replayed_often"
    """It has been replayed as often as is allowed, and came back."""
    UNKNOWN_TOPIC = "unknown_topic"
    """The topic it came from is none of its pipeline's stages any more."""
    DEADLINE_PASSED = "deadline_passed"
    """Its own deadline was to be kept, and has passed."""
    MALFORMED = "malformed"
    """Its deadline was to be kept and cannot be read, or its headers are too many or too long."""
    TOO_LARGE = "too_large"
    """The topic does not take it."""
    GONE = "gone"
    """Its retention passed meanwhile."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How to replay.

    Attributes:
        to: the topic to send to; None: where each came from.
        deadline_seconds: what each is granted; None: its class's own deadline.
        keeps_deadline: grant what is left of the old deadline instead.
        max_replays: how often one request may be replayed.
        per_second: how many are sent in a second at most.
        is_dry: send nothing, and tell what would be.
    """

    to: str | None = None
    deadline_seconds: float | None = None
    keeps_deadline: bool = False
    max_replays: int = MAX_REPLAYS
    per_second: float = PER_SECOND
    is_dry: bool = False


@dataclass(slots=True)
class Tally:
    """What came of it.

    Attributes:
        replayed: were sent; in a dry run, would be.
        found: had been sent by a run that was cut off.
        obstacles: were left as they are, by what stands in the way.
    """

    replayed: int = 0
    found: int = 0
    obstacles: Counter[Obstacle] = field(default_factory=Counter)
