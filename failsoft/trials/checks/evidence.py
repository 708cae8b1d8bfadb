"""A history put in order: each request with all that was said of it, each log by place, faults as spans of time.

* A request is *accepted* when its producer was told so, or when it stands in the log: an unknown send whose record is found was
  accepted, whatever its producer believed. Records that no producer of the trial wrote down are requests like any other.
* A topic that was deleted and made anew begins again at offset 0, so a place has an *incarnation*. What was said of a place
  while the topic was being made anew, and until clients must have heard of it, is of neither.
* The *deadline* is what the producer meant: its budget (at most its class's), from the broker's append. The *expiry* is what the
  worker could know: by the headers, which take the way to the broker off.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from failsoft.trials.history.lines import (
    FailLine,
    FaultBeginLine,
    FaultEndLine,
    FaultSkippedLine,
    InvokeLine,
    OkLine,
    ProducerLine,
    RequestLine,
    ResultLine,
    Unreadable,
)
from failsoft.trials.history.loading import History, UnreadableHistory


class Place(NamedTuple):
    """Where a record stands. Of a topic that was never made anew the incarnation is 0."""

    topic: str
    incarnation: int
    partition: int
    offset: int

    def __str__(self) -> str:
        again = f" (made anew {self.incarnation}x)" if self.incarnation else ""
        return f"{self.topic}{again} partition {self.partition} offset {self.offset}"


@dataclass(slots=True)
class Request:
    """A request, and all that was said of it.

    Attributes:
        id: of its result.
        request_class: urgency.
        budget_seconds: from its append to its deadline.
        sent_at: when it was first sent; None where no producer wrote it down.
        tenant: whose it is.
        is_poison: it is not meant to be served.
        asks: digest of what it asks, where that is known.
        acknowledged: by the broker: place (None where the broker did not say) and time of append, of each send.
        failed: how many sends surely failed.
        sends: how many there were.
        records: where it stands in the log.
        expires_at: the latest of its records' own, None where none could be read.
        results: its records in the log of results, in order.
    """

    id: str
    request_class: str
    budget_seconds: float
    sent_at: float | None = None
    tenant: str | None = None
    is_poison: bool = False
    asks: str | None = None
    acknowledged: list[tuple[Place | None, float]] = field(default_factory=list)
    failed: int = 0
    sends: int = 0
    records: list[tuple[Place, float]] = field(default_factory=list)
    expires_at: float | None = None
    results: list[ResultLine] = field(default_factory=list)

    @property
    def is_accepted(self) -> bool:
        """Whether it must have a result."""
        return bool(self.acknowledged or self.records)

    @property
    def is_unknown(self) -> bool:
        """Whether it was sent, and neither accepted nor surely not."""
        return not self.is_accepted and self.sends > self.failed

    @property
    def accepted_at(self) -> float:
        """The broker's time of append, of the first record; infinite if it was not accepted."""
        return min((at for _, at in (*self.acknowledged, *self.records)), default=math.inf)

    @property
    def began_at(self) -> float:
        """When it was sent, or appended where that is not known."""
        return self.accepted_at if self.sent_at is None else self.sent_at

    @property
    def deadline_at(self) -> float:
        """What its producer meant."""
        return self.accepted_at + self.budget_seconds

    @property
    def result(self) -> ResultLine | None:
        """The one that counts: the first in the log."""
        return self.results[0] if self.results else None

    @property
    def is_in_time(self) -> bool:
        """Whether it was answered, at any level, before its deadline."""
        first = self.result
        return first is not None and first.outcome == "ok" and first.appended_at <= self.deadline_at


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, from its beginning to its end; one that nobody saw end lasts for ever."""

    number: int
    kind: str
    target: str
    began_at: float
    ended_at: float
    unreadable: tuple[Unreadable, ...] = ()
    recreated: tuple[str, ...] = ()
    forgot_offsets: bool = False

    def moves_offsets_of(self, topic: str) -> bool:
        """Whether somebody took records of this topic, or offsets, away on purpose."""
        return self.forgot_offsets or topic in self.recreated or any(gone.topic == topic for gone in self.unreadable)

    def forgot_offset_of(self, place: Place) -> bool:
        """Whether the group's offset in this partition went, so that it was read again: the target names the partition."""
        return self.forgot_offsets and self.target == f"{place.topic}-{place.partition}"


@dataclass(slots=True)
class Evidence:
    """What the checks read.

    Attributes:
        history: as it was written.
        faults: in the order in which they began.
        skipped: kind of fault -> why this machine could not have it.
        requests: by the id of their result.
        ids: place of a request's record -> the id of its result.
        strays: results that are no request's, and records that are no results, with their places.
    """

    history: History
    faults: list[Fault]
    skipped: dict[str, str]
    requests: dict[str, Request] = field(default_factory=dict)
    ids: dict[Place, str] = field(default_factory=dict)
    strays: list[tuple[Place, ResultLine]] = field(default_factory=list)
    _remakes: dict[str, list[Fault]] = field(default_factory=dict)

    @property
    def accepted(self) -> Iterator[Request]:
        """Those that must have a result."""
        return (request for request in self.requests.values() if request.is_accepted)

    def incarnation(self, topic: str, at: float, *, grace_seconds: float = 0.0) -> int | None:
        """Which one was there at an instant; None while it was being made anew, and so long after."""
        passed = 0
        for fault in self._remakes.get(topic, ()):
            if fault.began_at <= at < fault.ended_at + grace_seconds:
                return None
            passed += at >= fault.ended_at
        return passed

    def place(self, request_class: str, partition: int, offset: int, at: float) -> Place | None:
        """The place that a worker means by these; None where the topic was being made anew, and of a class without a part."""
        trial = self.history.trial
        if request_class not in trial.classes:
            return None
        topic = trial.classes[request_class].topic
        incarnation = self.incarnation(topic, at, grace_seconds=trial.limits.recovery_seconds)
        return None if incarnation is None else Place(topic, incarnation, partition, offset)

    def is_taken_away(self, place: Place) -> bool:
        """Whether an operator took this record away before it was read."""
        return any(_covers(gone, place) for fault in self.faults for gone in fault.unreadable)

    def is_forgiven(self, topic: str, since: float, until: float) -> bool:
        """Whether an operator may have moved the group's offsets in a topic between two instants."""
        grace = self.history.trial.limits.recovery_seconds
        return any(
            fault.began_at <= until and since <= fault.ended_at + grace
            for fault in self.faults
            if fault.moves_offsets_of(topic)
        )


