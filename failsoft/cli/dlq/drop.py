"""`failsoft dlq drop`: dead letters about which nothing is to be done."""

import asyncio
import time

from failsoft.cli.dlq.letters import counted
from failsoft.cli.dlq.office import (
    DryOption,
    IdOption,
    Office,
    PipelineOption,
    ReasonOption,
    SinceOption,
    StageOption,
    TenantOption,
    UntilOption,
    select,
)
from failsoft.cli.exits import explained_errors
from failsoft.cli.report import JsonOption, write_json
from failsoft.cli.topics import BootstrapOption, CatalogueOption
from failsoft.kafka import Outbox
from failsoft.policy.errors import ConfigurationError
from failsoft.runtime.dead_letter_marks import drop as mark_dropped
from failsoft.runtime.dead_letters import Letter, Selection


def drop(
    *,
    reason: ReasonOption = None,
    stage: StageOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    tenant: TenantOption = None,
    id_: IdOption = None,
    dry_run: DryOption = False,
    pipeline: PipelineOption = None,
    catalogue: CatalogueOption = None,
    bootstrap: BootstrapOption = None,
    json: JsonOption = None,
) -> None:
    """Decide that nothing is to be done about some: they are open no more, and stay readable until their retention passes."""
    started_at = time.time()
    with explained_errors():
        selection = select(reasons=reason, stage=stage, since=since, until=until, tenant=tenant, id_=id_)
        if selection == Selection():
            raise ConfigurationError(
                "drop what? pass --reason, --stage, --since, --tenant, --id, or --until 0s for all"
            )
        office = Office.of(catalogue, pipeline, bootstrap)
        selected, dropped = asyncio.run(_drop(office, selection, is_dry=dry_run))
    if json != "-":
        print(f"{'would be dropped' if dry_run else 'dropped'}: {counted(selected)}")
    if json is not None:
        result = {"topic": office.topic, "is_dry": dry_run, "selected": len(selected), "dropped": dropped}
        write_json(json, command="dlq drop", started_at=started_at, result=result)


async def _drop(office: Office, selection: Selection, *, is_dry: bool) -> tuple[list[Letter], int]:
    letters = [letter for letter in (await office.shelf()).letters if selection.has(letter)]
    dropped: list[Letter] = []
    outbox = Outbox(office.connection)
    try:
        if letters and not is_dry:
            await outbox.start()
            await mark_dropped(outbox, office.topic, letters, dropped.append)
    finally:
        await outbox.close()
    return letters, len(dropped)
