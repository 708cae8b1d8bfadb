"""``failsoft topics plan | apply | show | acls``: keep a cluster's topics in step with the catalogue.

``+`` will be created, ``~`` will be changed, ``!`` only a person can settle, ``?`` is there but in no catalogue.
``plan`` changes nothing and exits 2 on drift; ``apply`` exits 0 when the cluster is in step afterwards, and 2 when a
person is needed.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from failsoft.catalogue import (
    AddPartitions,
    ChangeConfig,
    Create,
    DescribedCluster,
    Entry,
    Plan,
    Role,
    Unfixable,
    commands,
    load,
    rights,
)
from failsoft.cli.exits import Exit, explained_errors
from failsoft.cli.report import JsonOption, write_json
from failsoft.kafka import admin
from failsoft.kafka.connection import Connection

app = typer.Typer(
    no_args_is_help=True, help="Compare the cluster's topics with the catalogue, and bring them into step."
)

CatalogueOption = Annotated[
    Path | None,
    typer.Option("--catalogue", metavar="FILE", help="Default: ./topics.yaml, else the one that comes with failsoft."),
]
BootstrapOption = Annotated[
    str | None, typer.Option("--bootstrap", metavar="SERVERS", help="Default: KAFKA_BOOTSTRAP_SERVERS.")
]
RepartitionOption = Annotated[
    bool, typer.Option("--allow-repartition", help="Also add partitions: keys move, so requests in flight may repeat.")
]


@app.command()
def plan(catalogue: CatalogueOption = None, bootstrap: BootstrapOption = None, json: JsonOption = None) -> None:
    """Show what apply would do; change nothing. Exits 2 on drift."""
    started_at = time.time()
    with explained_errors():
        wanted = load(catalogue)
        found = asyncio.run(admin.plan(Connection.from_environment(bootstrap), wanted))
    _report("topics plan", json, started_at, _plan_lines(found), _plan_result(found))
    raise typer.Exit(Exit.OK if found.is_in_step else Exit.USAGE)


@app.command()
def apply(
    catalogue: CatalogueOption = None,
    bootstrap: BootstrapOption = None,
    json: JsonOption = None,
    allow_repartition: RepartitionOption = False,
) -> None:
    """Create and change topics as the catalogue says; never delete, never shrink. Exits 2 if a person is needed."""
    started_at = time.time()
    with explained_errors():
        wanted = load(catalogue)
        connection = Connection.from_environment(bootstrap)
        applied = asyncio.run(admin.apply(connection, wanted, allow_repartition=allow_repartition))
    result = {"done": [_entry_result(entry) for entry in applied.done], "remaining": _plan_result(applied.remaining)}
    _report("topics apply", json, started_at, _applied_lines(applied), result)
    raise typer.Exit(Exit.OK if applied.remaining.is_in_step else Exit.USAGE)


@app.command()
def show(catalogue: CatalogueOption = None, bootstrap: BootstrapOption = None, json: JsonOption = None) -> None:
    """Show the topics that are there, with what is set on them."""
    started_at = time.time()
    with explained_errors():
        wanted = load(catalogue)
        cluster = asyncio.run(admin.describe(Connection.from_environment(bootstrap), wanted))
    topics = [asdict(cluster.topics[name]) for name in sorted(cluster.topics)]
    _report("topics show", json, started_at, _cluster_lines(cluster), {"brokers": cluster.brokers, "topics": topics})


@app.command()
def acls(
    role: Annotated[Role, typer.Argument(help="Whose rights.")],
    principal: Annotated[str, typer.Option(help="Who has the role, as the brokers name him: User:NAME.")],
    catalogue: CatalogueOption = None,
    json: JsonOption = None,
) -> None:
    """Print the commands of Kafka's own tool that give a role the rights it needs, and no more; talk to no cluster."""
    started_at = time.time()
    with explained_errors():
        wanted = rights(load(catalogue), role)
    result = {"role": role, "principal": principal, "rights": [asdict(right) for right in wanted]}
    _report("topics acls", json, started_at, commands(wanted, principal), result)


def _report(command: str, json: str | None, started_at: float, lines: Iterator[str], result: dict[str, Any]) -> None:
    if json != "-":
        print("\n".join(lines))
    if json is not None:
        write_json(json, command=command, started_at=started_at, result=result)


def _plan_lines(found: Plan) -> Iterator[str]:
    for entry in found.entries:
        yield from _entry_lines(entry)
    yield from _remark_lines(found)
    create, change, unfixable = _counts(found.entries)
    if found.is_in_step:
        yield "Plan: nothing to do, the topics are as the catalogue wants them."
    else:
        yield f"Plan: {create} to create, {change} to change, {unfixable} for a person to settle."


def _applied_lines(applied: admin.Applied) -> Iterator[str]:
    for entry in applied.done:
        yield from _entry_lines(entry)
    create, change, _ = _counts(applied.done)
    remaining = applied.remaining
    yield from _remark_lines(remaining)
    yield f"Applied: {create} created, {change} changed."
    if not remaining.is_in_step:
        yield "Not in step yet:"
        for entry in remaining.entries:
            yield from _entry_lines(entry)


def _remark_lines(found: Plan) -> Iterator[str]:
    for name in found.unknown:
        yield f"? {name}: not in the catalogue; left alone"
    for warning in found.warnings:
        yield f"Warning: {warning}"


def _entry_lines(entry: Entry) -> Iterator[str]:
    match entry:
        case Create(topic):
            yield f"+ {topic.name}: {topic.partitions} partitions, replication {topic.replication}"
            for key, value in sorted(topic.config.items()):
                yield f"    + {key} = {value}"
        case AddPartitions(name, have, want):
            yield f"~ {name}: {have} -> {want} partitions; keys move, so apply needs --allow-repartition"
        case ChangeConfig(name, changes):
            yield f"~ {name}"
            for key, (old, new) in sorted(changes.items()):
                yield f"    ~ {key}: {old} -> {new}"
        case Unfixable(name, reason):
            yield f"! {name}: {reason}"


def _cluster_lines(cluster: DescribedCluster) -> Iterator[str]:
    yield f"Brokers: {cluster.brokers}. Topics: {len(cluster.topics)}."
    for name in sorted(cluster.topics):
        topic = cluster.topics[name]
        yield f"{name}: {topic.partitions} partitions, replication {topic.replication}"
        for key, value in sorted(topic.overrides.items()):
            yield f"    {key} = {value}"


def _counts(entries: Sequence[Entry]) -> tuple[int, int, int]:
    """How many topics are to be created, to be changed, and for a person to settle."""
    create = sum(isinstance(entry, Create) for entry in entries)
    change = len({entry.name for entry in entries if isinstance(entry, AddPartitions | ChangeConfig)})
    return create, change, len({entry.name for entry in entries if isinstance(entry, Unfixable)})


def _plan_result(found: Plan) -> dict[str, Any]:
    return {
        "is_in_step": found.is_in_step,
        "brokers": found.brokers,
        "entries": [_entry_result(entry) for entry in found.entries],
        "unknown": found.unknown,
        "warnings": found.warnings,
    }


def _entry_result(entry: Entry) -> dict[str, Any]:
    match entry:
        case Create(topic):
            return {"action": "create", **asdict(topic)}
        case AddPartitions():
            return {"action": "add_partitions", **asdict(entry)}
        case ChangeConfig(name, changes):
            old_and_new = {key: {"have": old, "want": new} for key, (old, new) in changes.items()}
            return {"action": "change_config", "name": name, "changes": old_and_new}
        case Unfixable():
            return {"action": "settle_by_hand", **asdict(entry)}
