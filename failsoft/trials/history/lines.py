"""The lines of a history, as values. What a worker writes of itself is in :mod:`failsoft.runtime.worker_history`.

``at`` is the machine's wall clock in epoch seconds, ``appended_at`` the broker's, which on one machine is the same. ``id`` is
always the id of a request's result: the one name that a request has everywhere.
"""

from dataclasses import dataclass
from typing import Literal

# Producers


@dataclass(frozen=True, slots=True)
class InvokeLine:
    """A request is about to be sent.

    Attributes:
        at: when.
        monotonic: the same on the clock that nobody sets.
        call: its number in this file; the outcome has the same.
        id: of its result; None where only its place in the log will name it.
        topic: whither.
        request_class: urgency.
        budget_seconds: that it asks for; None: what its class grants.
        tenant: whose it is.
        is_poison: it is not meant to be served: it is malformed, refused by every model, or kills the process.
        asks: digest of what is asked (:mod:`failsoft.trials.history.echo`); None where no answer will repeat it.
    """

    at: float
    monotonic: float
    call: int
    id: str | None
    topic: str
    request_class: str
    budget_seconds: float | None = None
    tenant: str | None = None
    is_poison: bool = False
    asks: str | None = None
    event: Literal["invoke"] = "invoke"


@dataclass(frozen=True, slots=True)
class OkLine:
    """It is acknowledged. ``offset`` is -1 where the broker only remembers that it has it; ``id`` is told now at the latest."""

    at: float
    monotonic: float
    call: int
    id: str
    partition: int
    offset: int
    appended_at: float
    event: Literal["ok"] = "ok"


@dataclass(frozen=True, slots=True)
class FailLine:
    """It is surely not in the log, and will never be."""

    at: float
    monotonic: float
    call: int
    problem: str
    event: Literal["fail"] = "fail"


@dataclass(frozen=True, slots=True)
class UnknownLine:
    """It may be in the log, or come into it later."""

    at: float
    monotonic: float
    call: int
    problem: str
    event: Literal["unknown"] = "unknown"


ProducerLine = InvokeLine | OkLine | FailLine | UnknownLine

# Faults


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Records that an operator took away before they were read. ``last`` None: to the end of the topic as it was."""

    topic: str
    partition: int
    first: int
    last: int | None = None
    incarnation: int = 0


@dataclass(frozen=True, slots=True)
class FaultBeginLine:
    """A fault strikes."""

    at: float
    fault: int
    kind: str
    target: str
    detail: str = ""
    event: Literal["begin"] = "begin"


@dataclass(frozen=True, slots=True)
class FaultEndLine:
    """It is healed.

    Attributes:
        at: when.
        fault: which.
        unreadable: what it took away.
        recreated: topics that were deleted and made anew.
        forgot_offsets: the group's offsets were deleted, or expired.
    """

    at: float
    fault: int
    unreadable: tuple[Unreadable, ...] = ()
    recreated: tuple[str, ...] = ()
    forgot_offsets: bool = False
    event: Literal["end"] = "end"


@dataclass(frozen=True, slots=True)
class FaultSkippedLine:
    """A fault that this machine cannot have, and why."""

    at: float
    kind: str
    why: str
    event: Literal["skipped"] = "skipped"


FaultLine = FaultBeginLine | FaultEndLine | FaultSkippedLine

# Offsets


@dataclass(frozen=True, slots=True)
class SampleLine:
    """How far the group was: (topic, partition, committed, first offset of the log, end of the log) of each partition.

    ``at`` is when the answer was there: what it says was so then or before. None: not committed, or not known.
    """

    at: float
    places: tuple[tuple[str, int, int | None, int | None, int | None], ...]
    event: Literal["sample"] = "sample"


# Logs


@dataclass(frozen=True, slots=True)
class Bounds:
    """The first offset of a partition's log, and the one after its last."""

    first: int
    end: int


@dataclass(frozen=True, slots=True)
class LogBeginLine:
    """The dump of a topic begins.

    Attributes:
        at: when.
        topic: which.
        incarnation: how often it had been deleted and made anew.
        bounds: of each partition, in order of their numbers.
    """

    at: float
    topic: str
    incarnation: int
    bounds: tuple[Bounds, ...]
    event: Literal["log"] = "log"


@dataclass(frozen=True, slots=True)
class RequestLine:
    """A record of a topic of requests.

    Attributes:
        partition: with offset, its place.
        offset: see partition.
        appended_at: the broker's clock.
        digest: of key, headers and value.
        id: of its result.
        expires_at: its deadline by its headers, on the broker's clock; None where it cannot be read.
        tenant: whose it is.
    """

    partition: int
    offset: int
    appended_at: float
    digest: str
    id: str
    expires_at: float | None = None
    tenant: str | None = None
    event: Literal["request"] = "request"


@dataclass(frozen=True, slots=True)
class ResultLine:
    """A record of the topic of results.

    Attributes:
        partition: with offset, its place.
        offset: see partition.
        appended_at: the broker's clock.
        digest: of key, headers and value.
        id: that it says it is; None where it is no result.
        outcome: how the request ended.
        reason: why that was not level 1, or not ok.
        tier: that served.
        level: of it.
        executions: that it says it took.
        canaries: the tenants whose text stands in it.
        problem: why it is no result, or not the one that it says it is.
        answers: digest of what the answer says it was asked; None where it does not say.
    """

    partition: int
    offset: int
    appended_at: float
    digest: str
    id: str | None
    outcome: str | None = None
    reason: str | None = None
    tier: str | None = None
    level: int | None = None
    executions: int = 0
    canaries: tuple[str, ...] = ()
    problem: str | None = None
    answers: str | None = None
    event: Literal["result"] = "result"


@dataclass(frozen=True, slots=True)
class DeadLetterLine:
    """A record of the topic of dead letters, with the place of the one that was given up."""

    partition: int
    offset: int
    appended_at: float
    digest: str
    of_topic: str | None = None
    of_partition: int | None = None
    of_offset: int | None = None
    reason: str | None = None
    problem: str | None = None
    event: Literal["dead_letter"] = "dead_letter"


@dataclass(frozen=True, slots=True)
class LogEndLine:
    """The dump is whole."""

    at: float
    records: int
    event: Literal["whole"] = "whole"


LogLine = LogBeginLine | RequestLine | ResultLine | DeadLetterLine | LogEndLine

# Readers


@dataclass(frozen=True, slots=True)
class ReaderStartLine:
    """A reader has taken its positions."""

    at: float
    is_from_beginning: bool
    event: Literal["start"] = "start"


@dataclass(frozen=True, slots=True)
class ShownLine:
    """A result was shown. ``id`` is the record's key."""

    at: float
    partition: int
    offset: int
    id: str
    event: Literal["shown"] = "shown"


@dataclass(frozen=True, slots=True)
class ReaderEndLine:
    """The reader has ended by itself, at the end that the log had when it started."""

    at: float
    event: Literal["end"] = "end"


ReaderLine = ReaderStartLine | ShownLine | ReaderEndLine
