"""When a trial has come to rest: everything has its result, or there is no use in waiting for the others.

A pause ends when no result has come for 10 s, at most after 120 s: a crash costs the session timeout and about a second before
somebody else takes over.
"""

import time

from failsoft.trials.arrivals import Arrivals
from failsoft.trials.ledger import Ledger

QUIET_SECONDS = 10.0
"""Nothing for 10 s means nothing more."""
PATIENCE_SECONDS = 120.0


def waiting(ledger: Ledger, arrivals: Arrivals) -> int:
    """How many accepted requests have no result yet."""
    return ledger.accepted - arrivals.count


def is_at_rest(ledger: Ledger, arrivals: Arrivals, *, since: float) -> bool:
    """Whether everything has its result; or nothing has come for a while; or it has been long enough.

    Args:
        ledger: knows what was accepted.
        arrivals: know what came.
        since: when sending ended, monotonic seconds.
    """
    now = time.monotonic()
    is_quiet = now - max(since, arrivals.moved_at) > QUIET_SECONDS
    return waiting(ledger, arrivals) <= 0 or is_quiet or now - since > PATIENCE_SECONDS
