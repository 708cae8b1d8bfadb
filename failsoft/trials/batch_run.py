"""A batch file run to its end, all in one: topics, workers, requests, and an output line for every input line.

The output file is the journal (:mod:`failsoft.runtime.journal`). A request is named by the file and its line, so a run that was
killed goes on where it was: lines whose result stands in the journal are done; results that an earlier run left in the log are
taken from there; the rest is sent. A line that is no request is never sent and has its output line at once.

When the run is told to stop, it sends nothing more, stops its workers in order (what they have begun is finished), and takes
the results that this brings.
"""

import asyncio
import contextlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from failsoft.catalogue import Catalogue, results_topic
from failsoft.kafka import Connection, Outbox, ResultReader, ResultRecord, admin
from failsoft.policy.errors import ConfigurationError, MalformedRecord
from failsoft.policy.outcome import Outcome
from failsoft.runtime.batch_file import BatchFile, BatchLine
from failsoft.runtime.journal import Journal
from failsoft.runtime.submission import Accepted, Destination, Refused, submit_batch
from failsoft.trials.beside import beside
from failsoft.trials.fleet import Fleet
from failsoft.wire import Identity
from failsoft.wire.body import salvage_custom_id
from failsoft.wire.identity import result_id
from failsoft.wire.result import decode_result

DRAIN_SECONDS = 10.0
SETTLE_SECONDS = 3.0
"""After the workers have stopped, for the reader to see what they published last."""
LOOK_SECONDS = 0.2


