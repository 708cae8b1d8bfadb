"""What an act of the demo finds and needs: a pipeline, its topics, workers of it, and in the end the log of its results."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from failsoft.catalogue import Catalogue, results_topic
from failsoft.kafka import Connection, admin
from failsoft.kafka.raw import raw_records
from failsoft.kafka.results import ResultReader
from failsoft.policy.errors import ConfigurationError
from failsoft.trials.ledger import Ledger

DRAIN_SECONDS = 10.0
"""A worker ends within this and five seconds more, which is when the fleet would kill it."""


def pipeline_target(name: str) -> str:
    """Find a pipeline of the demo: in a checkout the one to play with, else the copy that comes with failsoft.

    Args:
        name: of its module in workers/.

    Raises:
        ConfigurationError: there is neither.
    """
    if _in_checkout(name).is_file():
        return f"workers.{name}:pipeline"
    if _is_packaged(name):
        return f"failsoft.templates.{name}:pipeline"
    raise ConfigurationError(
        f"no workers/{name}.py here: start the demo where it is, or install failsoft from its wheel"
    )


def has_pipeline(name: str) -> bool:
    """Whether there is either."""
    return _in_checkout(name).is_file() or _is_packaged(name)


def _in_checkout(name: str) -> Path:
    return Path("workers", f"{name}.py")


def _is_packaged(name: str) -> bool:
    return find_spec("failsoft.templates") is not None and find_spec(f"failsoft.templates.{name}") is not None


def worker_command(
    target: str,
    connection: Connection,
    *,
    launcher: Sequence[str],
    session_seconds: float,
    catalogue_path: Path | None,
    environment: Mapping[str, str],
) -> list[str]:
    """Write the command that starts a worker.

    Args:
        target: its pipeline, ``MODULE:NAME``.
        connection: where the cluster is.
        launcher: what stands in for ``failsoft``.
        session_seconds: after how long the group gives it up.
        catalogue_path: of the catalogue; None where it finds it itself.
        environment: what it needs there.
    """
    return [
        "env",
        *(f"{name}={value}" for name, value in environment.items()),
        *launcher,
        *("worker", target),
        *("--bootstrap", connection.bootstrap_servers),
        *("--session-timeout", f"{session_seconds:g}s"),
        *("--drain", f"{DRAIN_SECONDS:g}s"),
        *catalogue_option(catalogue_path),
    ]


def catalogue_option(path: Path | None) -> tuple[str, ...]:
    """Tell a command where the catalogue is; None where it finds it itself."""
    return () if path is None else ("--catalogue", str(path))


def require_listed(catalogue: Catalogue, pipeline: str, stages: Sequence[str]) -> None:
    """Do nothing where the catalogue has a pipeline.

    Raises:
        ConfigurationError: it has not; says what to add.
    """
    if pipeline not in catalogue.pipelines:
        line = f"{pipeline}: [{', '.join(stages)}]"
        raise ConfigurationError(f"the demo needs the pipeline {pipeline!r}; add `{line}` to topics.yaml")


async def apply_topics(connection: Connection, catalogue: Catalogue, pipeline: str) -> None:
    """Make the topics of one pipeline, and of no other that the catalogue has.

    Raises:
        ConfigurationError: its topics need a person.
    """
    alone = replace(catalogue, pipelines={pipeline: catalogue.pipelines[pipeline]})
    applied = await admin.apply(connection, alone)
    if not applied.remaining.is_in_step:
        raise ConfigurationError("the topics cannot be brought into step with topics.yaml; see `failsoft topics plan`")


async def read_log(connection: Connection, ledger: Ledger, pipeline: str) -> None:
    """Enter all that came: as it stands in the log, and as a reader of results is shown it."""
    topic, since = results_topic(pipeline), ledger.first_accepted_at
    async for record in raw_records(connection, topic, since=since):
        ledger.see_in_log(record)
    reader = ResultReader(connection, topic, start=since, until_end=True)
    await reader.start()
    try:
        async for record in reader.records():
            ledger.see_shown(record)
    finally:
        await reader.stop()
