"""The stages that a request has passed, in one header: how each served it, and how long that took.

    ce_trail = retrieve,vector-search,1,none,12,85;rank,fast,2,endpoint_timeout,3,40
               stage,tier,level,reason,queue ms,call ms

Written by the worker that hands a request to its next stage, and by nobody else; a result carries the stages before the one in
which it ended. Names have no commas or semicolons, so nothing has to be quoted. The last eight stages are kept: a trail is for
people who look for the slow or the weak stage, and a header must not grow without end.
"""

import re
from dataclasses import dataclass
from typing import Final

from failsoft.policy.errors import MalformedRecord
from failsoft.policy.levels import FULL_LEVEL
from failsoft.policy.outcome import Reason
from failsoft.wire.attributes import milliseconds

STEPS_MAX: Final = 8
PATTERN: Final = r"[a-z0-9-]{1,63},[a-z0-9-]{1,63},[1-3],[a-z_]{1,40},\d{1,10},\d{1,10}"
_STEP: Final = re.compile(PATTERN, re.ASCII)


@dataclass(frozen=True, slots=True)
class Step:
    """How one stage served a request.

    Attributes:
        stage: which.
        tier: which of its tiers answered.
        level: of the answer, 1 to 3.
        reason: why it was not level 1.
        queue_seconds: how long the request waited there, its way to it included.
        call_seconds: how long its calls took.
    """

    stage: str
    tier: str
    level: int
    reason: Reason
    queue_seconds: float
    call_seconds: float


Trail = tuple[Step, ...]
"""All of them, in the order of the flow."""


def encode_trail(trail: Trail) -> str | None:
    """Write the last steps; None where there are none."""
    return ";".join(map(_encode_step, trail[-STEPS_MAX:])) or None


def decode_trail(text: str | None) -> Trail:
    """Read them.

    Raises:
        MalformedRecord: it is not what a worker writes.
    """
    steps = () if text is None else tuple(map(_decode_step, text.split(";")))
    if len(steps) > STEPS_MAX:
        raise MalformedRecord("ce_trail", f"{len(steps)} steps, the limit is {STEPS_MAX}")
    return steps


def weakest(trail: Trail) -> Step | None:
    """The step that served at the lowest level, if that was not the full one; the first of several."""
    lowest = max(trail, key=lambda step: step.level, default=None)
    return lowest if lowest is not None and lowest.level > FULL_LEVEL else None


def _encode_step(step: Step) -> str:
    queue, call = (milliseconds(max(0.0, seconds)) for seconds in (step.queue_seconds, step.call_seconds))
    return f"{step.stage},{step.tier},{step.level},{step.reason},{queue},{call}"


def _decode_step(text: str) -> Step:
    if not _STEP.fullmatch(text):
        raise MalformedRecord("ce_trail", "not steps of stage,tier,level,reason,queue,call")
    stage, tier, level, reason, queue, call = text.split(",")
    if reason not in set(Reason):
        raise MalformedRecord("ce_trail", "names a reason that there is not")
    return Step(stage, tier, int(level), Reason(reason), int(queue) / 1000, int(call) / 1000)
