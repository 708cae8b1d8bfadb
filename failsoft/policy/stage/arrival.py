"""What a record asks, by this worker's clock: its deadline, its floor, its reach, and how long it waits for a better tier.

Its deadline is converted once, here (:mod:`failsoft.policy.deadline`). A floor is the strictest of class and request: a request
can ask for more than its class and not for less. One that asks for more waits for it for 30 s at most, because its class has
tiers that would have served it by then, and what it holds up waits behind it.

Its *reach* is what its context leaves of the stage: the model tiers that need no part of it that cannot be used, and, where a
required part is not as it should be, no answer above level 2 (:mod:`failsoft.policy.context`). One that accepts level 1 only
waits no longer than its required parts are fresh.
"""

import math
from collections.abc import Sequence

from failsoft.policy.context import Completeness
from failsoft.policy.deadline import GRACE_SECONDS, grant
from failsoft.policy.events import Arrived
from failsoft.policy.levels import FULL_LEVEL
from failsoft.policy.request import Reach, Request
from failsoft.policy.settings import ClassSettings, TierSettings

HIGHER_FLOOR_WAIT_SECONDS = 30.0


def request_of(
    event: Arrived, known: ClassSettings, models: Sequence[TierSettings], assignment: int, *, now: float
) -> Request:
    """Read a record of this class, for these model tiers; ``now`` is monotonic seconds."""
    granted = grant(
        event.stamp,
        appended_at=event.appended_at,
        received_at=event.received_at,
        clock_offset=event.clock_offset,
        default_seconds=known.deadline_seconds,
        maximum_seconds=known.deadline_max_seconds,
    )
    deadline_at = now + granted.remaining_seconds
    floor = known.floor if event.floor is None else min(known.floor, event.floor)
    waits_until = min(deadline_at, now + HIGHER_FLOOR_WAIT_SECONDS) if floor < known.floor else deadline_at
    complete_until = math.inf if event.context is None else now + event.context.complete_until - event.received_at
    if floor == FULL_LEVEL:
        waits_until = min(waits_until, complete_until)
    return Request(
        record=event.record,
        assignment=assignment,
        deadline_at=deadline_at,
        waits_until=waits_until,
        budget_seconds=granted.budget_seconds,
        floor=floor,
        size_bytes=event.size_bytes,
        key=event.key,
        max_stale_seconds=event.max_stale_seconds,
        tenant=event.tenant,
        reach=None if event.context is None else reach_of(event.context, models),
        complete_until=complete_until,
    )


def reach_of(context: Completeness, models: Sequence[TierSettings]) -> Reach | None:
    """What a context leaves of these model tiers; None: all of them, at their own levels."""
    tiers = tuple(number for number, tier in enumerate(models) if context.allows(tier.needs))
    if len(tiers) == len(models) and context.is_complete:
        return None
    return Reach(tiers, context.level(FULL_LEVEL))


def is_late(request: Request, *, now: float) -> bool:
    """Whether its deadline has passed before anything could be run."""
    return request.deadline_at < now - GRACE_SECONDS
