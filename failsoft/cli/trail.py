"""The trail of one request: how it ended, why, what it took, and where that stands in the log, repeats and all."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from failsoft.kafka import Connection
from failsoft.kafka.raw import raw_records
from failsoft.kafka.results import ResultRecord
from failsoft.policy.errors import MalformedRecord
from failsoft.policy.outcome import Reason
from failsoft.wire import Result, Step
from failsoft.wire.result import decode_result
from failsoft.wire.timestamp import format_timestamp

NAME_COLUMNS = 12


@dataclass(slots=True)
class Trail:
    """What the log says of one request.

    Attributes:
        result: its result, the first in the log.
        record: that as it stands there.
        repeats: further records of the same id.
    """

    result: Result
    record: ResultRecord
    repeats: list[ResultRecord] = field(default_factory=list)


async def find_trails(connection: Connection, topic: str, name: str) -> list[Trail]:
    """Read the log for whatever has this name: a custom_id, a request's id or a result's id.

    Only the last is unique. Records that are no results have no trail.

    Raises:
        ConfigurationError: the topic does not exist.
        EnvironmentFailure: no broker answers.
    """
    trails: dict[str, Trail] = {}
    async for record in raw_records(connection, topic, since=0.0):
        try:
            result = decode_result(record.headers, record.value)
        except MalformedRecord:
            continue
        if result.id in trails:
            trails[result.id].repeats.append(record)
        elif name in (result.custom_id, result.request.id, result.id):
            trails[result.id] = Trail(result, record)
    return list(trails.values())


def trail_lines(trail: Trail, topic: str) -> Iterator[str]:
    """Tell it to people, a name and what is to say of it on each line."""
    for name, text in _told(trail.result):
        if text is not None:
            yield f"{name:<{NAME_COLUMNS}}{printable(text)}"
    yield f"{'stands at':<{NAME_COLUMNS}}{topic} {_place(trail.record)}"
    yield f"{'repeats':<{NAME_COLUMNS}}{'; '.join(_place(each) for each in trail.repeats) or 'none in the log'}"


def trail_json(trail: Trail) -> dict[str, Any]:
    """Tell it to machines."""
    result = trail.result
    return {
        "result_id": result.id,
        "request_source": result.request.source,
        "request_id": result.request.id,
        "custom_id": result.custom_id,
        "outcome": result.outcome,
        "reason": result.reason,
        "status_code": result.status_code,
        "stage": result.stage,
        "trail": [_step_json(step) for step in result.trail],
        "tier": result.tier,
        "level": result.level,
        "wanted_level": result.wanted_level,
        "region": result.region,
        "executions": result.executions,
        "queue_seconds": result.queue_seconds,
        "call_seconds": result.call_seconds,
        "slack_seconds": result.slack_seconds,
        "is_stale": result.is_stale,
        "age_seconds": result.age_seconds,
        "coalesced_with": result.coalesced_with,
        "context_state": result.context_state,
        "retry_after_seconds": result.retry_after_seconds,
        "error": result.error,
        "published_at": result.published_at,
        "record": _place_json(trail.record),
        "repeats": [_place_json(each) for each in trail.repeats],
    }


def printable(text: str) -> str:
    """Show a sender's or a model's text without what would steer a terminal."""
    return text if text.isprintable() else repr(text)


def _told(result: Result) -> Iterator[tuple[str, str | None]]:
    yield "request", f"{result.request.id} of {result.request.source}"
    yield "custom_id", result.custom_id
    yield "result", result.id
    yield "outcome", f"{result.outcome}, status {result.status_code}"
    yield "reason", result.reason
    yield "error", None if result.error is None else str(result.error.get("message"))
    yield "retry after", _seconds(result.retry_after_seconds)
    yield "stage", result.stage
    for step in result.trail:
        yield f"in {step.stage}"[: NAME_COLUMNS - 1], _step(step)
    yield "wanted", f"level {result.wanted_level}"
    yield "served", "by no tier" if result.tier is None else f"level {result.level}, tier {result.tier}"
    yield "region", result.region
    yield "age", _age(result)
    yield "context", result.context_state
    yield "shared", None if result.coalesced_with is None else f"the call of {result.coalesced_with}"
    yield "executions", str(result.executions)
    yield "queued", _seconds(result.queue_seconds)
    yield "in calls", _seconds(result.call_seconds)
    yield "slack", _seconds(result.slack_seconds)
    yield "decided at", None if result.published_at is None else format_timestamp(result.published_at)


def _step(step: Step) -> str:
    why = "" if step.reason is Reason.NONE else f" ({step.reason})"
    waited, called = _seconds(step.queue_seconds), _seconds(step.call_seconds)
    return f"level {step.level}, tier {step.tier}{why}, queued {waited}, in calls {called}"


def _step_json(step: Step) -> dict[str, Any]:
    return {
        "stage": step.stage,
        "tier": step.tier,
        "level": step.level,
        "reason": step.reason,
        "queue_seconds": step.queue_seconds,
        "call_seconds": step.call_seconds,
    }


def _age(result: Result) -> str | None:
    if result.age_seconds is None:
        return None
    return f"{result.age_seconds:.3f} s, {'past its time' if result.is_stale else 'fresh'}"


def _seconds(seconds: float | None) -> str | None:
    return None if seconds is None else f"{seconds:.3f} s"


def _place(record: ResultRecord) -> str:
    return f"partition {record.partition}, offset {record.offset}, at {format_timestamp(record.timestamp)}"


def _place_json(record: ResultRecord) -> dict[str, Any]:
    return {"partition": record.partition, "offset": record.offset, "appended_at": record.timestamp}
