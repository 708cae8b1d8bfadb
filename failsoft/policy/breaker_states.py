"""The states of a circuit breaker and the whole of what may happen between them, as a table.

Only this table moves a breaker, and the documentation draws its diagram from it (h11's way). ``OPEN`` to ``OPEN`` is a later
opening by the fleet; ``CLOSED`` to ``CLOSED`` an opening of the fleet that this worker did not see, whose end makes its counts
void.
"""

from collections.abc import Mapping
from enum import StrEnum

from failsoft.policy.errors import IllegalTransition


class State(StrEnum):
    """What a breaker does with those who ask."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"
    """An operator's word: no calls."""
    METRICS_ONLY = "metrics_only"
    """Dark: all calls pass; it counts how often it would have opened."""


class Trigger(StrEnum):
    """What changes the state."""

    TRIPPED = "tripped"
    FLEET_OPENED = "fleet opened"
    FLEET_CLOSED = "fleet closed"
    WAITED = "waited"
    PROBES_GOOD = "probes good"
    PROBE_BAD = "probe bad"
    FORCED = "forced open"
    DARKENED = "metrics only"
    RELEASED = "released"


_OPERATED = {
    (state, trigger): target
    for trigger, target in ((Trigger.FORCED, State.FORCED_OPEN), (Trigger.DARKENED, State.METRICS_ONLY))
    for state in State
    if state is not target
}

TRANSITIONS: Mapping[tuple[State, Trigger], State] = {
    (State.CLOSED, Trigger.TRIPPED): State.OPEN,
    (State.CLOSED, Trigger.FLEET_OPENED): State.OPEN,
    (State.CLOSED, Trigger.FLEET_CLOSED): State.CLOSED,
    (State.OPEN, Trigger.WAITED): State.HALF_OPEN,
    (State.OPEN, Trigger.FLEET_OPENED): State.OPEN,
    (State.OPEN, Trigger.FLEET_CLOSED): State.CLOSED,
    (State.HALF_OPEN, Trigger.PROBES_GOOD): State.CLOSED,
    (State.HALF_OPEN, Trigger.PROBE_BAD): State.OPEN,
    (State.HALF_OPEN, Trigger.FLEET_OPENED): State.OPEN,
    (State.HALF_OPEN, Trigger.FLEET_CLOSED): State.CLOSED,
    (State.FORCED_OPEN, Trigger.RELEASED): State.CLOSED,
    (State.METRICS_ONLY, Trigger.RELEASED): State.CLOSED,
    **_OPERATED,
}


def next_state(state: State, trigger: Trigger) -> State:
    """Where this leads.

    Raises:
        IllegalTransition: the table does not know it.
    """
    try:
        return TRANSITIONS[state, trigger]
    except KeyError:
        raise IllegalTransition(f"breaker: '{trigger}' cannot happen while {state}") from None