def gather(history: History) -> Evidence:
    """Put a history in order."""
    faults = sorted(_faults(history), key=lambda fault: fault.began_at)
    found = Evidence(
        history, faults, {line.kind: line.why for line in history.faults if isinstance(line, FaultSkippedLine)}
    )
    for fault in faults:
        for topic in fault.recreated:
            found._remakes.setdefault(topic, []).append(fault)  # noqa: SLF001 - filled once, here
    for lines in history.producers.values():
        _take_sends(found, lines)
    for class_ in history.trial.classes:
        _take_records(found, class_)
    _take_results(found)
    return found


def _faults(history: History) -> Iterator[Fault]:
    ends = {line.fault: line for line in history.faults if isinstance(line, FaultEndLine)}
    for line in history.faults:
        if isinstance(line, FaultBeginLine):
            end = ends.get(line.fault, FaultEndLine(math.inf, line.fault))
            yield Fault(
                line.fault,
                line.kind,
                line.target,
                line.at,
                end.at,
                end.unreadable,
                end.recreated,
                end.forgot_offsets,
            )


def _covers(gone: Unreadable, place: Place) -> bool:
    return (
        (gone.topic, gone.incarnation, gone.partition) == (place.topic, place.incarnation, place.partition)
        and gone.first <= place.offset
        and (gone.last is None or place.offset <= gone.last)
    )


def _take_sends(found: Evidence, lines: Sequence[ProducerLine]) -> None:
    """An outcome stands behind its invocation, in the same file."""
    invoked: dict[int, InvokeLine] = {}
    for line in lines:
        if isinstance(line, InvokeLine):
            invoked[line.call] = line
            if line.id is not None:
                _sent(found, line, line.id)
            continue
        sent = invoked.get(line.call)
        if sent is None:
            raise UnreadableHistory(f"a producer tells the outcome of call {line.call}, which it did not make")
        match line:
            case OkLine():
                request = _sent(found, sent, line.id) if sent.id is None else found.requests[sent.id]
                request.acknowledged.append((_acknowledged_place(found, sent.topic, line), line.appended_at))
            case FailLine() if sent.id is not None:
                found.requests[sent.id].failed += 1


def _sent(found: Evidence, line: InvokeLine, id_: str) -> Request:
    class_ = found.history.trial.classes.get(line.request_class)
    if class_ is None:
        raise UnreadableHistory(
            f"a producer sent a request of class {line.request_class!r}, which the trial does not have"
        )
    asked = class_.deadline_seconds if line.budget_seconds is None else line.budget_seconds
    request = found.requests.get(id_)
    if request is None:
        request = Request(id_, line.request_class, min(asked, class_.deadline_max_seconds), line.at)
        request.tenant, request.is_poison, request.asks = line.tenant, line.is_poison, line.asks
        found.requests[id_] = request
    request.sends += 1
    return request


def _acknowledged_place(found: Evidence, topic: str, line: OkLine) -> Place | None:
    incarnation = found.incarnation(topic, line.appended_at)
    return None if line.offset < 0 or incarnation is None else Place(topic, incarnation, line.partition, line.offset)


def _take_records(found: Evidence, request_class: str) -> None:
    class_ = found.history.trial.classes[request_class]
    for dump in found.history.dumps[class_.topic]:
        for line in dump.records:
            if isinstance(line, RequestLine):
                place = Place(class_.topic, dump.begin.incarnation, line.partition, line.offset)
                request = found.requests.get(line.id)
                if request is None:
                    granted = class_.deadline_seconds if line.expires_at is None else line.expires_at - line.appended_at
                    request = Request(line.id, request_class, granted, tenant=line.tenant)
                    found.requests[line.id] = request
                _add_record(found, request, place, line)


def _add_record(found: Evidence, request: Request, place: Place, line: RequestLine) -> None:
    if place not in found.ids:  # else it stands in two dumps of the same incarnation
        found.ids[place] = line.id
        request.records.append((place, line.appended_at))
        if line.expires_at is not None:
            request.expires_at = max(line.expires_at, -math.inf if request.expires_at is None else request.expires_at)


def _take_results(found: Evidence) -> None:
    """In the order of the log; of two dumps of the same incarnation each record once."""
    topic, seen = found.history.trial.results, set()
    for dump in sorted(found.history.dumps[topic], key=lambda dump: dump.begin.incarnation):
        for line in dump.records:
            place = Place(topic, dump.begin.incarnation, line.partition, line.offset)
            if place not in seen and isinstance(line, ResultLine):
                seen.add(place)
                request = None if line.id is None or line.problem is not None else found.requests.get(line.id)
                if request is None:
                    found.strays.append((place, line))
                else:
                    request.results.append(line)
