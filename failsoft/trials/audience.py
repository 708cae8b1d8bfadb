"""Who is told how a trial goes, and what they are told."""

from dataclasses import dataclass
from typing import Protocol

from failsoft.trials.arrivals import Recent


@dataclass(frozen=True, slots=True)
class Now:
    """How a trial stands.

    Attributes:
        phase: being played.
        time: how far it is, for people.
        waiting: requests that were accepted and have no result yet.
        recent: what came in the last seconds.
    """

    phase: str
    time: str
    waiting: int
    recent: Recent


class Audience(Protocol):
    """Who is told how it goes."""

    def step(self, text: str) -> None:
        """Take what happens next."""

    def show(self, now: Now) -> None:
        """Take how it stands, some ten times a second."""


def time_told(seconds: float, of_seconds: float) -> str:
    """How far a phase is."""
    return f"{seconds:.0f}/{of_seconds:.0f} s" if seconds < of_seconds else "pause"
