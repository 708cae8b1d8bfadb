"""`failsoft results`: what came of requests, as batch output lines, or the trail of one request for people."""

import asyncio
import os
import re
import sys
import time
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from failsoft.catalogue import load, results_topic
from failsoft.cli.exits import explained_errors
from failsoft.cli.report import JsonOption, write_json
from failsoft.cli.topics import BootstrapOption, CatalogueOption
from failsoft.cli.trail import find_trails, trail_json, trail_lines
from failsoft.kafka import Connection
from failsoft.kafka.results import ResultReader, ResultRecord
from failsoft.policy.errors import ConfigurationError, MalformedRecord
from failsoft.runtime.submission import choose_pipeline
from failsoft.wire import Identity, Result
from failsoft.wire.result import decode_result

JOB = re.compile(r"[0-9a-f]{8,64}", re.ASCII)
MALFORMED_SHOWN = 5
"""Named one by one; what is wrong with the rest of a thousand is seldom something else."""


def results(
    *,
    job: Annotated[
        str | None, typer.Option(metavar="ID", help="Only of this job: the id that submit printed, or its beginning.")
    ] = None,
    id_: Annotated[
        str | None,
        typer.Option("--id", metavar="X", help="The trail of one request: its custom_id, its id, or its result's id."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what comes, until Ctrl-C.")] = False,
    expect: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="With --job and --follow: end when N results are there.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the lines go. Default: standard output.")
    ] = None,
    pipeline: Annotated[str | None, typer.Option(help="Default: the only one in topics.yaml.")] = None,
    catalogue: CatalogueOption = None,
    bootstrap: BootstrapOption = None,
    json: JsonOption = None,
) -> None:
    """Print results as batch output lines, each once, from the beginning of the log to its end as it is now.

    Repeats of a result are not shown when they are less than an hour apart; how many there are in the log is told on standard
    error. With --id, tell how one request came to its end, and exit with 2 when there is no such result.
    """
    started_at = time.time()
    with explained_errors():
        _check(job=job, id_=id_, follow=follow, expect=expect, out=out)
        topic = results_topic(choose_pipeline(load(catalogue), pipeline))
        connection = Connection.from_environment(bootstrap)
        if id_ is not None:
            result = _tell_trails(connection, topic, id_, Job(job), is_told=json != "-")
        else:
            with _destination(out, is_silent=json == "-") as lines:
                printout = _Printout(topic, Job(job), lines, is_followed=follow)
                _read(connection, printout, expect)
            result = printout.result()
    if json is not None:
        write_json(json, command="results", started_at=started_at, result=result)


def _check(*, job: str | None, id_: str | None, follow: bool, expect: int | None, out: Path | None) -> None:
    if job is not None and not JOB.fullmatch(job):
        raise ConfigurationError(f"--job {job}: not what submit prints; pass at least its first 8 characters")
    if expect is not None and not (job is not None and follow):
        raise ConfigurationError("--expect counts the results of one job as they come; pass --job and --follow with it")
    if id_ is not None and (follow or out is not None):
        raise ConfigurationError("--id tells people of one request that has ended; leave --follow and --out out")


class Job:
    """Which results are wanted: those of one batch file, named by the beginning of its SHA-256; of all, where it is None."""

    def __init__(self, name: str | None) -> None:
        self._name = name
        self._source: str | None = None

    def has(self, result: Result) -> bool:
        """Tell whether it is one of them.

        Raises:
            ConfigurationError: the beginning fits two jobs.
        """
        source = result.request.source
        if self._name is None:
            return True
        if not source.startswith(Identity.of_batch_line(self._name, 0).source):
            return False
        if self._source not in (None, source):
            raise ConfigurationError(
                f"--job {self._name} begins two jobs, {self._source} and {source}; pass more of it"
            )
        self._source = source
        return True


class _Printout:
    """Results as they are printed, counted."""

    def __init__(self, topic: str, job: Job, lines: BinaryIO | None, *, is_followed: bool) -> None:
        self.topic = topic
        self.is_followed = is_followed
        self.results = 0
        self.repeats = 0
        self._job = job
        self._lines = lines
        self._malformed = 0
        self._outcomes: Counter[str] = Counter()
        self._levels: Counter[int] = Counter()
        self._tiers: Counter[str] = Counter()

    def take(self, record: ResultRecord) -> None:
        """Print a result, if it is wanted and is one."""
        try:
            result = decode_result(record.headers, record.value)
        except MalformedRecord as error:
            self._complain(record, error)
            return
        if self._job.has(result):
            self._count(result)
            self._print(result)

    def summarise(self) -> None:
        """Sum up on standard error."""
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self._outcomes.items())) or "none"
        print(
            f"{self.results} results ({outcomes}); in all of {self.topic}: repeats {self.repeats}, malformed {self._malformed}",
            file=sys.stderr,
        )

    def result(self) -> dict[str, Any]:
        """What a machine wants to know."""
        return {
            "results": self.results,
            "outcomes": dict(self._outcomes),
            "levels": dict(self._levels),
            "tiers": dict(self._tiers),
            "repeats_in_log": self.repeats,
            "malformed": self._malformed,
        }

    def _count(self, result: Result) -> None:
        self.results += 1
        self._outcomes[result.outcome] += 1
        if result.level is not None and result.tier is not None:
            self._levels[result.level] += 1
            self._tiers[result.tier] += 1

    def _print(self, result: Result) -> None:
        if self._lines is not None:
            self._lines.write(result.line + b"\n")
            if self.is_followed:
                self._lines.flush()

    def _complain(self, record: ResultRecord, error: MalformedRecord) -> None:
        self._malformed += 1
        if self._malformed <= MALFORMED_SHOWN:
            place = f"{self.topic} partition {record.partition}, offset {record.offset}"
            print(f"not a result, left out: {place}: {error}", file=sys.stderr)


def _destination(out: Path | None, *, is_silent: bool) -> AbstractContextManager[BinaryIO | None]:
    """Open what the lines go to; to nothing where standard output is for the report."""
    if out is None:
        return nullcontext(None if is_silent else sys.stdout.buffer)
    try:
        return out.open("wb")
    except OSError as error:
        raise ConfigurationError(f"--out {out}: cannot be written ({error.strerror})") from None


def _read(connection: Connection, printout: _Printout, expect: int | None) -> None:
    """Print what there is. Ctrl-C is the orderly end of following, and a reader such as `head` may leave when it likes."""
    try:
        asyncio.run(_print_results(connection, printout, expect))
    except KeyboardInterrupt:
        if not printout.is_followed:
            raise
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still in the buffer is flushed at exit
    printout.summarise()


async def _print_results(connection: Connection, printout: _Printout, expect: int | None) -> None:
    reader = ResultReader(connection, printout.topic, start="beginning", until_end=not printout.is_followed)
    try:
        await reader.start()
        async for record in reader.records():
            printout.take(record)
            if printout.results == expect:
                return
    finally:
        printout.repeats = reader.repeats
        await reader.stop()


def _tell_trails(connection: Connection, topic: str, name: str, job: Job, *, is_told: bool) -> dict[str, Any]:
    trails = [trail for trail in asyncio.run(find_trails(connection, topic, name)) if job.has(trail.result)]
    if not trails:
        raise ConfigurationError(
            f"no result of {name!r} in {topic}: its request has not ended, or it is another pipeline's, or retention has passed"
        )
    if is_told:
        print("\n\n".join("\n".join(trail_lines(trail, topic)) for trail in trails))
    return {"requests": [trail_json(trail) for trail in trails]}
