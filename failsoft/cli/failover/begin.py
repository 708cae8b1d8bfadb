"""``failsoft failover drill`` and ``execute``: the same steps, for trying and for need."""

import asyncio
import time
from typing import Annotated

import typer

from failsoft.cli.exits import explained_errors
from failsoft.cli.failover.desk import ByOption, Desk, PipelineOption, RunbookArgument, WhyOption, report
from failsoft.cli.report import JsonOption
from failsoft.cli.topics import BootstrapOption, CatalogueOption
from failsoft.failover.run import Kind
from failsoft.policy.errors import ConfigurationError


def drill(
    runbook: RunbookArgument,
    *,
    pipeline: PipelineOption,
    by: ByOption = None,
    why: WhyOption = "",
    catalogue: CatalogueOption = None,
    bootstrap: BootstrapOption = None,
    json: JsonOption = None,
) -> None:
    """Try a runbook: all its checks, and the share that it declares for a drill; then back. Exits 1 if a check fails.

    The evidence (when, who, what was measured, the runbook's hash) stays in the topic of drills, and lets `execute` begin for
    thirty days.
    """
    started_at = time.time()
    with explained_errors():
        desk = Desk.of(runbook, pipeline, catalogue, bootstrap)
        run = asyncio.run(
            desk.carry_out(lambda operator: operator.begin(Kind.DRILL, why=why), by=by, is_quiet=json == "-")
        )
    report(run, command="drill", json=json, started_at=started_at)


def execute(
    runbook: RunbookArgument,
    *,
    pipeline: PipelineOption,
    force: Annotated[
        bool, typer.Option("--force", help="Although no drill of it passed within 30 days. Needs --why.")
    ] = False,
    by: ByOption = None,
    why: WhyOption = "",
    catalogue: CatalogueOption = None,
    bootstrap: BootstrapOption = None,
    json: JsonOption = None,
) -> None:
    """Move the endpoint, share by share. A check that fails takes everything back, and the exit code is 1."""
    started_at = time.time()
    with explained_errors():
        if force and not why.strip():
            raise ConfigurationError("--force: say why, for those who read the evidence: --why REASON")
        desk = Desk.of(runbook, pipeline, catalogue, bootstrap)
        run = asyncio.run(
            desk.carry_out(
                lambda operator: operator.begin(Kind.EXECUTE, why=why, is_forced=force), by=by, is_quiet=json == "-"
            )
        )
    report(run, command="execute", json=json, started_at=started_at)
