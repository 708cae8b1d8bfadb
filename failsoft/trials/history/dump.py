"""Every record of a topic, read from the cluster and written down with what a checker needs of it.

The bodies stay where they are: a digest stands for key, headers and value, and canaries are looked for while the body is at
hand. What a request may take is reckoned from its headers by the policy itself (:mod:`failsoft.policy.deadline`), once more as
if its worker had read it at the instant of its append; producers write down what they meant, so that the checker can hold one
against the other.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from failsoft.kafka import Connection
from failsoft.kafka.clients import partition_counts
from failsoft.kafka.operations import log_bounds
from failsoft.kafka.raw import raw_records
from failsoft.kafka.results import ResultRecord
from failsoft.policy.deadline import grant
from failsoft.policy.errors import MalformedRecord
from failsoft.runtime.line_file import LineFile
from failsoft.trials.history.echo import echo_digest
from failsoft.trials.history.lines import (
    Bounds,
    DeadLetterLine,
    LogBeginLine,
    LogEndLine,
    RequestLine,
    ResultLine,
)
from failsoft.trials.history.trial import Trial, TrialClass
from failsoft.wire.dead_letter import decode_dead_letter
from failsoft.wire.envelope import decode_headers, salvage_headers
from failsoft.wire.identity import result_id
from failsoft.wire.result import decode_result


async def dump_topic(connection: Connection, folder: Path, trial: Trial, topic: str, *, incarnation: int = 0) -> int:
    """Write all records of a topic of the trial into its folder; return how many.

    Args:
        connection: where the cluster is.
        folder: of the trial.
        trial: says what the topic holds.
        topic: one of the trial's.
        incarnation: how often the topic has been deleted and made anew.

    Raises:
        ConfigurationError: the topic does not exist.
        EnvironmentFailure: no broker answers, or the folder cannot be written.
    """
    counts = await partition_counts(connection, [topic])
    bounds = await log_bounds(connection, counts)
    file = LineFile(folder / f"log-{topic}.{time.time_ns()}.jsonl")
    try:
        places = tuple(Bounds(*bounds[topic, number]) for number in range(counts[topic]))
        file.append(LogBeginLine(time.time(), topic, incarnation, places))
        records = 0
        async for record in raw_records(connection, topic, since=0.0):
            file.append(_line(record, trial, topic))
            records += 1
        file.append(LogEndLine(time.time(), records))
    finally:
        file.close()
    return records


def _line(record: ResultRecord, trial: Trial, topic: str) -> RequestLine | ResultLine | DeadLetterLine:
    if topic == trial.results:
        return result_line(record, trial.canaries)
    if topic == trial.dead_letters:
        return dead_letter_line(record)
    (class_,) = (each for each in trial.classes.values() if each.topic == topic)
    return request_line(record, class_)


def request_line(record: ResultRecord, class_: TrialClass) -> RequestLine:
    """Read what a request's headers say. A malformed one has a name all the same, and no deadline."""
    place = {"topic": class_.topic, "partition": record.partition, "offset": record.offset}
    try:
        envelope = decode_headers(record.headers, **place)  # type: ignore[arg-type]
    except MalformedRecord:
        envelope = salvage_headers(record.headers, **place)  # type: ignore[arg-type]
        expires_at = None
    else:
        granted = grant(
            envelope.stamp,
            appended_at=record.timestamp,
            received_at=record.timestamp,
            clock_offset=0.0,
            default_seconds=class_.deadline_seconds,
            maximum_seconds=class_.deadline_max_seconds,
        )
        expires_at = record.timestamp + granted.remaining_seconds
    return RequestLine(*_place(record), result_id(envelope.identity), expires_at, envelope.tenant)


def result_line(record: ResultRecord, canaries: Mapping[str, str]) -> ResultLine:
    """Read a result, and say what is wrong with it."""
    found = tuple(_tenants_in(record, canaries))
    try:
        result = decode_result(record.headers, record.value)
    except MalformedRecord as error:
        return ResultLine(*_place(record), None, canaries=found, problem=str(error))
    problem = None
    if result.id != result_id(result.request):
        problem = "its id is not that of the request it names"
    elif record.key != result.id.encode():
        problem = "its key is not its id, so that its repeats may stand in another partition"
    return ResultLine(
        *_place(record),
        result.id,
        result.outcome,
        result.reason,
        result.tier,
        result.level,
        result.executions,
        found,
        problem,
        echo_digest(result.body) if result.is_ok else None,
    )


def dead_letter_line(record: ResultRecord) -> DeadLetterLine:
    """Read where a dead letter comes from."""
    try:
        letter = decode_dead_letter(record.key, record.value, record.headers)
    except MalformedRecord as error:
        return DeadLetterLine(*_place(record), problem=str(error))
    return DeadLetterLine(*_place(record), letter.topic, letter.partition, letter.offset, letter.reason)


def _place(record: ResultRecord) -> tuple[int, int, float, str]:
    return record.partition, record.offset, record.timestamp, _digest(record)


def _digest(record: ResultRecord) -> str:
    """Of everything in the record; lengths keep the parts apart."""
    parts = [record.key, record.value, *(part for name, value in record.headers for part in (name.encode(), value))]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b"-" if part is None else b"%d:%b" % (len(part), part))
    return digest.hexdigest()[:32]


def _tenants_in(record: ResultRecord, canaries: Mapping[str, str]) -> Iterator[str]:
    text = b"\0".join([record.value or b"", *(value for _, value in record.headers)])
    return (tenant for tenant, canary in canaries.items() if canary.encode() in text)
