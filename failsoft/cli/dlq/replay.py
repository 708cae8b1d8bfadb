"""`failsoft dlq replay`: dead letters sent once more, each once, also when it takes several attempts."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

import typer

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
from failsoft.cli.exits import Exit, explained_errors
from failsoft.cli.report import JsonOption, write_json
from failsoft.cli.topics import BootstrapOption, CatalogueOption
from failsoft.kafka import Outbox, partition_counts
from failsoft.policy.durations import parse_duration
from failsoft.policy.errors import ConfigurationError
from failsoft.runtime.clock import Clock
from failsoft.runtime.dead_letters import Letter, Selection
from failsoft.runtime.replay_terms import MAX_REPLAYS, PER_SECOND, Obstacle, Tally, Terms
from failsoft.runtime.replaying import Replayer

NAMED = 5
"""Letters that are named one by one for each obstacle; the rest are counted."""


def replay(
    *,
    reason: ReasonOption = None,
    stage: StageOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    tenant: TenantOption = None,
    id_: IdOption = None,
    to: Annotated[
        str | None, typer.Option(metavar="TOPIC", help="Send them to this stage's topic, not where they came from.")
    ] = None,
    deadline: Annotated[
        str | None, typer.Option(help="Of each, from when it is sent: 5s, 15m, 24h. Default: its class's own.")
    ] = None,
    keep_deadline: Annotated[
        bool, typer.Option("--keep-deadline", help="Grant only what is left of the old deadline.")
    ] = False,
    rate: Annotated[float, typer.Option(min=0.001, help="How many are sent in a second at most.")] = PER_SECOND,
    max_replays: Annotated[int, typer.Option(min=1, help="How often one request may be replayed.")] = MAX_REPLAYS,
    again: Annotated[bool, typer.Option("--again", help="With --id: also if it was replayed or dropped.")] = False,
    dry_run: DryOption = False,
    pipeline: PipelineOption = None,
    catalogue: CatalogueOption = None,
    bootstrap: BootstrapOption = None,
    json: JsonOption = None,
) -> None:
    """Send open dead letters once more, as new requests that name the old ones; each gets a result of its own.

    Give the same command again when it was cut off: what was sent is not sent once more. Exits 2 when some could not be
    replayed; they stay open.
    """
    started_at = time.time()
    with explained_errors():
        if deadline is not None and keep_deadline:
            raise ConfigurationError("--deadline and --keep-deadline: say one of them")
        if again and id_ is None:
            raise ConfigurationError("--again is for one letter; name it with --id")
        office = Office.of(catalogue, pipeline, bootstrap)
        selection = select(
            reasons=reason, stage=stage, since=since, until=until, tenant=tenant, id_=id_, is_of_all=again
        )
        seconds = None if deadline is None else parse_duration(deadline, field="--deadline")
        terms = Terms(to, seconds, keep_deadline, max_replays, rate, dry_run)
        account = _Account(is_dry=dry_run, is_silent=json == "-")
        try:
            asyncio.run(_replay(office, selection, terms, account))
        finally:
            account.close()
    if json is not None:
        write_json(json, command="dlq replay", started_at=started_at, result=account.result(office))
    raise typer.Exit(Exit.USAGE if account.tally.obstacles else Exit.OK)


async def _replay(office: Office, selection: Selection, terms: Terms, account: "_Account") -> None:
    letters = [letter for letter in (await office.shelf()).letters if selection.has(letter)]
    outbox = Outbox(office.connection)
    replayer = Replayer(
        office.read,
        outbox,
        office.catalogue,
        pipeline=office.pipeline,
        terms=terms,
        clock=Clock(),
        on_obstacle=account.note,
    )
    topics = replayer.topics(letters)
    if topics:
        await partition_counts(office.connection, topics)  # a send would wait for a topic that does not exist
    try:
        if letters and not terms.is_dry:
            await outbox.start()
        account.begin(letters, replayer.tally)
        await replayer.run(letters)
        account.is_complete = True
    finally:
        await outbox.close()


class _Account:
    """How a replay goes, for people; what is in the way goes to standard error."""

    def __init__(self, *, is_dry: bool, is_silent: bool) -> None:
        self.tally = Tally()
        self.is_complete = False
        self._is_dry = is_dry
        self._is_silent = is_silent
        self._selected: Sequence[Letter] | None = None
        self._named: Counter[Obstacle] = Counter()

    def begin(self, letters: Sequence[Letter], tally: Tally) -> None:
        """Take down what is to be replayed."""
        self._selected, self.tally = letters, tally
        self._say(f"to replay: {counted(letters)}")

    def note(self, letter: Letter, obstacle: Obstacle, text: str) -> None:
        """Name a letter that stays open, unless many of its kind were named."""
        self._named[obstacle] += 1
        if self._named[obstacle] <= NAMED:
            print(f"not replayed: {letter.result_id}: {text}", file=sys.stderr)

    def close(self) -> None:
        """Sum up, if anything was begun."""
        if self._selected is None:
            return
        tally = self.tally
        parts = [f"{tally.replayed} {'would be replayed' if self._is_dry else 'replayed'}"]
        if tally.found:
            parts.append(f"{tally.found} had been sent before a run was cut off")
        parts += [f"{count} not: {obstacle}" for obstacle, count in tally.obstacles.most_common()]
        self._say(", ".join(parts))
        if not self.is_complete:
            print("cut off; the same command again goes on", file=sys.stderr)

    def result(self, office: Office) -> dict[str, Any]:
        """What a machine wants to know."""
        return {
            "topic": office.topic,
            "is_dry": self._is_dry,
            "selected": len(self._selected or ()),
            "replayed": self.tally.replayed,
            "found_sent": self.tally.found,
            "not_replayed": dict(self.tally.obstacles),
        }

    def _say(self, text: str) -> None:
        if not self._is_silent:
            print(text, flush=True)
