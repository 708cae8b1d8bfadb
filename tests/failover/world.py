"""A world for runs: topics in memory, figures by choice, and a command that can be killed at every step."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from failsoft.failover.checks import Check, CheckName
from failsoft.failover.logbook import Logbook
from failsoft.failover.memory import MemoryBook
from failsoft.failover.operator import Operator
from failsoft.failover.ports import Seen
from failsoft.failover.run import Kind, Look, Run, Step
from failsoft.failover.runbook import Runbook
from failsoft.policy.routing import Route

T = TypeVar("T")

RUNBOOK = Runbook(
    path=Path("runbooks/eu-us.yaml"),
    name="eu-us",
    hash="h1",
    pipeline="digits",
    stage="classify",
    tier="large",
    origin="eu",
    target="us",
    before=(Check(CheckName.REACHABLE, 1.0), Check(CheckName.P95, 0.5)),
    during=(Check(CheckName.BREAKERS, 0.0), Check(CheckName.P95, 0.5)),
    steps=(Step(0.01, 60.0), Step(0.1, 60.0), Step(0.5, 60.0), Step(1.0, 60.0)),
    drill=(Step(0.01, 60.0),),
    canaries=(),
    regions=("eu", "us"),
)
SHADOW = replace(RUNBOOK, drill=())
WELL: Mapping[CheckName, float | None] = {
    CheckName.REACHABLE: 1.0,
    CheckName.P95: 0.1,
    CheckName.BREAKERS: 0.0,
}


def finish(command: Coroutine[Any, None, T]) -> T:
    """Run something that waits for nobody, without a loop: a kill at every step takes thousands of commands."""
    while True:
        try:
            command.send(None)
        except StopIteration as stop:
            found: T = stop.value
            return found


class Killed(BaseException):
    """SIGKILL: nothing of the command runs any more."""


@dataclass
class World:
    """What outlives a command.

    Attributes:
        figures: what the next looks find, one after the other; then all is well.
        ops: how often a command has touched the world.
        dies_at: when it is killed; an even number kills before the touch takes effect, an odd one after it.
        between: what another does just before a touch.
    """

    book: MemoryBook = field(default_factory=MemoryBook)
    figures: list[Mapping[CheckName, float | None]] = field(default_factory=list)
    now: float = 1_800_000_000.0
    looks: int = 0
    touches: int = 0
    dies_at: int | None = None
    between: dict[int, Callable[[], Awaitable[Any]]] = field(default_factory=dict)
    sessions: Any = field(default_factory=lambda: itertools.count(1))

    def operator(self, runbook: Runbook = RUNBOOK, by: str = "ann") -> Operator:
        """A new command."""
        self.touches = 0
        return Operator(
            runbook,
            book=_Book(self),
            probe=self,
            clock=self,
            by=by,
            new_session=lambda: f"session-{next(self.sessions)}",
        )

    def run(self, command: Coroutine[Any, None, Run]) -> Run:
        """Let a command run to its end."""

        return finish(command)

    def drilled(self, runbook: Runbook = RUNBOOK) -> Run:
        """Drill a runbook, so that it may be executed."""
        return self.run(self.operator(runbook).begin(Kind.DRILL))

    @property
    def route(self) -> Route | None:
        """What workers follow."""
        return finish(self.book.route("classify/large"))

    @property
    def share(self) -> float:
        """How much is in the target."""
        return 0.0 if self.route is None else self.route.share

    @property
    def held(self) -> Run:
        """Whose word holds."""
        held = finish(self.book.read()).holder("classify/large")
        assert held is not None
        return held

    # The ports, each with its two moments at which the command may die.

    async def read(self) -> Logbook:
        return await self._touch(self.book.read)

    async def route_of(self, endpoint: str) -> Route | None:
        return await self._touch(lambda: self.book.route(endpoint))

    async def write(self, run: Run) -> None:
        await self._touch(lambda: self.book.write(run))

    async def withdraw(self, run: Run) -> None:
        await self._touch(lambda: self.book.withdraw(run))

    async def say(self, route: Route) -> None:
        await self._touch(lambda: self.book.say(route))

    async def look(self, checks: tuple[Check, ...], look: Look, *, known: Mapping[str, str]) -> Seen:
        async def seen() -> Seen:
            self.now += look.hold_seconds
            self.looks += 1
            return Seen(self.figures.pop(0) if self.figures else WELL, {"1": "digest"})

        return await self._touch(seen)

    def wall(self) -> float:
        self.now += 1.0
        return self.now

    async def _touch(self, effect: Callable[[], Awaitable[T]]) -> T:
        await asyncio.sleep(0)
        number, self.touches = self.touches, self.touches + 1
        if number in self.between:
            await self.between.pop(number)()
        if self.dies_at == 2 * number:
            raise Killed
        result = await effect()
        if self.dies_at == 2 * number + 1:
            raise Killed
        return result


class _Book:
    """The world's book under the names of the port."""

    def __init__(self, world: World) -> None:
        self.read, self.route = world.read, world.route_of
        self.write, self.withdraw, self.say = world.write, world.withdraw, world.say
