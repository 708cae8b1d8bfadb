"""The gates of a stage, for those who watch: what each looks at now, and from where on it closes.

A decision that shows only as its outcome cannot be explained afterwards, and not be seen coming. So every rule that may keep a
request from a tier, or a record from the stage, shows its figure beside its threshold, in the same unit:

==================  ============================================================  ==========================  ===============
gate                value                                                         closes at the threshold of  figures of
==================  ============================================================  ==========================  ===============
admission           what stands before a new request, over what it may wait       2/3                         class
backlog_age         seconds that the oldest record in the log has waited          its class's deadline        class
patience            seconds that the first in line has waited for the full tier   its patience                class
room_records        records in memory, beside followers                           2,000                       class
room_bytes          their bytes                                                   32 MiB                      class
permits             calls in flight                                               this worker's permits       tier
latency             q95 of calls, seconds                                         the target of the limit     tier, if it has one
widening            score of the detector                                         7                           tier
breaker_failures    failed part of the last 30 s, once there are enough calls     .5                          tier
breaker_slow        slow part of them                                             .6                          tier
breaker_calls       calls of the last 30 s: below, the two above decide nothing   10                          tier
breaker_unreached   calls in a row that did not reach it                          5                           tier
retry_budget        executions that are paid for: closes *below*                  1                           tier and class
==================  ============================================================  ==========================  ===============

``patience`` opens rather than closes: from there on a lower tier may take the request. Thresholds are the defaults of the
stage's settings; what does not enforce shows its figures all the same.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

from failsoft.policy.admission import Admission
from failsoft.policy.request import ClassName
from failsoft.policy.settings import StageSettings
from failsoft.policy.stage.endpoint import Endpoint
from failsoft.policy.stage.room import Room


class GateName(StrEnum):
    """All gates: a label of metrics."""

    ADMISSION = "admission"
    BACKLOG_AGE = "backlog_age"
    PATIENCE = "patience"
    ROOM_RECORDS = "room_records"
    ROOM_BYTES = "room_bytes"
    PERMITS = "permits"
    LATENCY = "latency"
    WIDENING = "widening"
    BREAKER_FAILURES = "breaker_failures"
    BREAKER_SLOW = "breaker_slow"
    BREAKER_CALLS = "breaker_calls"
    BREAKER_UNREACHED = "breaker_unreached"
    RETRY_BUDGET = "retry_budget"


class Gate(NamedTuple):
    """One of them, as it stands. ``tier`` and ``request_class`` are empty where the gate is not theirs."""

    name: GateName
    value: float
    threshold: float
    tier: str = ""
    request_class: ClassName = ""


class Line(NamedTuple):
    """How long the first in line of a class has waited for the full tier, and how long it is patient, seconds."""

    waited: float
    patience: float


def gates_of_endpoint(endpoint: Endpoint, stage: StageSettings, *, now: float) -> Iterator[Gate]:
    """What stands before one tier."""
    tier, target = endpoint.settings.name, endpoint.settings.target_seconds
    breaker, counts = stage.breakers, endpoint.breaker.counts(now=now)
    yield Gate(GateName.PERMITS, endpoint.permits.in_flight, endpoint.permits.count, tier)
    if target is not None:
        yield Gate(GateName.LATENCY, endpoint.latency.speed(now=now).q95, target, tier)
    yield Gate(GateName.WIDENING, endpoint.widening.score, stage.widening.alarm_at, tier)
    yield Gate(GateName.BREAKER_FAILURES, counts.failure_rate, breaker.failure_rate_threshold, tier)
    yield Gate(GateName.BREAKER_SLOW, counts.slow_call_rate, breaker.slow_call_rate_threshold, tier)
    yield Gate(GateName.BREAKER_CALLS, counts.calls, breaker.minimum_number_of_calls, tier)
    unreached = endpoint.breaker.unreached_in_a_row
    yield Gate(GateName.BREAKER_UNREACHED, unreached, breaker.consecutive_unreachable_calls, tier)
    for known in stage.classes:
        yield Gate(GateName.RETRY_BUDGET, endpoint.retries_left(known.name, now=now), 1.0, tier, known.name)


def gates_of_classes(
    stage: StageSettings,
    *,
    admission: Admission,
    room: Room,
    oldest_age: Mapping[ClassName, float],
    lines: Iterable[Mapping[ClassName, Line]],
) -> Iterator[Gate]:
    """What stands before the requests of each class.

    Args:
        stage: its settings.
        admission: who sheds.
        room: who holds.
        oldest_age: class -> how long the oldest record in the log has waited.
        lines: of every dispatcher, the classes that wait.
    """
    known_lines = list(lines)
    for known in stage.classes:
        name = known.name
        yield Gate(GateName.ADMISSION, admission.pressure(name), stage.admission.shed_from, request_class=name)
        yield Gate(GateName.BACKLOG_AGE, oldest_age.get(name, 0.0), known.deadline_seconds, request_class=name)
        idle = Line(0.0, known.patience * known.deadline_seconds)
        line = max((each[name] for each in known_lines if name in each), key=_overdue, default=idle)
        yield Gate(GateName.PATIENCE, *line, request_class=name)
        records, size_bytes = room.taken(name)
        yield Gate(GateName.ROOM_RECORDS, records, stage.records_max, request_class=name)
        yield Gate(GateName.ROOM_BYTES, size_bytes, stage.bytes_max, request_class=name)


def _overdue(line: Line) -> float:
    return line.waited - line.patience
