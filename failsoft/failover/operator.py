"""Carries a run out: claims its route, does one step after the other, and writes each down before the next.

A step that was done and not written down is done again by whoever resumes; none of them does harm twice. Before each step the log
is read: whoever finds another's word above his own stops there.
"""

from collections.abc import Callable
from uuid import uuid4

from failsoft.failover import gate
from failsoft.failover.checks import findings
from failsoft.failover.logbook import Logbook
from failsoft.failover.ports import BookPort, ClockPort, ProbePort
from failsoft.failover.run import Kind, Look, Phase, Run, Say, Verdict
from failsoft.failover.runbook import Runbook
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.routing import Route


class Refused(ConfigurationError):  # noqa: N818 - nothing is wrong with the command, it comes at a wrong time
    """It may not be done now; says why, and what can be done instead."""


class TakenOver(ConfigurationError):  # noqa: N818 - named by what happened
    """Another operator has this route now."""


class Operator:
    """One person at one runbook.

    Args:
        runbook: which.
        book: where runs are written down.
        probe: what measures.
        clock: for the record.
        by: who he is.
        tell: takes what happens, a line each.
        new_session: makes a name unlike any other.
    """

    def __init__(
        self,
        runbook: Runbook,
        *,
        book: BookPort,
        probe: ProbePort,
        clock: ClockPort,
        by: str,
        tell: Callable[[str], None] = lambda _: None,
        new_session: Callable[[], str] = lambda: uuid4().hex,
    ) -> None:
        self._runbook = runbook
        self._book = book
        self._probe = probe
        self._clock = clock
        self._by = by
        self._tell = tell
        self._new_session = new_session

    async def begin(self, kind: Kind, *, why: str = "", is_forced: bool = False) -> Run:
        """Drill, or do the real thing, to its end.

        Raises:
            Refused: it may not begin.
            TakenOver: another has carried it on meanwhile.
        """
        runbook = self._runbook
        route, logbook, epoch = await self._read()
        against = list(gate.refusals(runbook, kind, logbook, route, is_forced=is_forced, now=self._clock.wall()))
        if against:
            raise Refused("\n".join(against))
        session = self._new_session()
        run = Run(
            name=session,
            kind=kind,
            runbook=runbook.name,
            runbook_hash=runbook.hash,
            endpoint=runbook.endpoint,
            origin=runbook.origin,
            target=runbook.target,
            steps=runbook.steps if kind is Kind.EXECUTE else runbook.drill,
            started_at=self._clock.wall(),
            epoch=epoch,
            session=session,
            by=self._by,
            why=why,
            is_forced=is_forced,
            answers=self._known_answers(logbook),
        )
        return await self._carry_out(await self._claimed(run))

    async def resume(self) -> Run:
        """Carry on what a command left open.

        Raises:
            Refused: nothing is open, or the runbook says something else by now.
        """
        held, epoch = await self._held()
        if not held.is_open:
            raise Refused(f"nothing is open on {held.endpoint}: the last {held.kind} of it has {held.verdict}")
        if held.runbook_hash != self._runbook.hash and held.phase is not Phase.RETURN:
            raise Refused(
                f"{held.runbook} began with other words than {self._runbook.name} has now: `failsoft failover rollback`"
            )
        resumed = held.resumed(epoch=epoch, session=self._new_session(), by=self._by)
        return await self._carry_out(await self._claimed(resumed))

    async def rollback(self, *, why: str = "") -> Run:
        """Take everything back to where it was, whatever stands open; also after all has gone over.

        Raises:
            Refused: there is nothing to take back.
        """
        held, epoch = await self._held()
        if not held.is_open and not (held.kind is Kind.EXECUTE and held.verdict is Verdict.PASSED):
            raise Refused(f"nothing is to be taken back: {held.endpoint} is in {held.origin}")
        withdrawn = held.withdrawn(epoch=epoch, session=self._new_session(), by=self._by, why=why)
        return await self._carry_out(await self._claimed(withdrawn))

    async def _held(self) -> tuple[Run, int]:
        """Who holds the route, and the epoch with which that can be taken over."""
        _, logbook, epoch = await self._read()
        held = logbook.holder(self._runbook.endpoint)
        if held is None:
            raise Refused(f"{self._runbook.endpoint} has never been drilled or moved")
        if held.runbook != self._runbook.name:
            raise Refused(f"{held.endpoint} is held by {held.runbook}, not by {self._runbook.name}: name that one")
        return held, epoch

    async def _read(self) -> tuple[Route | None, Logbook, int]:
        """What holds, what was, and the epoch to claim.

        The route and the runs stand in two topics, so the runs are read before and after the route: it belongs to them if nobody
        has begun or ended anything meanwhile. Who begins later claims the same epoch, and one of the two gives up; a later one
        would take over from him.
        """
        endpoint = self._runbook.endpoint
        logbook = await self._book.read()
        while True:
            before, route = logbook.holder(endpoint), await self._book.route(endpoint)
            logbook = await self._book.read()
            held = logbook.holder(endpoint)
            if held == before or (held is not None and held.is_open):
                return route, logbook, max(logbook.last_epoch(endpoint), 0 if route is None else route.epoch) + 1

    def _known_answers(self, logbook: Logbook) -> tuple[tuple[str, str], ...]:
        """What the origin answered when this runbook was last tried: it may not answer any more when it is needed."""
        passed = logbook.last_passed_drill(self._runbook.name, self._runbook.hash)
        return () if passed is None else passed.answers

    async def _claimed(self, run: Run) -> Run:
        """Write the claim down, and look who else has one."""
        await self._book.write(run)
        if not await self._holds(run):
            await self._book.withdraw(run)
            raise Refused(f"another operator began on {run.endpoint} at the same time: `failsoft failover status`")
        return run.confirmed()

    async def _holds(self, run: Run) -> bool:
        held = (await self._book.read()).holder(run.endpoint)
        return held is not None and held.session == run.session

    async def _carry_out(self, run: Run) -> Run:
        await self._book.write(run)
        while (step := run.next_step()) is not None:
            if not await self._holds(run):
                raise TakenOver(f"another operator has taken {run.endpoint} over: `failsoft failover status`")
            run = await (self._say(run, step) if isinstance(step, Say) else self._look(run, step))
            await self._book.write(run)
        self._tell(f"{run.kind} of {run.runbook}: {run.verdict}")
        return run

    async def _say(self, run: Run, step: Say) -> Run:
        self._tell(f"{100 * step.route.share:g}% of {run.endpoint} to {run.target}, the rest to {run.origin}")
        await self._book.say(step.route)
        return run.said(now=self._clock.wall())

    async def _look(self, run: Run, step: Look) -> Run:
        checks = self._runbook.before if step.share is None else self._runbook.during
        seen = await self._probe.look(checks, step, known=dict(run.answers))
        found = findings(checks, seen.figures, at=step.at)
        for each in found:
            self._tell(f"  {each}")
        if step.share is None and seen.answers:
            run = run.remembering(seen.answers)
        return run.looked(found, now=self._clock.wall())
