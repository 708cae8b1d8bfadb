"""How an endpoint that has recovered gets its load back: from 10 % to 100 % of the permits, evenly over 10 s.

    share(t) = from + (1 - from) t / seconds
    a call may start  if  in flight < ceil(share x permits)  and  the account is not in debt
    account           = integral of (share x permits - in flight) dt

An account of permit-seconds, neither dice nor a count of those who ask: a request that waits asks at every event, so a part
of the askings would soon let it in. A worker with a single permit returns slowly too, by pauses between its calls; with
the first condition alone, fifty such workers would all be back at once.
"""

import math


class Ramp:
    """The account of one endpoint at one worker. Before ``begin`` it holds nothing back.

    Args:
        share_from: part of the permits at the beginning, 0-1.
        ramp_seconds: until all of them may be used.
    """

    __slots__ = ("_balance", "_begun_at", "_from", "_over_at", "_seconds", "_seen_at")

    def __init__(self, share_from: float, ramp_seconds: float) -> None:
        self._from, self._seconds = share_from, ramp_seconds
        self._begun_at = self._seen_at = self._over_at = -math.inf
        self._balance = 0.0

    def begin(self, *, now: float) -> None:
        """Start again from the least share."""
        self._begun_at = self._seen_at = now
        self._over_at = now + self._seconds
        self._balance = 0.0

    def is_over(self, *, now: float) -> bool:
        """Whether all permits may be used."""
        return now >= self._over_at

    def account(self, permits: int, in_flight: int, *, now: float) -> None:
        """Note that up to now there were so many permits and calls in flight. To be called before either changes."""
        if now < self._over_at:
            earned = permits * self._share((self._seen_at + now) / 2)
            self._balance += (earned - in_flight) * (now - self._seen_at)
            self._seen_at = now

    def allows_from(self, permits: int, in_flight: int, *, now: float) -> float:
        """When the next call may start, ``now`` if it may; infinity: not before one in flight ends."""
        if now >= self._over_at:
            return now
        allowed = self._share(now) * permits
        if in_flight >= math.ceil(allowed):
            return math.inf
        return now - min(0.0, self._balance) / allowed

    def _share(self, instant: float) -> float:
        return self._from + (1 - self._from) * (instant - self._begun_at) / self._seconds
