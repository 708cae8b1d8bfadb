"""`failsoft dlq show`: all of one dead letter, for people; what was asked only where that is wanted."""

import asyncio
import time
from typing import Annotated

import typer

from failsoft.cli.dlq.letters import whole_json, whole_lines
from failsoft.cli.dlq.office import (
    Office,
    PipelineOption,
)
from failsoft.cli.exits import explained_errors
from failsoft.cli.report import JsonOption, write_json
from failsoft.cli.topics import BootstrapOption, CatalogueOption
from failsoft.policy.errors import ConfigurationError
from failsoft.runtime.dead_letters import Letter, is_called, read_whole
from failsoft.wire.dead_letter import DeadLetter


def show(
    *,
    name: Annotated[str, typer.Argument(metavar="ID", help="Of its result, the beginning of that, or of its request.")],
    payload: Annotated[bool, typer.Option("--payload", help="Also what was asked: it is private.")] = False,
    pipeline: PipelineOption = None,
    catalogue: CatalogueOption = None,
    bootstrap: BootstrapOption = None,
    json: JsonOption = None,
) -> None:
    """Tell all of one dead letter: why, from where, what was done about it, and its headers. Exits 2 if there is none."""
    started_at = time.time()
    with explained_errors():
        office = Office.of(catalogue, pipeline, bootstrap)
        found = asyncio.run(_find(office, name))
    if json != "-":
        print("\n\n".join("\n".join(whole_lines(*each, is_payload_shown=payload)) for each in found))
    if json is not None:
        letters = [whole_json(*each, is_payload_shown=payload) for each in found]
        write_json(json, command="dlq show", started_at=started_at, result={"letters": letters})


async def _find(office: Office, name: str) -> list[tuple[Letter, DeadLetter]]:
    called = [letter for letter in (await office.shelf()).letters if is_called(letter, name)]
    if not called:
        raise ConfigurationError(
            f"no dead letter {name!r} in {office.topic}; `failsoft dlq list --all` shows what is there"
        )
    return [(letter, await read_whole(office.read, office.topic, letter)) for letter in called]