@dataclass(slots=True)
class Progress:
    """How far a run is.

    Attributes:
        total: lines of the input.
        done: lines that have their output line, those of earlier runs too.
        earlier: those of earlier runs.
        levels: served requests of this run, by level.
        reasons: requests of this run that were not level 1 or not ok, by outcome and reason.
        bad_lines: lines that are no requests.
        began_at: monotonic seconds.
    """

    total: int = 0
    done: int = 0
    earlier: int = 0
    levels: Counter[int] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    bad_lines: int = 0
    began_at: float = field(default_factory=time.monotonic)

    @property
    def rate(self) -> float:
        """Lines a second of this run."""
        return (self.done - self.earlier) / max(time.monotonic() - self.began_at, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """At this rate; None while nothing has come."""
        return (self.total - self.done) / self.rate if self.done > self.earlier else None

    @property
    def is_complete(self) -> bool:
        """Whether every input line has its output line."""
        return self.done >= self.total


@dataclass(frozen=True, slots=True)
class BatchRun:
    """What is run where.

    Attributes:
        pipeline: MODULE:NAME, for the workers.
        catalogue: of the topics.
        catalogue_path: the same, for the workers.
        destination: where the requests go.
        workers: how many processes.
    """

    pipeline: str
    catalogue: Catalogue
    catalogue_path: Path
    destination: Destination
    workers: int

    @property
    def pipeline_name(self) -> str:
        """As in topics.yaml."""
        return self.destination.stage.partition(".")[0]


async def run_batch(
    connection: Connection,
    run: BatchRun,
    file: BatchFile,
    journal: Journal,
    *,
    stop: asyncio.Event,
    on_progress: Callable[[Progress], None],
) -> Progress:
    """Run a batch file until every line is done, or until told to stop.

    Args:
        connection: the cluster.
        run: what is run where.
        file: the requests.
        journal: of the output, opened.
        stop: set to end in order.
        on_progress: told now and then.

    Raises:
        ConfigurationError: the topics need a person.
        EnvironmentFailure: a worker ended by itself, or the output cannot be written.
    """
    progress, missing = _taken_stock(file, journal)
    if not missing:
        return progress
    applied = await admin.apply(connection, run.catalogue)
    if not applied.remaining.is_in_step:
        raise ConfigurationError("the topics cannot be brought into step with topics.yaml; see `failsoft topics plan`")
    command = [
        *(sys.executable, "-m", "failsoft", "worker", run.pipeline),
        *("--bootstrap", connection.bootstrap_servers),
        *("--catalogue", str(run.catalogue_path.resolve())),
        *("--drain", f"{DRAIN_SECONDS:g}s"),
    ]
    taking = _Taking(journal, missing, progress, on_progress)
    topic = results_topic(run.pipeline_name)
    async with contextlib.AsyncExitStack() as closing:
        coming = ResultReader(connection, topic, start="end")
        await coming.start()
        closing.push_async_callback(coming.stop)
        await _take_what_is_there(ResultReader(connection, topic, start="beginning", until_end=True), taking)
        folder = closing.enter_context(tempfile.TemporaryDirectory(prefix="failsoft-run-"))
        fleet = await closing.enter_async_context(Fleet(command, size=run.workers, folder=Path(folder)))
        outbox = Outbox(connection)
        await outbox.start()
        closing.push_async_callback(outbox.close)
        only = frozenset(taking.missing.values())
        sending = submit_batch(outbox, file, run.destination, _ignore, only=only)
        await _to_the_end(sending, fleet, coming, taking, stop)
    return progress


async def _take_what_is_there(log: ResultReader, taking: "_Taking") -> None:
    """Results that earlier runs left in the log."""
    await log.start()
    try:
        async for record in log.records():
            taking.note(record)
    finally:
        await log.stop()
    taking.write()


class _Taking:
    """Takes results of missing lines into the journal, all that came together at once."""

    def __init__(
        self,
        journal: Journal,
        missing: dict[str, int],
        progress: Progress,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._journal = journal
        self._progress = progress
        self._on_progress = on_progress
        self._arrived: list[tuple[str, bytes]] = []
        self.missing = missing
        """Result id -> line number of what has no output line yet."""

    async def take_from(self, reader: ResultReader) -> None:
        """Read until cancelled; what was read is in the journal by then."""
        writing = asyncio.create_task(self._write_often())
        try:
            async for record in reader.records():
                self.note(record)
        finally:
            writing.cancel()
            self.write()

    def write(self) -> None:
        """Put what has arrived into the journal, and tell."""
        if self._arrived:
            self._journal.append(self._arrived)
            for id_, _ in self._arrived:
                del self.missing[id_]
            self._progress.done += len(self._arrived)
            self._arrived = []
        self._on_progress(self._progress)

    async def _write_often(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.write()

    def note(self, record: ResultRecord) -> None:
        """Take one result, if it is missing."""
        id_ = (record.key or b"").decode(errors="replace")
        if id_ not in self.missing:
            return
        result = decode_result(record.headers, record.value)
        if result.level is not None:
            self._progress.levels[result.level] += 1
        if result.outcome is not Outcome.OK or result.level != result.wanted_level:
            self._progress.reasons[result.outcome.value, result.reason.value] += 1
        self._arrived.append((id_, result.line))


async def _to_the_end(
    sending_missing: Coroutine[Any, Any, None], fleet: Fleet, coming: ResultReader, taking: _Taking, stop: asyncio.Event
) -> None:
    """Send what is missing and take what comes, until nothing is missing, or until told to stop."""
    async with beside(taking.take_from(coming)) as reading:
        async with beside(sending_missing) as sending:
            await _until(lambda: not taking.missing or stop.is_set(), fleet, reading, sending)
        if stop.is_set():
            await fleet.stop()
            await asyncio.sleep(SETTLE_SECONDS)


async def _until(condition: Callable[[], bool], fleet: Fleet, *tasks: "asyncio.Task[None]") -> None:
    while not condition():
        fleet.require_running()
        for task in tasks:
            if task.done():
                task.result()
        await asyncio.sleep(LOOK_SECONDS)


def _ignore(_: Accepted | Refused) -> None:
    """Results tell what was accepted; what is refused was found before."""


def _taken_stock(file: BatchFile, journal: Journal) -> tuple[Progress, dict[str, int]]:
    """What is done, and result id -> line number of what is not. Lines that are no requests are done here."""
    progress, missing, bad = Progress(), {}, []
    for line in file.lines():
        progress.total += 1
        id_ = result_id(Identity.of_batch_line(file.id, line.number))
        if id_ in journal.finished:
            progress.earlier += 1
            continue
        try:
            line.decode()
            missing[id_] = line.number
        except MalformedRecord as error:
            bad.append((id_, _error_line(id_, line, error)))
    if bad:
        journal.append(bad)
    progress.bad_lines = len(bad)
    progress.done = progress.earlier + len(bad)
    return progress, missing


def _error_line(id_: str, line: BatchLine, error: MalformedRecord) -> bytes:
    """The output line of an input line that is no request."""
    code = "invalid_json" if _is_no_json(line) else "invalid_request"
    return orjson.dumps(
        {
            "id": id_,
            "custom_id": salvage_custom_id(line.value),
            "response": None,
            "error": {"code": code, "message": f"line {line.number}: {error}"},
        }
    )


def _is_no_json(line: BatchLine) -> bool:
    try:
        orjson.loads(line.value)
    except orjson.JSONDecodeError:
        return True
    return False


def summary(progress: Progress) -> Iterable[str]:
    """What a run has come to, in lines."""
    yield f"{progress.done} of {progress.total} lines done" + (
        f", {progress.earlier} of them by an earlier run" if progress.earlier else ""
    )
    for level, count in sorted(progress.levels.items()):
        yield f"  level {level}: {count}"
    for (outcome, reason), count in progress.reasons.most_common():
        yield f"  {outcome}, {reason}: {count}"
    if progress.bad_lines:
        yield f"  not a request: {progress.bad_lines} (see their error in the output)"
