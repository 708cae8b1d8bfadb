"""How a request ends: one outcome, one reason, both closed (they are metric labels and words of the wire contract).

The *outcome* says how it ended, the *reason* why that was not level 1, or not ok. A reason is never free text: detail goes
into the error message of the result, which is for people.
"""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a request ended. Every accepted request ends in exactly one of them."""

    OK = "ok"
    EXPIRED = "expired"
    SHED = "shed"
    UNAVAILABLE = "unavailable"
    INVALID = "invalid"
    FAILED = "failed"


class Reason(StrEnum):
    """Why it was not level 1, or not ok."""

    NONE = "none"
    """Level 1, ok."""
    DEADLINE_PASSED = "deadline_passed"
    """The deadline had passed before anything could be run."""
    DEADLINE_SHORT = "deadline_short"
    """What was left on arrival did not fit a better tier."""
    QUEUE_LONG = "queue_long"
    """It waited for a better tier as long as its class is patient, or as long as was safe."""
    ENDPOINT_TIMEOUT = "endpoint_timeout"
    """A better tier was called and its window ended."""
    ENDPOINT_ERROR = "endpoint_error"
    """A better tier was called and failed: connection, 5xx, an answer that makes no sense."""
    BREAKER_OPEN = "breaker_open"
    """The breaker of a better tier was open: its calls had been failing."""
    ENDPOINT_BACKPRESSURE = "endpoint_backpressure"
    """A better tier said that it is busy: 429, or 503 with a sign of overload."""
    MALFORMED = "malformed"
    """Not what the wire contract says, or over its limits."""
    POISON = "poison"
    """Three workers in a row have died with it, the last ones while it ran alone."""
    REQUEST_REFUSED = "request_refused"
    """The model refused this very request (400, 413, 422)."""
    ANSWER_UNUSABLE = "answer_unusable"
    """A model answered with something that cannot be put into a result: no JSON, or over the size limit."""
    CONTEXT_INCOMPLETE = "context_incomplete"
    """Parts of the context are missing, empty, stale or truncated: a better tier could not run, or not at its own level."""
    FLOOR = "floor"
    """Only tiers below the lowest acceptable level were left."""
    OVERLOADED = "overloaded"
    """More waited before it than can be served in time, and nothing that it accepts answers at once."""


STATUS_CODES: dict[Outcome, int] = {
    Outcome.OK: 200,
    Outcome.EXPIRED: 504,
    Outcome.SHED: 429,
    Outcome.UNAVAILABLE: 503,
    Outcome.INVALID: 400,
    Outcome.FAILED: 502,
}
"""The HTTP status that a batch output line carries; an invalid request may say 404 or 422 instead."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The terminal end of one request, all that a result says beside the answer itself.

    Times are seconds. ``slack_seconds`` is what was left of the deadline when the end was decided; negative means late.
    ``age_seconds`` is set where an answer of the past served, ``retry_after_seconds`` where the request was shed.
    """

    outcome: Outcome
    reason: Reason
    tier: str | None = None
    level: int | None = None
    wanted_level: int = 1
    executions: int = 0
    queue_seconds: float = 0.0
    call_seconds: float = 0.0
    slack_seconds: float = 0.0
    dead_letter: bool = False
    is_stale: bool = False
    age_seconds: float | None = None
    retry_after_seconds: float | None = None
    stage: str | None = None
    """The next stage, where its answer at once stands for it: it is not asked while it fails. ``tier`` is one of its own then."""
