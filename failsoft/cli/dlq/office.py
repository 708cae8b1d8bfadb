"""What the verbs share: the filters, and where the letters of a pipeline are."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from failsoft.catalogue import Catalogue, dead_letters_topic, load
from failsoft.kafka import Connection
from failsoft.kafka.raw import raw_records
from failsoft.policy.durations import parse_duration
from failsoft.policy.errors import ConfigurationError, MalformedRecord
from failsoft.policy.outcome import Reason
from failsoft.runtime.dead_letters import Read, Selection, Shelf, read_letters
from failsoft.runtime.submission import choose_pipeline
from failsoft.wire.timestamp import parse_timestamp

ReasonOption = Annotated[
    list[Reason] | None,
    typer.Option("--reason", metavar="WORD", help="Given up for this: malformed, poison. Repeatable."),
]
StageOption = Annotated[str | None, typer.Option("--stage", metavar="NAME", help="Given up by this stage.")]
SinceOption = Annotated[
    str | None, typer.Option("--since", metavar="WHEN", help="Written since: 2h ago is 2h, or 2026-01-31T12:00:00Z.")
]
UntilOption = Annotated[str | None, typer.Option("--until", metavar="WHEN", help="Written before; 0s is now.")]
TenantOption = Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="Of this tenant.")]
IdOption = Annotated[
    str | None, typer.Option("--id", metavar="X", help="The id of its result, its beginning, or its request's id.")
]
PipelineOption = Annotated[str | None, typer.Option(help="Default: the only one in topics.yaml.")]
DryOption = Annotated[bool, typer.Option("--dry-run", help="Change nothing; tell what would be done.")]


def select(
    *,
    reasons: Sequence[Reason] | None = None,
    stage: str | None = None,
    since: str | None = None,
    until: str | None = None,
    tenant: str | None = None,
    id_: str | None = None,
    is_of_all: bool = False,
) -> Selection:
    """Read the filters.

    Raises:
        ConfigurationError: a time is none.
    """
    return Selection(
        frozenset(reasons or ()),
        stage,
        _instant("--since", since),
        _instant("--until", until),
        tenant,
        id_,
        is_of_all,
    )


@dataclass(frozen=True, slots=True)
class Office:
    """Where the letters of one pipeline are."""

    catalogue: Catalogue
    pipeline: str
    topic: str
    connection: Connection
    read: Read

    @classmethod
    def of(cls, catalogue: Path | None, pipeline: str | None, bootstrap: str | None) -> "Office":
        """Find it.

        Raises:
            ConfigurationError: there is no such pipeline, or no broker is named.
        """
        known = load(catalogue)
        name = choose_pipeline(known, pipeline)
        connection = Connection.from_environment(bootstrap)
        return cls(known, name, dead_letters_topic(name), connection, partial(raw_records, connection))

    async def shelf(self) -> Shelf:
        """All letters that are there."""
        return await read_letters(self.read, self.topic)


def _instant(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return time.time() - parse_duration(text)
    except ConfigurationError:
        try:
            return parse_timestamp(text, option)
        except MalformedRecord:
            raise ConfigurationError(
                f"{option} {text}: neither how long ago, such as 2h, nor an instant such as 2026-01-31T12:00:00Z"
            ) from None
