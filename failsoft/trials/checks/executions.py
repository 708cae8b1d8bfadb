"""Duplicate-execution: how often a record was called for.

Execution is at least once, so a repeat is no fault. Two bounds hold all the same. A process that owns a record calls for it at
most three times, and once more for each further tier; when it takes the record anew, because its partition went and came back,
it begins anew. Requests with equal content keys are not held to it: a call with one's body may be another's. Of the results in
the log at most so many repeat another (``repeats_share``): more means that recovery costs more than faults do. What is read again
because an operator took the group's offset away is his doing, and counted apart.

*Repeated executions* are calls for a record that another owner had called for before.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

from failsoft.runtime.worker_history import ExecuteLine, TookLine, WorkerLine
from failsoft.trials.checks.check import Check
from failsoft.trials.checks.evidence import Evidence, Place
from failsoft.trials.checks.visible import repeats_in_log


def check_executions(evidence: Evidence) -> tuple[Check, int, int]:
    """Return what was found, how many calls there were, and how many of them repeated another owner's."""
    check, owners = Check("duplicate-execution"), defaultdict[Place, list[tuple[float, int]]](list)
    shared = _shared_keys(evidence)
    for name, lines in evidence.history.workers.items():
        for place, owned in _owned(evidence, name, lines, shared, check).items():
            owners[place] += owned
    found = repeats_in_log(evidence)
    if found.share > evidence.history.trial.limits.repeats_share:
        unasked = found.repeats - found.by_operator
        check.find(f"{found.share:.1%} of the results in the log repeat another: {unasked} of {found.records}")
    calls = sum(count for known in owners.values() for _, count in known)
    repeated = sum(count for known in owners.values() for _, count in sorted(known)[1:])
    return check, calls, repeated


def _shared_keys(evidence: Evidence) -> set[str]:
    """Content keys that more than one request has: a call with one's body may be another's."""
    ids: dict[str, str] = {}
    shared = set()
    for lines in evidence.history.workers.values():
        for line in lines:
            if isinstance(line, TookLine) and line.key is not None and ids.setdefault(line.key, line.id) != line.id:
                shared.add(line.key)
    return shared


def _owned(
    evidence: Evidence, name: str, lines: Sequence[WorkerLine], shared: set[str], check: Check
) -> dict[Place, list[tuple[float, int]]]:
    """Go through one process: place -> (when it was first called for, how often) of each time it was taken."""
    owned = defaultdict[Place, list[tuple[float, int]]](list)
    open_: dict[tuple[str, int, int], tuple[float, Counter[str]]] = {}
    may_share: set[tuple[str, int, int]] = set()
    trial = evidence.history.trial

    def end(key: tuple[str, int, int]) -> None:
        at, tiers = open_.pop(key)
        place = evidence.place(*key, at)
        most = trial.limits.executions + len(tiers) - 1
        calls = tiers.total()
        check.look(
            calls <= most or key in may_share, f"{name} called {calls} times for {place}: {dict(tiers)}, {most} at most"
        )
        if place is not None:
            owned[place].append((at, calls))

    for line in lines:
        match line:
            case TookLine():
                key = (line.request_class, line.partition, line.offset)
                if key in open_:
                    end(key)
                (may_share.add if line.key in shared else may_share.discard)(key)
            case ExecuteLine():
                key = (line.request_class, line.partition, line.offset)
                open_.setdefault(key, (line.at, Counter()))[1][line.tier] += 1
    for key in list(open_):
        end(key)
    return owned
