"""`failsoft dlq list`: which dead letters there are, and why."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from failsoft.cli.dlq.letters import counted, letter_json, table
from failsoft.cli.dlq.office import (
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
from failsoft.runtime.dead_letters import Letter, Selection, Shelf


def list_(
    *,
    reason: ReasonOption = None,
    stage: StageOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    tenant: TenantOption = None,
    id_: IdOption = None,
    is_of_all: Annotated[bool, typer.Option("--all", help="Also those that were replayed or dropped.")] = False,
    pipeline: PipelineOption = None,
    catalogue: CatalogueOption = None,
    bootstrap: BootstrapOption = None,
    json: JsonOption = None,
) -> None:
    """List dead letters that are open, the oldest first, and count their reasons. What they hold is not shown."""
    started_at = time.time()
    with explained_errors():
        office = Office.of(catalogue, pipeline, bootstrap)
        selection = select(
            reasons=reason, stage=stage, since=since, until=until, tenant=tenant, id_=id_, is_of_all=is_of_all
        )
        shelf = asyncio.run(office.shelf())
    letters = [letter for letter in shelf.letters if selection.has(letter)]
    if json != "-":
        print("\n".join([*table(letters), f"{counted(letters)}{_unshown(shelf, selection)}"]))
    if json is not None:
        write_json(json, command="dlq list", started_at=started_at, result=_list_result(office, shelf, letters))


def _unshown(shelf: Shelf, selection: Selection) -> str:
    handled = sum(not letter.is_open for letter in shelf.letters)
    notes = []
    if handled and not selection.is_of_all:
        notes.append(f"{handled} handled are shown by --all")
    if shelf.foreign:
        notes.append(f"not dead letters of ours: {shelf.foreign}")
    return "".join(f"; {note}" for note in notes)


def _list_result(office: Office, shelf: Shelf, letters: Sequence[Letter]) -> dict[str, Any]:
    return {
        "topic": office.topic,
        "letters": [letter_json(letter) for letter in letters],
        "reasons": dict(Counter(letter.reason for letter in letters)),
        "stages": dict(Counter(letter.stage for letter in letters)),
        "open": sum(letter.is_open for letter in shelf.letters),
        "handled": sum(not letter.is_open for letter in shelf.letters),
        "foreign": shelf.foreign,
    }
