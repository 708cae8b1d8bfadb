"""What the machine remembers: of each record until its result is acknowledged, of each errand until its last call is over.

A *work* is one record in this worker's hands. It has a deadline and a floor of its own and ends exactly once. An *errand* is what
waits for a permit and is called, on behalf of one work or, where equal requests share an execution, of all aboard of a flight.

Two shapes were weighed. One object for both is smaller while every record has its own execution; with shared ones the record that
began an execution may end, by its deadline or because its partition is lost, while the execution goes on for the rest, so half of
its fields would belong to somebody who is gone. So: two objects, and a work knows its errand for as long as it waits for it.
"""

import itertools
from collections.abc import Mapping
from enum import Enum

from failsoft.policy.errors import IllegalTransition
from failsoft.policy.flight import Flight
from failsoft.policy.outcome import Reason
from failsoft.policy.request import ClassName, Request

LaneKey = tuple[ClassName, int]
"""Class and effective floor: all errands of a lane may use the same tiers."""


class Standing(Enum):
    """Where an errand stands. What may follow what is :data:`MOVES`; the documentation draws its diagram from that."""

    WAITING = "waiting"
    URGENT = "urgent"
    """A call has failed it: it is first in line, at the next tier or, after a pause, at the same one."""
    CALLING = "calling"
    OVER = "over"


MOVES: Mapping[tuple[Standing, Standing], str] = {
    (Standing.WAITING, Standing.CALLING): "a permit is free for it",
    (Standing.WAITING, Standing.OVER): "no model can be in time",
    (Standing.CALLING, Standing.URGENT): "the call failed: retry or next tier",
    (Standing.CALLING, Standing.OVER): "answered, or refused as a request",
    (Standing.URGENT, Standing.CALLING): "a permit is free for it",
    (Standing.URGENT, Standing.OVER): "no model that is left can be in time",
}
"""Every move there is, and when it happens. Nothing comes back from OVER."""


class Work:
    """One record in this worker's hands.

    Args:
        request: what it asks.

    Attributes:
        record: its place.
        assignment: of its partition, under which it arrived.
        errand: what it waits for; None before it waits, and again once its end is decided.
        is_ended: its result is being published; the record is dropped when that is acknowledged.
        is_follower: it joined the errand of an equal one, and its body is gone.
        is_redelivery: its partition's last owner had handed it out.
    """

    __slots__ = (
        "assignment", "errand", "is_ended", "is_follower", "is_redelivery", "record", "request", "size_bytes",
    )  # fmt: skip

    def __init__(self, request: Request) -> None:
        self.request = request
        self.record = request.record
        self.assignment = request.assignment
        self.size_bytes = request.size_bytes
        self.errand: Errand | None = None
        self.is_ended = self.is_follower = self.is_redelivery = False

    @property
    def has_begun(self) -> bool:
        """Whether something was done for it: it is called or was, or its end is decided."""
        return self.is_ended or (self.errand is not None and self.errand.standing is not Standing.WAITING)

    def end(self) -> None:
        """Its end is decided.

        Raises:
            IllegalTransition: it was before; a record ends once.
        """
        if self.is_ended:
            raise IllegalTransition(f"{self.record} has ended already; a record ends once")
        self.is_ended, self.errand = True, None


class Errand:
    """One execution to be, with all its calls.

    Args:
        work: in whose place it stands in the queue: the one with the earliest deadline of all aboard. The first gives the body.

    Attributes:
        body_of: whose body is sent with its calls.
        body_assignment: of that record's partition, under which it arrived.
        flight: who waits for it; None where it is not shared, and ``work`` is the only one.
        lane: its class and floor.
        deadline_at: what it is sorted by.
        is_refresh: nobody has to wait for it: it renews a stale answer that has served.
        tried: model tier -> region in which it was called last.
    """

    __slots__ = (
        "body_assignment",
        "body_of",
        "budget_seconds",
        "call_id",
        "call_seconds",
        "deadline_at",
        "delay_seconds",
        "executions",
        "fits_full",
        "flight",
        "granted_at",
        "is_redelivery",
        "is_refresh",
        "lane",
        "next_tier",
        "ready_at",
        "reason",
        "retries",
        "standing",
        "tried",
        "work",
    )

    def __init__(self, work: Work) -> None:
        self.stand_for(work, (work.record.request_class, work.request.floor))
        self.body_of, self.body_assignment = work.record, work.assignment
        self.flight: Flight | None = None
        self.is_refresh = False
        self.is_redelivery = work.is_redelivery
        self.standing = Standing.WAITING
        self.next_tier = 0
        self.executions = 0
        self.retries = 0
        self.tried: dict[int, str | None] = {}
        self.ready_at = 0.0
        self.delay_seconds: float | None = None
        self.call_id: int | None = None
        self.call_seconds = 0.0
        self.reason = work.request.first_reason
        self.fits_full = True

    def stand_for(self, work: Work, lane: LaneKey) -> None:
        """Take the place of this work in the queue."""
        self.work = work
        self.lane = lane
        self.deadline_at = work.request.waits_until
        self.budget_seconds = work.request.budget_seconds
        self.granted_at = work.request.granted_at

    def fork(self, work: Work) -> "Errand":
        """Begin another that goes on from where this one stands, for this work."""
        own = Errand(work)
        own.body_of, own.body_assignment = self.body_of, self.body_assignment
        own.standing, own.next_tier, own.ready_at = self.standing, self.next_tier, self.ready_at
        own.executions, own.retries, own.tried = self.executions, self.retries, dict(self.tried)
        own.call_seconds, own.reason, own.fits_full = self.call_seconds, self.reason, self.fits_full
        return own

    def failed(self, reason: Reason) -> None:
        """Its call ended without an answer."""
        self.reason = reason
        if self.flight is not None:
            self.flight.stopped()

    def untried_after(self, tier: int) -> int:
        """The next tier that has not failed it: a move of a route brings it back to one above those that have."""
        return next(number for number in itertools.count(tier + 1) if number not in self.tried)

    @property
    def last_deadline_at(self) -> float:
        """Until when an answer is of use to somebody aboard."""
        return self.deadline_at if self.flight is None else self.flight.last_deadline_at

    @property
    def is_crowded(self) -> bool:
        """Whether several wait for it."""
        return self.flight is not None and len(self.flight) > 1

    def may_be_retried(self) -> bool:
        """Whether the tier that failed may be tried again for all aboard: once, however many wait."""
        return self.flight is None or self.flight.try_retry()

    def move(self, to: Standing) -> None:
        """Stand elsewhere.

        Raises:
            IllegalTransition: the table does not know the move.
        """
        if (self.standing, to) not in MOVES:
            raise IllegalTransition(f"an errand of {self.lane[0]} cannot go from {self.standing.value} to {to.value}")
        self.standing = to

    @property
    def passed_over_reason(self) -> Reason:
        """Why the full tier did not take it: what was left on arrival did not fit it, or it waited in vain."""
        return Reason.QUEUE_LONG if self.fits_full else Reason.DEADLINE_SHORT

    def waited_seconds(self, now: float) -> float:
        """Since the sender granted the budget: the wait in the log counts."""
        return now - self.granted_at
