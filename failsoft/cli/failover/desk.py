"""What the verbs share: the options, and an operator who has all that he needs at hand."""

import asyncio
import contextlib
import getpass
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from failsoft.catalogue import Catalogue, load
from failsoft.cli.exits import Exit
from failsoft.cli.report import write_json
from failsoft.failover.declared import fitted
from failsoft.failover.kafka_book import KafkaBook
from failsoft.failover.operator import Operator
from failsoft.failover.probe import Probe
from failsoft.failover.run import Run, Verdict
from failsoft.failover.runbook import Runbook, load_runbook
from failsoft.kafka import Connection, Outbox
from failsoft.pipeline import load_pipeline
from failsoft.policy.errors import ConfigurationError, EnvironmentFailure
from failsoft.runtime.broker_clock import BrokerClock
from failsoft.runtime.clock import Clock

LEFT_OPEN = "What had begun stands open: `failsoft failover status` shows it, `resume` or `rollback` ends it"
TOPICS = ("drills", "controls", "breakers")

RunbookArgument = Annotated[Path, typer.Argument(metavar="RUNBOOK", help="A file such as runbooks/eu-us.yaml.")]
PipelineOption = Annotated[
    str, typer.Option("--pipeline", metavar="MODULE:NAME", help="The failsoft.Pipeline that declares the endpoint.")
]
ByOption = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who does it. Default: the login name.")]
WhyOption = Annotated[str, typer.Option("--why", metavar="REASON", help="Kept with the evidence.")]


@dataclass(frozen=True, slots=True)
class Desk:
    """A runbook, and the cluster where it is carried out."""

    runbook: Runbook
    connection: Connection
    pipeline: str

    @classmethod
    def of(cls, path: Path, pipeline: str, catalogue: Path | None, bootstrap: str | None) -> "Desk":
        """Read everything, and refuse what does not fit together.

        Raises:
            ConfigurationError: says what does not.
        """
        known, loaded = load(catalogue), load_pipeline(pipeline)
        loaded.check(known)
        check_topics(known)
        runbook, _ = fitted(load_runbook(path), loaded)
        return cls(runbook, Connection.from_environment(bootstrap), pipeline)

    def reading(self) -> KafkaBook:
        """The book, for who only looks."""
        return KafkaBook(self.connection, self.runbook.pipeline)

    async def carry_out(self, command: Callable[[Operator], Awaitable[Run]], *, by: str | None, is_quiet: bool) -> Run:
        """Have an operator do something.

        Raises:
            EnvironmentFailure: the cluster cannot be reached; what was begun stands open.
        """
        try:
            async with self._operator(by or login_name(), tell=_nothing if is_quiet else _say) as operator:
                return await command(operator)
        except EnvironmentFailure as error:
            raise EnvironmentFailure(f"{error}. {LEFT_OPEN}") from error
        except asyncio.CancelledError:  # Ctrl-C
            print(f"failsoft: stopped. {LEFT_OPEN}", file=sys.stderr)
            raise

    @contextlib.asynccontextmanager
    async def _operator(self, by: str, tell: Callable[[str], None]) -> AsyncIterator[Operator]:
        runbook, endpoint = fitted(self.runbook, load_pipeline(self.pipeline))
        own = Clock()
        outbox = Outbox(self.connection, wall_clock=own.wall)
        clock = BrokerClock(own.wall, outbox)
        await outbox.start()
        try:
            await endpoint.open()
            yield Operator(
                runbook,
                book=KafkaBook(self.connection, runbook.pipeline, outbox=outbox),
                probe=Probe(runbook, endpoint, connection=self.connection, clock=clock),
                clock=clock,
                by=by,
                tell=tell,
            )
        finally:
            await endpoint.close()
            await outbox.close()


def check_topics(catalogue: Catalogue) -> None:
    """Refuse a catalogue without the topics that a failover is written down in."""
    missing = [kind for kind in TOPICS if kind not in catalogue.topics]
    if missing:
        raise ConfigurationError(
            f"topics.yaml: failover needs the topics {', '.join(missing)}; add them below topics:, then `failsoft topics apply`"
        )


def report(run: Run, *, command: str, json: str | None, started_at: float) -> None:
    """Say how a run ended, and exit with 1 where it did not pass."""
    if json is not None:
        write_json(json, command=f"failover {command}", started_at=started_at, result=as_result(run))
    is_as_wished = run.verdict is Verdict.PASSED or command == "rollback"
    raise typer.Exit(Exit.OK if is_as_wished else Exit.BROKEN_PROMISE)


def as_result(run: Run) -> dict[str, Any]:
    """A run for machines."""
    result = asdict(run)
    result["answers"] = len(run.answers)
    return {**result, "share": run.route.share}


def login_name() -> str:
    """Who is logged in; in a container often nobody."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def days_ago(instant: float | None) -> str:
    """How long ago something was, for people."""
    return "never" if instant is None else f"{(time.time() - instant) / 86_400:.1f} days ago"


def _say(text: str) -> None:
    print(text, flush=True)


def _nothing(_: str) -> None:
    """Standard output belongs to the report."""
