"""Measures what a runbook asks for: by canary calls, and by what the log says of the requests and breakers of production."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Mapping

from failsoft.catalogue import results_topic
from failsoft.endpoints import OpenAICompatible
from failsoft.failover.breakers_read import is_holding_back
from failsoft.failover.canaries import Canaries, read_canaries
from failsoft.failover.checks import GLANCES, Check, CheckName, arrived, findings
from failsoft.failover.ports import ClockPort, Seen
from failsoft.failover.run import Look
from failsoft.failover.runbook import Runbook
from failsoft.kafka import Connection
from failsoft.kafka.results import ResultReader
from failsoft.policy.errors import FailsoftError, MalformedRecord
from failsoft.policy.outcome import Outcome
from failsoft.wire import Result
from failsoft.wire.result import decode_result

GLANCE_SECONDS = 5.0
"""How often what costs nothing is looked at while a share is held: a sick region is left after as long as a breaker is open."""
QUANTILE = 0.95
REACH_SECONDS = 10.0
"""For a region's list of models, which costs it nothing. One that takes the connection and says nothing is not reachable."""


class Probe:
    """Measures one endpoint.

    Args:
        runbook: whose.
        endpoint: of it; it has to be open.
        connection: where the cluster is.
        clock: as near to the broker's as is known.
    """

    def __init__(
        self, runbook: Runbook, endpoint: OpenAICompatible, *, connection: Connection, clock: ClockPort
    ) -> None:
        self._runbook = runbook
        self._endpoint = endpoint
        self._connection = connection
        self._clock = clock
        self._canaries = Canaries(read_canaries(runbook), endpoint, tier=runbook.tier)

    async def look(self, checks: tuple[Check, ...], look: Look, *, known: Mapping[str, str]) -> Seen:
        """Measure, at the end of the time for which a share is held, or as soon as a glance shows that one of them fails."""
        began_at = self._clock.wall()
        early = await self._hold(checks, look.hold_seconds)
        if early:
            return Seen(early)
        figures: dict[CheckName, float | None] = {}
        answers: dict[str, str] = {}
        names = {check.name for check in checks}
        if names & {CheckName.AGREEMENT, CheckName.P95}:
            agreement, p95, answers = await self._ask(known)
            figures |= {CheckName.AGREEMENT: agreement, CheckName.P95: p95}
        if names & {CheckName.SERVED, CheckName.ARRIVED}:
            figures |= await self._traffic(look, began_at)
        for check in checks:
            if check.name not in figures:
                figures[check.name] = await self._measure(check)
        return Seen(figures, answers)

    async def _hold(self, checks: tuple[Check, ...], seconds: float) -> dict[CheckName, float | None]:
        """Wait, and glance now and then; the figures of a glance that shows that it is over, else none."""
        glances = tuple(check for check in checks if check.name in GLANCES)
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        while (left := until - clock()) > 0:
            await asyncio.sleep(min(left, GLANCE_SECONDS))
            figures: dict[CheckName, float | None] = {check.name: await self._measure(check) for check in glances}
            if not all(found.passed for found in findings(glances, figures, at="")):
                return figures
        return {}

    async def _measure(self, check: Check) -> float:
        match check.name:
            case CheckName.REACHABLE:
                return float(await self._is_reachable())
            case CheckName.BREAKERS:
                return float(await self._is_holding_back())
            case CheckName.CAPACITY:
                return float(await self._canaries.answered_at_once(self._runbook.target, int(check.bound)))
            case _:
                raise ValueError(f"{check.name} is measured with others, in one go")

    async def _is_reachable(self) -> bool:
        try:
            async with asyncio.timeout(REACH_SECONDS):
                return await self._endpoint.check_region(self._runbook.target) is None
        except (FailsoftError, TimeoutError):
            return False

    async def _is_holding_back(self) -> bool:
        runbook = self._runbook
        return await is_holding_back(
            self._connection, runbook.pipeline, runbook.endpoint, runbook.target, now=self._clock.wall()
        )

    async def _ask(self, known: Mapping[str, str]) -> tuple[float | None, float | None, dict[str, str]]:
        """Ask both regions: how far they agree, how fast the target is, and what the origin says."""
        said, _ = await self._canaries.ask(self._runbook.origin)
        found, seconds = await self._canaries.ask(self._runbook.target)
        expected = {name: {each.get(name) for each in (known, said)} - {None} for name in {*known, *said}}
        agreeing = [found.get(name) in digests for name, digests in expected.items()]
        agreement = sum(agreeing) / len(agreeing) if agreeing else None
        p95 = sorted(seconds)[math.ceil(QUANTILE * len(seconds)) - 1]
        return agreement, None if math.isinf(p95) else p95, said

    async def _traffic(self, look: Look, began_at: float) -> dict[CheckName, float | None]:
        """What became of production's requests.

        Since the share is on, which part ended ok; what was the sender's fault does not count. In the second half of that time,
        when all workers have heard and what was under way has ended, how many came over: of those that the endpoint answered, or,
        where it answers none because the origin is ill, of all.
        """
        halfway = began_at + look.hold_seconds / 2
        ok = ended = came = called = due = 0
        async for at, result in self._results(began_at):
            is_due = result.outcome is not Outcome.INVALID
            ended += is_due
            ok += result.is_ok
            due += is_due and at >= halfway
            if at >= halfway and is_of(self._runbook, result):
                called += 1
                came += result.region == self._runbook.target
        served = ok / ended if ended else None
        return {CheckName.SERVED: served, CheckName.ARRIVED: arrived(came, called or due, look.share or 0.0)}

    async def _results(self, since: float) -> AsyncIterator[tuple[float, Result]]:
        reader = ResultReader(self._connection, results_topic(self._runbook.pipeline), start=since, until_end=True)
        await reader.start()
        try:
            async for record in reader.records():
                with contextlib.suppress(MalformedRecord):  # else it is no result of ours
                    yield record.timestamp, decode_result(record.headers, record.value)
        finally:
            await reader.stop()


def is_of(runbook: Runbook, result: Result) -> bool:
    """Whether a runbook's endpoint gave this result; another stage may have a tier of the same name."""
    return result.tier == runbook.tier and result.stage in {runbook.stage, None}
