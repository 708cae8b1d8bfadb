"""Liveness: results flow again soon after a fault, nothing stalls meanwhile, and quiet phases are in time.

**Recovery of a fault** is the time from its end until results in time flow again::

    recovery = min { t >= end : of the requests sent in [t, t + 5 s], one at least, 95 % are answered in time } - end

on a grid of half a second. It is reckoned from requests and not from results: the first result after an outage is often one
that has waited through it, and says nothing about who comes next. A window in which nobody could send anything does not count
as flowing. When another fault is at work between the end and that instant, whose recovery it is cannot be told: the fault is
*overlapped*, and neither in the quantiles nor held against the bound. Of a burst the last fault is held to it, unless the next
burst strikes before the bound is over.

A recovery of 0 s says that what came after the fault's end was not touched. What the fault did while it was at work is told by
how many of the requests sent meanwhile, and until the recovery, were in time; overlapping faults share them.

**A stall**: outside faults and their time for recovery, nothing ended for longer than the bound while a request waited
through all of it.

**A quiet phase** begins a while after the last fault ended (``quiet_after_seconds``) and ends when the next one begins. Judged
are the requests sent in it whose deadline falls in it, too; the others may still be hit by what comes. Phases with fewer than 20
such requests are not judged.

Poison is left out everywhere: it is not meant to be served.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from failsoft.trials.checks.check import Check
from failsoft.trials.checks.evidence import Evidence, Fault, Request
from failsoft.trials.ledger import quantile

WINDOW_SECONDS = 5.0
"""At 30 requests a second 150 of them: enough for a share of 95 % to mean something."""
STEP_SECONDS = 0.5
JUDGED_MIN = 20


@dataclass(frozen=True, slots=True)
class Recovery:
    """Of one fault. ``seconds`` is None where it never came; an overlapped one is nobody's."""

    fault: Fault
    seconds: float | None
    is_overlapped: bool


@dataclass(frozen=True, slots=True)
class Quiet:
    """One quiet phase: how many of its judged requests were in time."""

    began_at: float
    ended_at: float
    requests: int
    in_time: int


@dataclass(frozen=True, slots=True)
class FaultTally:
    """All faults of one kind: how many, their recoveries, and what was sent while they were at work.

    Attributes:
        count: how many.
        recovered: of them, those whose recovery was their own.
        overlapped: of them, those that another fault kept from it, or may have.
        p50_seconds: recoveries that were their own. What is overlapped is never one of 0 s, so these alone would flatter.
        p99_seconds: see there.
        p50_bound_seconds: all recoveries, whoever kept them: at most that long.
        p99_bound_seconds: see there.
        requests: sent while they were at work, and until the recovery.
        in_time: of these.
    """

    count: int
    recovered: int
    overlapped: int
    p50_seconds: float | None
    p99_seconds: float | None
    p50_bound_seconds: float | None
    p99_bound_seconds: float | None
    requests: int
    in_time: int


class Flow:
    """What was sent, in order of time, and how much of it was answered in time.

    Args:
        evidence: of the trial.
    """

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.limits = evidence.history.trial.limits
        self.requests = sorted((r for r in evidence.accepted if not r.is_poison), key=lambda request: request.began_at)
        self.sent = [request.began_at for request in self.requests]
        self._in_time = list(accumulate((request.is_in_time for request in self.requests), initial=0))

    @property
    def ends_at(self) -> float:
        """When the last request was sent."""
        return self.sent[-1] if self.sent else -math.inf

    def flows(self, at: float) -> bool:
        """Whether the requests sent from here on are answered in time."""
        requests, in_time = self.sent_between(at, at + WINDOW_SECONDS)
        return requests > 0 and in_time >= self.limits.in_time_share * requests

    def sent_between(self, since: float, until: float) -> tuple[int, int]:
        """How many requests were sent, and how many of them were answered in time."""
        first, last = bisect_left(self.sent, since), bisect_left(self.sent, until)
        return last - first, self._in_time[last] - self._in_time[first]

    def recovery(self, fault: Fault) -> Recovery | None:
        """Of one fault; None where nothing was sent after it, or it never ended."""
        if fault.ended_at > self.ends_at:
            return None
        at = fault.ended_at
        while not self.flows(at) and at <= self.ends_at:
            at += STEP_SECONDS
        is_over = at <= self.ends_at
        others = (each for each in self.evidence.faults if each is not fault)
        until = min(at, fault.ended_at + self.limits.recovery_seconds)
        is_overlapped = at > fault.ended_at and any(
            each.began_at < until and each.ended_at > fault.ended_at for each in others
        )
        return Recovery(fault, at - fault.ended_at if is_over else None, is_overlapped)


