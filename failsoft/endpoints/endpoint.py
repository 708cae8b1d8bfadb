"""The port between the shell and whatever computes an answer."""

import asyncio
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

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

    @classmethod
    def until_answered(cls, task: "asyncio.Task[Output]") -> Self:
        """A call that can be cut: it is over when its task is."""
        return cls(task, when_done(task))


def when_done(ended: "asyncio.Future[Output]") -> "asyncio.Future[None]":
    """A future that is done when the other is, however it ended."""
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def note(ended: "asyncio.Future[Output]") -> None:
        if not ended.cancelled():
            ended.exception()  # what a call does after nobody waits for it is not an error of the loop
        if not over.done():
            over.set_result(None)

    ended.add_done_callback(note)
    return over


class Endpoint(Protocol):
    """Something that computes answers.

    Attributes:
        limit: how many calls may be in flight, for the whole fleet. An operator may set another before it is opened.
    """

    limit: int

    async def open(self) -> None:
        """Get ready; called once, before the first call."""

    def start(self, call: Call) -> Running:
        """Begin a call. Never raises: whatever goes wrong is the end of ``answer``."""

    async def close(self) -> None:
        """Let go of everything, within a second. Calls still under way are lost."""


@runtime_checkable
class Checkable(Endpoint, Protocol):
    """An endpoint that can be asked whether it would serve, without a call of its model."""

    async def check(self) -> str | None:
        """Ask, once it is open. Raises what a call would raise.

        Returns:
            None if all is well; else what a person should look at.
        """
