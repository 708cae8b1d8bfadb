"""What a run needs of the world: a log to write itself down in, a way to tell the workers, and eyes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from failsoft.failover.checks import Check, CheckName
from failsoft.failover.logbook import Logbook
from failsoft.failover.run import Look, Run
from failsoft.policy.routing import Route


@dataclass(frozen=True, slots=True)
class Seen:
    """What was measured.

    Attributes:
        figures: None of what could not be measured.
        answers: canary -> digest of the origin's answer, where it gave one.
    """

    figures: Mapping[CheckName, float | None]
    answers: Mapping[str, str] = field(default_factory=dict)


class BookPort(Protocol):
    """The topics ``drills`` and ``controls``."""

    async def read(self) -> Logbook:
        """All runs, up to the end that the log has now."""

    async def route(self, endpoint: str) -> Route | None:
        """What holds for an endpoint, up to the end that the log has now."""

    async def write(self, run: Run) -> None:
        """Write a session's word down; returns when the log has it."""

    async def withdraw(self, run: Run) -> None:
        """Delete a session's word: it has done nothing."""

    async def say(self, route: Route) -> None:
        """Tell all workers a route; returns when the log has it."""


class ProbePort(Protocol):
    """Measures."""

    async def look(self, checks: tuple[Check, ...], look: Look, *, known: Mapping[str, str]) -> Seen:
        """Measure, at the end of the time for which a share is held, or as soon as a glance shows that one of them fails.

        Args:
            checks: what to look at, with their bounds.
            look: which share is on, and for how long.
            known: canary -> digest of what the origin answered when it still did.
        """


class ClockPort(Protocol):
    """Epoch seconds."""

    def wall(self) -> float:
        """Now."""
