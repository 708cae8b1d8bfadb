"""Whether a run may begin, carry on or go back, and if not, why.

* One run of a route at a time: an open one is resumed or rolled back first, whoever began it.
* A run begins where its runbook says that the requests are. One on the way, or in a third region, has another runbook.
* The real thing needs a drill of this very runbook that passed within thirty days: an untried path is a second incident.
  ``--force`` with a reason passes over that rule and no other, and the reason is kept.

Thirty days: less changes in a month than in the quarter that research/algorithms.md §11 allowed, and a monthly drill is kept up.
"""

from collections.abc import Iterator

from failsoft.failover.logbook import Logbook
from failsoft.failover.run import Kind
from failsoft.failover.runbook import Runbook
from failsoft.policy.routing import Route

DRILL_LASTS_SECONDS = 30 * 86_400.0


def refusals(
    runbook: Runbook, kind: Kind, logbook: Logbook, route: Route | None, *, is_forced: bool, now: float
) -> Iterator[str]:
    """Say what stands against beginning; nothing: it may begin.

    Args:
        runbook: which.
        kind: what for.
        logbook: what was.
        route: what holds for the endpoint now; None: nobody has said anything.
        is_forced: the rule of the drill is passed over.
        now: epoch seconds.
    """
    held = logbook.holder(runbook.endpoint)
    if held is not None and held.is_open:
        yield (
            f"{held.by} has a run of {held.runbook} open on {held.endpoint} ({held.kind}, at {held.phase}): "
            f"`failsoft failover resume` or `rollback` ends it"
        )
    here = where(route, runbook.regions)
    if here != runbook.origin:
        yield (
            f"{runbook.endpoint} is {'between regions' if here is None else f'in {here}'}, and {runbook.name} leads away from "
            f"{runbook.origin}: use the runbook that leads away from where it is"
        )
    if kind is Kind.EXECUTE and not is_forced:
        yield from _untried(runbook, logbook, now)


def where(route: Route | None, regions: tuple[str, ...]) -> str | None:
    """In which region all requests are; None: they are on the way."""
    if route is None:
        return regions[0]
    if route.share in {0.0, 1.0}:
        return route.target if route.share else route.origin
    return None


def _untried(runbook: Runbook, logbook: Logbook, now: float) -> Iterator[str]:
    fix = f"drill it (`failsoft failover drill {runbook.path}`), or say `--force --why REASON`"
    passed = logbook.last_passed_drill(runbook.name, runbook.hash)
    if passed is None:
        before = logbook.last_drill(runbook.name)
        if before is None:
            yield f"{runbook.name} was never drilled: {fix}"
        elif before.runbook_hash != runbook.hash:
            yield f"{runbook.name} has changed since its last drill: {fix}"
        else:
            yield f"the last drill of {runbook.name} did not pass ({before.verdict}): {fix}"
    elif now - (passed.ended_at or 0.0) > DRILL_LASTS_SECONDS:
        days = (now - (passed.ended_at or 0.0)) / 86_400
        yield f"the last drill of {runbook.name} that passed is {days:.0f} days old, and holds for 30: {fix}"
