"""A runbook in the simulator: operator, run and stage machine are production's; models, workers and Kafka are simulated.

A rehearsal shows what a drill cannot, because nobody would do it to production: the target fails at half of the load, a worker
dies between two steps, the origin is down from the start. It costs seconds of computing and needs nothing.

The canaries are calls at the simulated models, so agreement says which part of them was answered: what models answer is not
simulated.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from failsoft.failover.checks import GLANCES, Check, CheckName, arrived, findings
from failsoft.failover.memory import MemoryBook
from failsoft.failover.operator import Operator
from failsoft.failover.ports import Seen
from failsoft.failover.run import Kind, Look, Run
from failsoft.failover.runbook import Runbook
from failsoft.policy.events import Verdict
from failsoft.policy.outcome import Outcome
from failsoft.policy.register import NEVER_OPENED, Phase
from failsoft.policy.routing import Route
from failsoft.simulation.faults import Fault
from failsoft.simulation.fleet import Fleet, Plan

if TYPE_CHECKING:
    from random import Random

WARM_UP_SECONDS = 10.0
"""Until workers have joined, and know how fast their models are."""
GLANCE_SECONDS = 5.0
CANARIES = 20
ASK_SECONDS = 30.0
"""For all of them, as in production."""
AFTER_SECONDS = 10.0
"""For whoever looks what became of it."""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What a rehearsal came to.

    Attributes:
        run: of the runbook.
        fleet: the world afterwards.
        share: how much is in the target at last.
        ended_at: when the operator was done, virtual seconds.
    """

    run: Run
    fleet: Fleet
    share: float
    ended_at: float


def rehearse(
    runbook: Runbook,
    plan: Plan,
    dice: "Callable[[str], Random]",
    *,
    at_share: Mapping[float, Sequence[Fault]] | None = None,
) -> Rehearsed:
    """Carry a runbook out in a world.

    Args:
        runbook: which.
        plan: the world, with a model ``<tier>@<region>`` for each region, and with its faults.
        dice: of the world.
        at_share: share -> faults of which each begins so long after that share is first said.
    """
    fleet = Fleet(plan, dice)
    stand = _Stand(runbook, fleet, dict(at_share or {}))
    fleet.begin()
    fleet.engine.run(until=WARM_UP_SECONDS)
    operator = Operator(runbook, book=stand, probe=stand, clock=stand, by="rehearsal")
    run = _finish(operator.begin(Kind.EXECUTE, why="rehearsal", is_forced=True))
    ended_at = fleet.engine.now
    fleet.engine.run(until=max(plan.ends_at, ended_at + AFTER_SECONDS))
    fleet.end()
    route = _finish(stand.route(runbook.endpoint))
    return Rehearsed(run, fleet, 0.0 if route is None else route.share, ended_at)


def _finish(command: Coroutine[Any, None, Any]) -> Any:
    """Run what waits for nobody: time passes inside of it."""
    try:
        command.send(None)
    except StopIteration as stop:
        return stop.value
    raise RuntimeError("a command in a rehearsal has waited for something real")