def recoveries(flow: Flow) -> list[Recovery]:
    """Of all faults of which it can be told."""
    return [found for fault in flow.evidence.faults if (found := flow.recovery(fault)) is not None]


def by_kind(flow: Flow, found: Sequence[Recovery]) -> dict[str, FaultTally]:
    """Sum up faults by their kinds."""
    tallies = {}
    for kind in sorted({fault.kind for fault in flow.evidence.faults}):
        known = [each for each in found if each.fault.kind == kind]
        seconds = [each.seconds for each in known if each.seconds is not None and not each.is_overlapped]
        bounds = [each.seconds for each in known if each.seconds is not None]
        spans = [(fault.began_at, fault.ended_at) for fault in flow.evidence.faults if fault.kind == kind]
        until = {each.fault.began_at: each.fault.ended_at + (each.seconds or 0.0) for each in known}
        meanwhile = [flow.sent_between(began_at, until.get(began_at, ended_at)) for began_at, ended_at in spans]
        tallies[kind] = FaultTally(
            len(spans),
            len(seconds),
            sum(each.is_overlapped for each in known),
            quantile(seconds, 0.5),
            quantile(seconds, 0.99),
            quantile(bounds, 0.5),
            quantile(bounds, 0.99),
            sum(requests for requests, _ in meanwhile),
            sum(in_time for _, in_time in meanwhile),
        )
    return tallies


def check_liveness(flow: Flow, found: Sequence[Recovery], quiet: Sequence[Quiet]) -> Check:
    """Hold recoveries, stalls and quiet phases against their bounds."""
    check = Check("liveness")
    for recovery in found:
        if not recovery.is_overlapped:
            _check_recovery(flow, recovery, check)
    for began_at, ended_at in _silences(flow):
        check.breach(f"nothing ended from {began_at:.3f} to {ended_at:.3f}, while requests waited")
    for phase in quiet:
        share = phase.in_time / phase.requests
        check.look(
            share >= flow.limits.in_time_share,
            f"quiet from {phase.began_at:.3f} to {phase.ended_at:.3f}: {share:.1%} of {phase.requests} in time",
        )
    return check


def _check_recovery(flow: Flow, recovery: Recovery, check: Check) -> None:
    fault, bound = recovery.fault, flow.limits.recovery_seconds
    if recovery.seconds is not None:
        check.look(
            recovery.seconds <= bound,
            f"{fault.kind} of {fault.target}: results flowed again {recovery.seconds:.1f} s after its end",
        )
    elif flow.ends_at - fault.ended_at > bound:
        check.breach(f"{fault.kind} of {fault.target}: results never flowed again")


def quiet_phases(flow: Flow) -> Iterator[Quiet]:
    """Those with enough requests to be judged."""
    if not flow.sent:
        return
    for began_at, ended_at in _without(flow, flow.sent[0], math.inf, after_seconds=flow.limits.quiet_after_seconds):
        first, last = bisect_left(flow.sent, began_at), bisect_left(flow.sent, ended_at)
        judged = [request for request in flow.requests[first:last] if request.deadline_at <= ended_at]
        if len(judged) >= JUDGED_MIN:
            in_time = sum(request.is_in_time for request in judged)
            yield Quiet(began_at, min(ended_at, flow.ends_at), len(judged), in_time)


def _without(flow: Flow, began_at: float, ended_at: float, *, after_seconds: float) -> Iterator[tuple[float, float]]:
    """The parts of a span of time that no fault reaches, not even so long after its end."""
    at = began_at
    for fault in flow.evidence.faults:
        if fault.began_at > at:
            yield at, min(fault.began_at, ended_at)
        at = max(at, fault.ended_at + after_seconds)
        if at >= ended_at:
            return
    yield at, ended_at


def _silences(flow: Flow) -> Iterator[tuple[float, float]]:
    """Spans without any end that are too long, though something waited through them."""
    if not flow.sent:
        return
    ends = sorted(request.results[0].appended_at for request in flow.requests if request.results)
    instants = [flow.sent[0], *(at for at in ends if flow.sent[0] < at < flow.ends_at), flow.ends_at]
    for before, after in pairwise(instants):
        if after - before > flow.limits.stall_seconds:
            for began_at, ended_at in _without(flow, before, after, after_seconds=flow.limits.recovery_seconds):
                if ended_at - began_at > flow.limits.stall_seconds and _waits(flow, ended_at):
                    yield began_at, ended_at


def _waits(flow: Flow, ended_at: float) -> bool:
    return any(_waits_through(request, ended_at - flow.limits.stall_seconds, ended_at) for request in flow.requests)


def _waits_through(request: Request, began_at: float, ended_at: float) -> bool:
    return request.accepted_at <= began_at and (not request.results or request.results[0].appended_at >= ended_at)
