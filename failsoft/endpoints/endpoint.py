"""The port between the shell and whatever computes an answer."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from failsoft.endpoints.call import Call, Output


@dataclass(frozen=True, slots=True)
class Running:
    """A call under way.

    Attributes:
        answer: its end, an Output or an exception. Cancelling it is how the shell says that nobody waits any more.
        over: done when the endpoint no longer works on the call. Later than ``answer`` where a call cannot be cut.
    """

    answer: "asyncio.Future[Output]"
    over: "asyncio.Future[None]"


class Endpoint(Protocol):
    """Something that computes answers."""

    @property
    def limit(self) -> int:
        """How many calls may be in flight, for the whole fleet."""

    async def open(self) -> None:
        """Get ready; called once, before the first call."""

    def start(self, call: Call) -> Running:
        """Begin a call. Never raises: whatever goes wrong is the end of ``answer``."""

    async def close(self) -> None:
        """Let go of everything, within a second. Calls still under way are lost."""
