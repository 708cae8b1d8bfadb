"""``failsoft failover resume`` and ``rollback``: end what another command left open."""

import asyncio
import time

from failsoft.cli.exits import explained_errors
from failsoft.cli.failover.desk import ByOption, Desk, PipelineOption, RunbookArgument, WhyOption, report
from failsoft.cli.report import JsonOption
from failsoft.cli.topics import BootstrapOption, CatalogueOption


def resume(
    runbook: RunbookArgument,
    *,
    pipeline: PipelineOption,
    by: ByOption = None,
    catalogue: CatalogueOption = None,
    bootstrap: BootstrapOption = None,
    json: JsonOption = None,
) -> None:
    """Carry on a drill or a failover that a command left open, from the step where it was. Exits 1 if a check fails.

    It takes over: a command that still runs somewhere stops at its next step, and what it says is not followed any more.
    """
    started_at = time.time()
    with explained_errors():
        desk = Desk.of(runbook, pipeline, catalogue, bootstrap)
        run = asyncio.run(desk.carry_out(lambda operator: operator.resume(), by=by, is_quiet=json == "-"))
    report(run, command="resume", json=json, started_at=started_at)


def rollback(
    runbook: RunbookArgument,
    *,
    pipeline: PipelineOption,
    by: ByOption = None,
    why: WhyOption = "",
    catalogue: CatalogueOption = None,
    bootstrap: BootstrapOption = None,
    json: JsonOption = None,
) -> None:
    """Take the endpoint back to where it was, at once and with everything; also after all had gone over.

    Nothing is checked before: who rolls back knows why. To go back by steps, use the runbook that leads there.
    """
    started_at = time.time()
    with explained_errors():
        desk = Desk.of(runbook, pipeline, catalogue, bootstrap)
        run = asyncio.run(desk.carry_out(lambda operator: operator.rollback(why=why), by=by, is_quiet=json == "-"))
    report(run, command="rollback", json=json, started_at=started_at)
