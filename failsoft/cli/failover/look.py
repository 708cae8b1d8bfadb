"""``failsoft failover plan`` and ``status``: what would be done, and what was."""

import asyncio
import time
from collections.abc import Iterator

import typer

from failsoft.catalogue import load
from failsoft.cli.exits import Exit, explained_errors
from failsoft.cli.failover.desk import Desk, PipelineOption, RunbookArgument, as_result, check_topics, days_ago
from failsoft.cli.report import JsonOption, write_json
from failsoft.cli.topics import BootstrapOption, CatalogueOption
from failsoft.failover import gate
from failsoft.failover.checks import AT_MOST, Check
from failsoft.failover.kafka_book import KafkaBook
from failsoft.failover.logbook import Logbook
from failsoft.failover.run import Kind, Run, Step
from failsoft.failover.runbook import Runbook
from failsoft.kafka import Connection
from failsoft.policy.durations import write_duration
from failsoft.policy.routing import Route
from failsoft.runtime.submission import choose_pipeline


def plan(
    runbook: RunbookArgument,
    *,
    pipeline: PipelineOption,
    catalogue: CatalogueOption = None,
    bootstrap: BootstrapOption = None,
    json: JsonOption = None,
) -> None:
    """Show what a runbook does, and whether `execute` may begin now; change nothing. Exits 2 if it may not."""
    started_at = time.time()
    with explained_errors():
        desk = Desk.of(runbook, pipeline, catalogue, bootstrap)
        logbook, route = asyncio.run(_known(desk))
    against = list(gate.refusals(desk.runbook, Kind.EXECUTE, logbook, route, is_forced=False, now=time.time()))
    if json != "-":
        print("\n".join(_plan_lines(desk.runbook, logbook, route, against)))
    if json is not None:
        result = {"runbook": desk.runbook.name, "hash": desk.runbook.hash, "may_begin": not against, "against": against}
        write_json(json, command="failover plan", started_at=started_at, result=result)
    raise typer.Exit(Exit.USAGE if against else Exit.OK)


def status(
    *,
    pipeline: str | None = typer.Option(None, help="Its name. Default: the only one in topics.yaml."),
    catalogue: CatalogueOption = None,
    bootstrap: BootstrapOption = None,
    json: JsonOption = None,
) -> None:
    """Show all drills and failovers, and where each endpoint is now."""
    started_at = time.time()
    with explained_errors():
        known = load(catalogue)
        check_topics(known)
        book = KafkaBook(Connection.from_environment(bootstrap), choose_pipeline(known, pipeline))
        runs, routes = asyncio.run(_runs(book))
    if json != "-":
        print("\n".join(_status_lines(runs, routes)))
    if json is not None:
        result = {"runs": [as_result(run) for run in runs], "routes": {name: _where(r) for name, r in routes.items()}}
        write_json(json, command="failover status", started_at=started_at, result=result)


async def _known(desk: Desk) -> tuple[Logbook, Route | None]:
    book = desk.reading()
    return await book.read(), await book.route(desk.runbook.endpoint)


async def _runs(book: KafkaBook) -> tuple[list[Run], dict[str, Route | None]]:
    runs = list(await book.read())
    return runs, {endpoint: await book.route(endpoint) for endpoint in dict.fromkeys(run.endpoint for run in runs)}


def _plan_lines(runbook: Runbook, logbook: Logbook, route: Route | None, against: list[str]) -> Iterator[str]:
    yield f"{runbook.name}: {runbook.endpoint} of {runbook.pipeline} from {runbook.origin} to {runbook.target}"
    yield f"hash {runbook.hash[:12]}, {len(runbook.canaries)} canaries"
    yield f"now: {'all in ' + runbook.regions[0] if route is None else _where(route)}"
    yield f"1. before: {_checks(runbook.before)}"
    for number, step in enumerate(runbook.steps, 2):
        yield f"{number}. {_step(step)}, then: {_checks(runbook.during)}"
    yield f"   a check that fails: all back to {runbook.origin}"
    yield f"drill: {', '.join(map(_step, runbook.drill)) or 'shadow calls only'}"
    passed = logbook.last_passed_drill(runbook.name, runbook.hash)
    yield f"last drill that passed: {days_ago(None if passed is None else passed.ended_at)}"
    yield from (f"execute may not begin: {reason}" for reason in against)
    if not against:
        yield "execute may begin."


def _status_lines(runs: list[Run], routes: dict[str, Route | None]) -> Iterator[str]:
    if not runs:
        yield "No drill and no failover yet."
    for endpoint, route in routes.items():
        yield f"{endpoint}: {'where its pipeline puts it' if route is None else _where(route)}"
    for run in runs:
        state = f"OPEN at {run.phase}" if run.is_open else str(run.verdict)
        forced = f", forced: {run.why}" if run.is_forced else ""
        yield f"{run.kind} of {run.runbook} by {run.by}, {days_ago(run.started_at)}: {state}{forced}"
        yield from (f"    {found}" for found in run.findings if not found.passed)


def _where(route: Route | None) -> str | None:
    if route is None:
        return None
    if route.share in {0.0, 1.0}:
        return f"all in {route.target if route.share else route.origin}"
    return f"{100 * route.share:g}% in {route.target}, the rest in {route.origin}"


def _step(step: Step) -> str:
    return f"{100 * step.share:g}% for {write_duration(step.hold_seconds)}"


def _checks(checks: tuple[Check, ...]) -> str:
    return ", ".join(
        f"{check.name} {'at most' if check.name in AT_MOST else 'at least'} {check.bound:g}" for check in checks
    )
