"""When a request must be answered: what is left of its deadline when it arrives.

**Remaining time at arrival.** No two hosts agree on the time, so nothing here compares clocks of two hosts except through
the broker's append time (topics use LogAppendTime), which everybody sees::

    budget    = what the sender granted, by the sender's clock alone; at most the class's maximum
    transit   = clamp(appended_at - sent_at, 0, budget)             sender's clock against the broker's
    queue     = max(0, received_at + clock_offset - appended_at)    this host's clock against the broker's
    remaining = budget - transit - queue

If ``appended_at`` and ``sent_at`` differ by more than 60 s, one of the two clocks is wrong and the transit cannot be known:
it is taken as 0 and the stamp counts as suspect (userver's threshold). Below that a sender's clock that is behind looks like
a slow transit, and can cost a request up to that minute; never more. Between stages nothing is suspect: a worker stamps by the
broker's clock, which it measures, and what it could not send for minutes, because no broker was there, has lost those minutes.

The sender's words, best first: ``budgetms`` with ``sentat`` (every sender of ours), ``ce_expirytime`` with ``ce_time``,
``ce_expirytime`` alone (read on the broker's clock), ``timeout-ms`` counted from the append time, the class's default.
Whatever a sender says is only ever shortened.

What one execution may take of it is in :mod:`failsoft.policy.tiers`. Source: Finagle's ``Deadline`` (timestamp and deadline
travel together), gRPC's A6 (the deadline spans all attempts), research/algorithms.md §1.1.
"""

from typing import NamedTuple

GRACE_SECONDS = 0.05
"""A request counts as expired on arrival only when it is late by more than this: below, the clocks decide, not the wait."""

SUSPECT_SECONDS = 60.0
"""A sender's and the broker's clock that differ by more do not agree on the time at all."""


class Stamp(NamedTuple):
    """The sender's words on the deadline, as found on the record. Wall clock instants in epoch seconds, None if not said.

    Attributes:
        budget_seconds: what was left when the record was sent (``budgetms``).
        sent_at: when that was, on the sender's clock (``sentat``; else ``ce_time``).
        expires_at: absolute end, on the sender's clock (``ce_expirytime``).
        timeout_seconds: relative end, from the append time (``timeout-ms``).
        is_by_broker: ``sent_at`` is on the broker's clock, as near as a worker of an earlier stage knows that.
    """

    budget_seconds: float | None = None
    sent_at: float | None = None
    expires_at: float | None = None
    timeout_seconds: float | None = None
    is_by_broker: bool = False


class Granted(NamedTuple):
    """The deadline of one request, read once, at arrival.

    Attributes:
        budget_seconds: what the sender granted, capped by the class.
        remaining_seconds: what is left of it now; negative when it has passed.
        is_suspect: the sender's clock disagrees with the broker's by more than a minute.
    """

    budget_seconds: float
    remaining_seconds: float
    is_suspect: bool


def grant(
    stamp: Stamp,
    *,
    appended_at: float,
    received_at: float,
    clock_offset: float,
    default_seconds: float,
    maximum_seconds: float,
) -> Granted:
    """Read the deadline of a record.

    Args:
        stamp: the sender's words.
        appended_at: the broker's time of append, epoch seconds.
        received_at: this host's wall clock at arrival, epoch seconds.
        clock_offset: the broker's clock minus this host's, seconds; 0 while unknown.
        default_seconds: the class's deadline, for a sender that says nothing.
        maximum_seconds: the class's longest deadline.
    """
    said, sent_at = _said(stamp, appended_at, default_seconds)
    budget = min(said, maximum_seconds)
    is_suspect = not stamp.is_by_broker and abs(appended_at - sent_at) > SUSPECT_SECONDS
    transit = 0.0 if is_suspect else min(max(appended_at - sent_at, 0.0), max(budget, 0.0))
    queue = max(0.0, received_at + clock_offset - appended_at)
    return Granted(budget, budget - transit - queue, is_suspect)


def _said(stamp: Stamp, appended_at: float, default_seconds: float) -> tuple[float, float]:
    """What the sender granted, seconds, and when it was sent, on the sender's clock (the append time if unknown)."""
    if stamp.budget_seconds is not None:
        return stamp.budget_seconds, appended_at if stamp.sent_at is None else stamp.sent_at
    if stamp.expires_at is not None:
        sent_at = appended_at if stamp.sent_at is None else stamp.sent_at
        return stamp.expires_at - sent_at, sent_at
    if stamp.timeout_seconds is not None:
        return stamp.timeout_seconds, appended_at
    return default_seconds, appended_at
