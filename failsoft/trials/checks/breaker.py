"""Breaker: no call passes an open breaker, and a half-open one lets its few probes through.

Judged by each worker's own breakers, in the order of its lines. What a fleet says of breakers together (that no single
reporter opens one for all, that all come to agree) is not in the history and is not judged.
"""

from collections import defaultdict
from collections.abc import Sequence

from failsoft.policy.breaker_states import State
from failsoft.runtime.worker_history import BreakerLine, EndedLine, ExecuteLine, WorkerLine
from failsoft.trials.checks.check import Check
from failsoft.trials.checks.evidence import Evidence

_STOPPED = {State.OPEN, State.FORCED_OPEN}


def check_breakers(evidence: Evidence) -> Check:
    """Hold each call against the breaker before it."""
    check = Check("breaker")
    openings = 0
    for name, lines in evidence.history.workers.items():
        openings += _check_worker(name, lines, evidence.history.trial.probes, check)
    check.note = f"{openings} openings; what the fleet agrees on is not recorded" if check.checked else ""
    return check


def _check_worker(name: str, lines: Sequence[WorkerLine], probes: int, check: Check) -> int:
    states = defaultdict[str, State](lambda: State.CLOSED)
    probing: dict[int, str] = {}
    openings = 0
    for line in lines:
        match line:
            case BreakerLine():
                states[line.tier] = line.state
                openings += line.state is State.OPEN
                probing = {call: tier for call, tier in probing.items() if tier != line.tier}
            case EndedLine():
                probing.pop(line.call, None)
            case ExecuteLine():
                state = states[line.tier]
                if state is State.HALF_OPEN:
                    probing[line.call] = line.tier
                are_few = sum(tier == line.tier for tier in probing.values()) <= probes
                check.look(
                    state not in _STOPPED and are_few,
                    f"{name} made call {line.call} to {line.tier} at {line.at:.3f}, whose breaker was {state}",
                )
    return openings
