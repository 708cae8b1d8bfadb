"""`failsoft submit`: every line of an OpenAI batch file as a request."""

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from failsoft.catalogue import load
from failsoft.cli.exits import Exit, explained_errors
from failsoft.cli.report import JsonOption, write_json
from failsoft.cli.topics import BootstrapOption, CatalogueOption
from failsoft.kafka import Connection, Outbox
from failsoft.kafka.clients import partition_counts
from failsoft.policy.durations import parse_duration
from failsoft.policy.errors import ConfigurationError
from failsoft.runtime.batch_file import BatchFile
from failsoft.runtime.submission import Accepted, Destination, Refused, choose_destination, submit_batch

REMEMBERED_CUSTOM_IDS = 100_000
"""Looked at for repeats. OpenAI takes 50,000 lines in a file."""


def submit(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="An OpenAI batch file, as it is; - reads standard input.")
    ],
    *,
    pipeline: Annotated[str | None, typer.Option(help="Default: the only one in topics.yaml.")] = None,
    request_class: Annotated[
        str | None, typer.Option("--class", help="Urgency. Default: batch, or the least urgent class there is.")
    ] = None,
    deadline: Annotated[
        str | None, typer.Option(help="Of each request, from when it is sent: 5s, 15m, 24h. Default: the class's own.")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Whose requests they are; tenants share no answers.")] = None,
    catalogue: CatalogueOption = None,
    bootstrap: BootstrapOption = None,
    json: JsonOption = None,
) -> None:
    """Send every line of a batch file as a request, and print the id of the job: the file's SHA-256.

    A line may carry what was gathered for it, for stages that declare it: "context": {"documents": {"value": [...]}}.

    A line that is no request is named on standard error and stops no other; the exit code is 2 then. Requests are named by
    file and line number, so submitting a file again asks the same requests again: their results have the same ids, and of
    those that are less than an hour apart a reader shows one. A submission that was cut off is completed by repeating it.
    """
    started_at = time.time()
    with explained_errors():
        destination = choose_destination(
            load(catalogue),
            pipeline=pipeline,
            request_class=request_class,
            deadline_seconds=None if deadline is None else parse_duration(deadline, field="--deadline"),
            tenant=tenant,
        )
        connection = Connection.from_environment(bootstrap)
        with opened(file) as batch:
            account = _submitted(connection, batch, destination, shows_id=json != "-")
    if json is not None:
        write_json(json, command="submit", started_at=started_at, result=account.result(destination))
    raise typer.Exit(Exit.USAGE if account.refused else Exit.OK)


@contextmanager
def opened(path: str) -> Iterator[BatchFile]:
    """Open a batch file, "-" for standard input.

    Raises:
        ConfigurationError: it cannot be read, or nothing is in it.
    """
    with _source(path) as source, tempfile.TemporaryFile() as copy:
        is_readable_twice = path != "-" and source.seekable()
        if not is_readable_twice:  # standard input, a pipe
            shutil.copyfileobj(source, copy)
        batch = BatchFile(source if is_readable_twice else copy)
        if not batch.size_bytes:
            raise ConfigurationError(f"{path}: nothing is in it; a batch file has one request a line")
        yield batch


def _source(path: str) -> AbstractContextManager[BinaryIO]:
    if path == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from None


def _submitted(connection: Connection, batch: BatchFile, destination: Destination, *, shows_id: bool) -> "_Account":
    """Send it all, and tell how it went also when it is cut off."""
    console = Console(stderr=True)
    columns = (TextColumn("submitting"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        account = _Account(batch, progress, shows_id=shows_id)
        try:
            asyncio.run(_send(connection, batch, destination, account))
        finally:
            account.close()
    return account


async def _send(connection: Connection, batch: BatchFile, destination: Destination, account: "_Account") -> None:
    await partition_counts(connection, [destination.topic])  # a send would wait for a topic that does not exist
    outbox = Outbox(connection)
    await outbox.start()
    try:
        account.begin()
        await submit_batch(outbox, batch, destination, account.take)
        account.is_complete = True
    finally:
        await outbox.close()


class _Account:
    """How a submission goes: counts for the report, words for people, on standard error."""

    def __init__(self, batch: BatchFile, progress: Progress, *, shows_id: bool) -> None:
        self.accepted = 0
        self.refused: list[Refused] = []
        self.is_complete = False
        self._batch = batch
        self._progress = progress
        self._bar = progress.add_task("submitting", total=batch.size_bytes)
        self._shows_id = shows_id
        self._began_at: float | None = None
        self._lines: dict[str, int] = {}
        self._repeats = 0
        self._repeat = (0, 0)

    def begin(self) -> None:
        """Nothing is in the way any more: name the job, so that its results can be watched while it is sent."""
        self._began_at = time.monotonic()
        if self._shows_id:
            print(self._batch.id, flush=True)

    def take(self, end: Accepted | Refused) -> None:
        """Count one line."""
        self._progress.advance(self._bar, end.size_bytes)
        if isinstance(end, Refused):
            self.refused.append(end)
            self._say(f"line {end.line_number}: {end.problem}")
            return
        self.accepted += 1
        self._note_custom_id(end.custom_id, end.line_number)

    def close(self) -> None:
        """Sum up, if anything was begun."""
        if self._began_at is None:
            return
        seconds = time.monotonic() - self._began_at
        if self._repeats:
            earlier, later = self._repeat
            self._say(
                f"warning: {self._repeats} lines repeat a custom_id, line {later} that of line {earlier}; "
                "their results differ in response.request_id, the line number"
            )
        if not self.is_complete:
            self._say("cut off; submitting the same file again completes it")
        self._say(f"{self.accepted} accepted, {len(self.refused)} refused in {seconds:.1f} s")

    def result(self, destination: Destination) -> dict[str, Any]:
        """What a machine wants to know."""
        return {
            "job": self._batch.id,
            "stage": destination.stage,
            "class": destination.request_class,
            "deadline_seconds": destination.budget_seconds,
            "accepted": self.accepted,
            "refused": len(self.refused),
            "refusals": [{"line": each.line_number, "problem": each.problem} for each in self.refused],
            "repeated_custom_ids": self._repeats,
        }

    def _note_custom_id(self, custom_id: str, number: int) -> None:
        earlier = self._lines.get(custom_id)
        if earlier is not None:
            self._repeats += 1
            self._repeat = (min(earlier, number), max(earlier, number))
        elif len(self._lines) < REMEMBERED_CUSTOM_IDS:
            self._lines[custom_id] = number

    def _say(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
