"""Whether another execution may happen: retries live on a part of the requests, so recovery never makes an outage worse.

Every first execution deposits ``ratio`` tokens, every further one (a retry, a redelivery after a crash) withdraws a whole one.
Tokens expire after 10 s, so the quiet past pays for no storm; that is also the cap of the bucket. A reserve of one token per
10 s lets a rare request be retried as well. Hence for R requests/s, in the long run and in any burst but for the reserve::

    executions <= (1 + ratio) R + reserve rate                      of one layer
    executions <= (1 + ratio)^L R + rate x sum (1 + ratio)^i        through L layers, i < L

against ``(1 + n)^L R`` for n retries each without a budget: 64-fold for three layers of three retries.

Why these figures. Ratio .1: through three layers 1.33-fold at worst, and still every request of a backend that fails 1 in 20
gets its retry (Finagle and Envoy allow .2 at *one* layer; gRPC's throttle stops at 10 % failures). While the latency widens
a backend is losing capacity, and a retry is the last that it needs: .02. At most 3 executions of a request, whatever the
budget; a redelivered one has 2 left. The first call of a lower tier is no retry: the tiers are finite, and each is tried once.
A call of a tier that has failed the request in another region, which its route has left, is a retry.

Counted in thousandths, as Finagle does, so that ten deposits of .1 are one token. Source: Finagle's ``RetryBudget``;
research/algorithms.md §6.
"""

from collections import deque
from dataclasses import dataclass

from failsoft.policy.errors import ConfigurationError

EXECUTIONS_MAX = 3
EXECUTIONS_MAX_REDELIVERED = 2

_TOKEN = 1000
_SLOTS = 10


@dataclass(frozen=True, slots=True)
class RetryBudgetSettings:
    """The knobs of one budget.

    Attributes:
        ratio: tokens that a request deposits.
        widening_ratio: the same while the endpoint's latency widens.
        ttl_seconds: after which a token is worth nothing.
        reserve_seconds: in which the reserve earns its one token.
        enforce: False counts what would be refused, and refuses nothing.
    """

    ratio: float = 0.1
    widening_ratio: float = 0.02
    ttl_seconds: float = 10.0
    reserve_seconds: float = 10.0
    enforce: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if not 0 <= self.widening_ratio <= self.ratio <= 1:
            raise ConfigurationError("retry budget: 0 <= widening_ratio <= ratio <= 1 does not hold")
        if self.ttl_seconds <= 0 or self.reserve_seconds <= 0:
            raise ConfigurationError("retry budget: ttl and reserve must be above zero seconds")


DEFAULTS = RetryBudgetSettings()


def allows_execution(executions: int, *, is_redelivery: bool = False) -> bool:
    """Whether a request that was executed so often by this worker may be once more, as far as its own count goes."""
    return executions < (EXECUTIONS_MAX_REDELIVERED if is_redelivery else EXECUTIONS_MAX)


class RetryBudget:
    """The tokens of one endpoint and class at one worker. The reserve is full at first.

    Args:
        settings: ratios and times.
        now: monotonic seconds.
    """

    __slots__ = (
        "_deposits", "_reserve", "_reserve_at", "_settings", "_tokens", "_widening_tokens", "refused", "withdrawn",
    )  # fmt: skip

    def __init__(self, settings: RetryBudgetSettings = DEFAULTS, *, now: float) -> None:
        self._settings = settings
        self._tokens = round(_TOKEN * settings.ratio)
        self._widening_tokens = round(_TOKEN * settings.widening_ratio)
        self._deposits: deque[list[int]] = deque()
        self._reserve, self._reserve_at = float(_TOKEN), now
        self.withdrawn = 0
        """Executions that were allowed."""
        self.refused = 0
        """Executions that were not, or would not have been."""

    def deposit(self, *, is_widening: bool = False, now: float) -> None:
        """A request is executed for the first time."""
        slot = self._expire(now)
        tokens = self._widening_tokens if is_widening else self._tokens
        if self._deposits and self._deposits[-1][0] == slot:
            self._deposits[-1][1] += tokens
        else:
            self._deposits.append([slot, tokens])

    def try_withdraw(self, *, now: float) -> bool:
        """Pay for one more execution; False: it may not happen."""
        if self.balance(now=now) < 1:
            self.refused += 1
            return not self._settings.enforce
        self._pay(_TOKEN)
        self.withdrawn += 1
        return True

    def balance(self, *, now: float) -> float:
        """How many more executions are paid for."""
        self._expire(now)
        return (self._reserve + sum(tokens for _, tokens in self._deposits)) / _TOKEN

    def _pay(self, price: int) -> None:
        """The oldest deposits first, for they expire first; the reserve last, for it does not."""
        while price and self._deposits:
            oldest = self._deposits[0]
            paid = min(price, oldest[1])
            oldest[1] -= paid
            price -= paid
            if not oldest[1]:
                self._deposits.popleft()
        self._reserve -= price

    def _expire(self, now: float) -> int:
        """Drop what is too old, earn what is due; returns the slot of now."""
        slot = int(now * _SLOTS // self._settings.ttl_seconds)
        while self._deposits and self._deposits[0][0] <= slot - _SLOTS:
            self._deposits.popleft()
        earned = _TOKEN * (now - self._reserve_at) / self._settings.reserve_seconds
        self._reserve = min(float(_TOKEN), self._reserve + earned)
        self._reserve_at = now
        return slot
