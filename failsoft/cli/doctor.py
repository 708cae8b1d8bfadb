"""`failsoft doctor`: one line for each thing that must be right, with the fix where it is not."""

import asyncio
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from failsoft.cli.checks import Check, Patient, Status, examine
from failsoft.cli.exits import Exit
from failsoft.cli.report import JsonOption, write_json


def doctor(
    bootstrap: Annotated[
        str | None, typer.Option(metavar="SERVERS", help="Default: KAFKA_BOOTSTRAP_SERVERS, or FAILSOFT_KAFKA_CONFIG.")
    ] = None,
    catalogue: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Default: ./topics.yaml, else the one that comes with failsoft."),
    ] = None,
    pipeline: Annotated[
        str | None, typer.Option(metavar="MODULE:NAME", help="Also ask the endpoints of this pipeline.")
    ] = None,
    json: JsonOption = None,
) -> None:
    """Check Java, broker, topics, clock and endpoints. Exits 3 if anything failed.

    It changes nothing, but for one small record to <pipeline>.outcomes, as every worker sends at its start.
    """
    started_at = time.time()
    checks = asyncio.run(_examined(Patient(bootstrap, catalogue, pipeline), is_shown=json != "-"))
    failed = sum(check.status is Status.FAIL for check in checks)
    if json is not None:
        result = {"failed": failed, "checks": [asdict(check) for check in checks]}
        write_json(json, command="doctor", started_at=started_at, result=result)
    raise typer.Exit(Exit.ENVIRONMENT if failed else Exit.OK)


async def _examined(patient: Patient, *, is_shown: bool) -> list[Check]:
    """Show each as soon as it is known: some take seconds."""
    checks = []
    async for check in examine(patient):
        checks.append(check)
        if is_shown:
            print(f"{check.status:<4}  {check.name}: {check.text}", flush=True)
    return checks