class _Stand(MemoryBook):
    """The ports of an operator, in a simulated world."""

    def __init__(self, runbook: Runbook, fleet: Fleet, at_share: dict[float, Sequence[Fault]]) -> None:
        super().__init__()
        self._at_share = at_share
        self._runbook = runbook
        self._fleet = fleet
        self._target = fleet.model(f"{runbook.tier}@{runbook.target}")
        self._origin = fleet.model(f"{runbook.tier}@{runbook.origin}")
        if runbook.origin != runbook.regions[0]:  # somebody has moved it there before
            self._is_there(Route(runbook.endpoint, runbook.regions[0], runbook.origin, 1.0, 1))

    def wall(self) -> float:
        """The broker's clock is the only one."""
        return self._fleet.cluster.clock

    async def say(self, route: Route) -> None:
        """Tell all workers, as soon as the broker is there."""
        while not self._fleet.cluster.is_up:
            self._pass(0.25)
        self._is_there(route)

    def _is_there(self, route: Route) -> None:
        self.routes.append(route)
        self._fleet.cluster.say_route(route)
        for fault in self._at_share.pop(route.share, ()):
            self._fleet.engine.after(fault.begins_at, fault.begin, self._fleet)
            self._fleet.engine.after(fault.begins_at + fault.seconds, fault.end, self._fleet)

    async def look(self, checks: tuple[Check, ...], look: Look, *, known: Mapping[str, str]) -> Seen:
        """Measure, at the end of the time for which a share is held, or as soon as a glance shows that one of them fails."""
        began_at = self.wall()
        glances = tuple(check for check in checks if check.name in GLANCES)
        until = self._fleet.engine.now + look.hold_seconds
        calls = self._target.calls, self._origin.calls
        while (left := until - self._fleet.engine.now) > 0:
            if left > look.hold_seconds / 2:
                calls = self._target.calls, self._origin.calls
            self._pass(min(left, GLANCE_SECONDS))
            figures = {check.name: self._measure(check, began_at) for check in glances}
            if not all(found.passed for found in findings(glances, figures, at="")):
                return Seen(figures)
        came, stayed = self._target.calls - calls[0], self._origin.calls - calls[1]
        traffic = {CheckName.ARRIVED: arrived(came, came + stayed, look.share or 0.0)}
        measured = {check.name: self._measure(check, began_at) for check in checks if check.name not in traffic}
        return Seen({**measured, **traffic})

    def _pass(self, seconds: float) -> None:
        self._fleet.engine.run(until=self._fleet.engine.now + seconds)

    def _measure(self, check: Check, since: float) -> float | None:
        match check.name:
            case CheckName.REACHABLE:
                return float(self._target.condition.error_share < 1)
            case CheckName.BREAKERS:
                return float(self._is_holding_back())
            case CheckName.AGREEMENT:
                return len(self._calls(CANARIES, at_once=False)) / CANARIES
            case CheckName.P95:
                seconds = sorted(self._calls(CANARIES, at_once=False))
                place = int(0.95 * CANARIES) - 1
                return seconds[place] if len(seconds) > place else None
            case CheckName.CAPACITY:
                return float(len(self._calls(int(check.bound), at_once=True)))
            case CheckName.SERVED:
                return self._served(since)
            case CheckName.ARRIVED:
                raise ValueError("what arrives is counted while a share is held")

    def _calls(self, count: int, *, at_once: bool) -> list[float]:
        """Call the target beside the workers; how long each call took that was answered."""
        answered: list[float] = []
        until = self._fleet.engine.now + ASK_SECONDS
        for _ in range(count):
            began_at = self._fleet.engine.now
            ended: list[Verdict] = []

            def report(verdict: Verdict, began_at: float = began_at, ended: list[Verdict] = ended) -> None:
                ended.append(verdict)
                if verdict is Verdict.OK:
                    answered.append(self._fleet.engine.now - began_at)

            self._target.start(report)
            while not at_once and not ended and self._fleet.engine.now < until:
                self._pass(0.05)
        while at_once and len(answered) < count and self._fleet.engine.now < until:
            self._pass(0.05)
        return answered

    def _is_holding_back(self) -> bool:
        """What the registers of all workers say together."""
        log, name = self._fleet.cluster.registers, f"{self._runbook.endpoint}/{self._runbook.target}"
        latest = {
            entry.value.process: entry
            for entry in log.read(0, log.end)
            if entry.value is not None and entry.value.breaker == name
        }
        joined, opened_at = NEVER_OPENED, 0.0
        for entry in latest.values():
            if entry.value is not None:
                joined = joined.join(entry.value.register.word)
                opened_at = max(opened_at, entry.appended_at - entry.value.register.since_seconds)
        return joined.phase is not Phase.CLOSED and self.wall() < opened_at + joined.open_seconds

    def _served(self, since: float) -> float | None:
        log = self._fleet.cluster.results
        ends = [entry.value[1].outcome for entry in log.read(0, log.end) if entry.value and entry.appended_at >= since]
        return sum(outcome is Outcome.OK for outcome in ends) / len(ends) if ends else None
