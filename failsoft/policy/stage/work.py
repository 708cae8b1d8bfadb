"""What the machine remembers of one record from arrival to acknowledged result."""

from collections.abc import Mapping
from enum import Enum

from failsoft.policy.errors import IllegalTransition
from failsoft.policy.outcome import Reason
from failsoft.policy.request import ClassName, RecordId, Request

LaneKey = tuple[ClassName, int]
"""Class and effective floor: all requests of a lane may use the same tiers."""


class Standing(Enum):
    """Where a record stands. What may follow what is :data:`MOVES`; the documentation draws its diagram from that."""

    WAITING = "waiting"
    URGENT = "urgent"
    """A call has failed it: it is first in line, at the next tier or, after a pause, at the same one."""
    CALLING = "calling"
    PUBLISHING = "publishing"


MOVES: Mapping[tuple[Standing, Standing], str] = {
    (Standing.WAITING, Standing.CALLING): "a permit is free for it",
    (Standing.WAITING, Standing.PUBLISHING): "no model can be in time, or it is no request",
    (Standing.CALLING, Standing.URGENT): "the call failed: retry or next tier",
    (Standing.CALLING, Standing.PUBLISHING): "answered, or refused as a request",
    (Standing.URGENT, Standing.CALLING): "a permit is free for it",
    (Standing.URGENT, Standing.PUBLISHING): "no model that is left can be in time",
}
"""Every move there is, and when it happens. Nothing comes back from PUBLISHING, so a record ends once."""


class Work:
    """One record in this worker's hands.

    Args:
        request: the request; None of a record that could not be read.
        deadline_at: what it is sorted by: the request's deadline, or earlier where it waits for a higher floor.
    """

    __slots__ = (
        "assignment",
        "call_id",
        "call_seconds",
        "deadline_at",
        "delay_seconds",
        "executions",
        "fits_full",
        "lane",
        "next_tier",
        "ready_at",
        "reason",
        "record",
        "request",
        "retries",
        "size_bytes",
        "standing",
        "tried",
    )

    def __init__(
        self,
        record: RecordId,
        assignment: int,
        size_bytes: int,
        *,
        request: Request | None,
        deadline_at: float,
        lane: LaneKey,
    ) -> None:
        self.record = record
        self.assignment = assignment
        self.size_bytes = size_bytes
        self.request = request
        self.deadline_at = deadline_at
        self.lane = lane
        self.standing = Standing.WAITING
        self.next_tier = 0
        self.executions = 0
        self.retries = 0
        self.tried: set[int] = set()
        self.ready_at = 0.0
        self.delay_seconds: float | None = None
        self.call_id: int | None = None
        self.call_seconds = 0.0
        self.reason = Reason.NONE
        self.fits_full = True

    def move(self, to: Standing) -> None:
        """Stand elsewhere.

        Raises:
            IllegalTransition: the table does not know the move.
        """
        if (self.standing, to) not in MOVES:
            raise IllegalTransition(f"{self.record} cannot go from {self.standing.value} to {to.value}")
        self.standing = to

    @property
    def passed_over_reason(self) -> Reason:
        """Why the full tier did not take it: what was left on arrival did not fit it, or it waited in vain."""
        return Reason.QUEUE_LONG if self.fits_full else Reason.DEADLINE_SHORT

    @property
    def budget_seconds(self) -> float:
        """What was granted; 0 of a record that could not be read."""
        return 0.0 if self.request is None else self.request.budget_seconds

    def waited_seconds(self, now: float) -> float:
        """Since the sender granted the budget: the wait in the log counts."""
        return 0.0 if self.request is None else now - self.request.granted_at
