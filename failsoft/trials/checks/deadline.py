"""Deadline: no call begins after its request's expiry, and no request that still lives is dropped.

The instant of a call is the machine's own, whatever the worker's clock said; the expiry is reckoned from the record in the log,
by the headers. Where equal requests share an execution, the latest of their expiries counts; where answers of the past are
renewed, a call may be nobody's, and then its worker's own word is all there is. So it is for a record that no dump holds.

A request that ended ``expired`` must have been late by what its *producer* meant, within the bound on clocks.
"""

import math
from collections import defaultdict
from collections.abc import Sequence

from failsoft.runtime.worker_history import ExecuteLine, TookLine, WorkerLine
from failsoft.trials.checks.check import Check
from failsoft.trials.checks.evidence import Evidence, Request


def check_deadlines(evidence: Evidence) -> tuple[Check, int]:
    """Return what was found, and how many calls began too late."""
    check = Check("deadline")
    latest = _latest_by_key(evidence)
    for name, lines in evidence.history.workers.items():
        _check_calls(evidence, name, lines, latest, check)
    late = check.findings
    for request in evidence.accepted:
        first = request.result
        if first is not None and first.outcome == "expired":
            ends_at = _must_live_until(evidence, request)
            check.look(
                first.appended_at >= ends_at,
                f"{request.id} expired at {first.appended_at:.3f}, though it lived until {ends_at:.3f} at least",
            )
    return check, late


def _latest_by_key(evidence: Evidence) -> dict[str, float]:
    """Content key -> the latest expiry of all that may share."""
    latest = defaultdict[str, float](lambda: -math.inf)
    for lines in evidence.history.workers.values():
        for line in lines:
            if isinstance(line, TookLine) and line.key is not None and line.id in evidence.requests:
                expires_at = evidence.requests[line.id].expires_at
                latest[line.key] = max(latest[line.key], -math.inf if expires_at is None else expires_at)
    return latest


def _check_calls(
    evidence: Evidence, name: str, lines: Sequence[WorkerLine], latest: dict[str, float], check: Check
) -> None:
    trial = evidence.history.trial
    taken: dict[tuple[str, int, int], TookLine] = {}
    for line in lines:
        if isinstance(line, TookLine):
            taken[line.request_class, line.partition, line.offset] = line
        elif isinstance(line, ExecuteLine):
            own = line.at + line.deadline_at - line.broker_at
            took = taken.get((line.request_class, line.partition, line.offset))
            expires_at = own if took is None else _expiry(evidence, took, latest, own)
            late = line.at - expires_at
            check.look(
                late <= trial.limits.after_expiry_seconds,
                f"{name} called {line.tier} for {line.request_class} partition {line.partition} offset {line.offset} "
                f"{late:.3f} s after its expiry",
            )


def _expiry(evidence: Evidence, took: TookLine, latest: dict[str, float], own: float) -> float:
    request = evidence.requests.get(took.id)
    if request is None or request.expires_at is None:
        return own
    trial, expires_at = evidence.history.trial, request.expires_at
    if trial.shares and took.key is not None:
        expires_at = max(expires_at, latest[took.key])
    return max(expires_at, own) if trial.renews and took.key is not None else expires_at


def _must_live_until(evidence: Evidence, request: Request) -> float:
    """Before this no worker with a clock within the bound can take it for expired."""
    bound = evidence.history.trial.limits.clock_seconds
    if request.sent_at is None:
        return (request.deadline_at if request.expires_at is None else request.expires_at) - bound
    return request.sent_at + request.budget_seconds - bound
