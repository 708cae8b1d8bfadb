"""What is known of one model tier and of the endpoint behind it: how fast it is, how much it bears, whether it may be called.

Here the patterns of one endpoint meet. A call may start when there is a permit, the endpoint has not stalled, and its breaker
allows it. However a call ends, all of them hear of it, each in its own words.
"""

import math
from typing import NamedTuple

from failsoft.policy import tiers
from failsoft.policy.breaker import Breaker
from failsoft.policy.breaker_board import BreakerBoard
from failsoft.policy.breaker_control import NOTHING_SAID, Control, Force
from failsoft.policy.concurrency import Limit, LimitConfig, Permits
from failsoft.policy.events import Verdict
from failsoft.policy.jitter import Jitter
from failsoft.policy.latency import GUESS_SAMPLES, LatencyWindow
from failsoft.policy.permission import CallResult, Permission
from failsoft.policy.profile import Profile
from failsoft.policy.register import Register
from failsoft.policy.request import ClassName
from failsoft.policy.retry_budget import RetryBudget
from failsoft.policy.settings import DEFAULT_PRIOR_SECONDS, StageSettings, TierSettings
from failsoft.policy.stage.condition import Condition
from failsoft.policy.stall import Stall
from failsoft.policy.widening import Spread, Widening

NO_TARGET_SECONDS = 3_600.0
"""No call is too long for a limit whose author named no target: it moves only on 429 and back."""
SYNC_SECONDS = 0.1
"""How often the breaker looks at the fleet while there is trouble: well below the second in which all must know."""
CALM_SYNC_SECONDS = 1.0
"""And while there is none. Whatever brings some has it look at once, so that only a heartbeat may be late by this."""
WANTED_SECONDS = 30.0
"""An endpoint that was called within the window of its breaker's counts is in use, and its register is kept fresh."""

_BLAMED = {
    Verdict.BACKPRESSURE: CallResult.IGNORED,
    Verdict.TRANSIENT: CallResult.FAILED,
    Verdict.UNREACHABLE: CallResult.UNREACHABLE,
    Verdict.TIMEOUT: CallResult.CUT,
    Verdict.REFUSED: CallResult.IGNORED,
    Verdict.BROKEN: CallResult.FAILED,
}


class Ticket(NamedTuple):
    """One call at this endpoint, from its start to its end."""

    call_id: int
    started_at: float
    permission: Permission
    endpoint: "Endpoint"


class Endpoint:
    """One model tier of one worker, in one region.

    Args:
        settings: of the tier.
        stage: its stage.
        process: this worker's name, unlike any other's.
        jitter: for the breaker's waits.
        region: where it stands; None: its author names no regions.
    """

    def __init__(
        self,
        settings: TierSettings,
        stage: StageSettings,
        *,
        process: str,
        jitter: Jitter,
        region: str | None = None,
    ) -> None:
        self.settings = settings
        self.region = region
        self.tier_name = f"{stage.name}/{settings.name}"
        self.place = settings.name if region is None else f"{settings.name}/{region}"
        self.name = f"{stage.name}/{self.place}"
        said = settings.expected_seconds
        self.latency = (
            LatencyWindow(DEFAULT_PRIOR_SECONDS, prior_samples=GUESS_SAMPLES) if said is None else LatencyWindow(said)
        )
        self.permits = Permits(settings.limit or 0)
        self.stall = Stall()
        self.widening = Widening(stage.widening)
        self.breaker = Breaker(stage.breakers, random=jitter)
        self.board = BreakerBoard(self.name, process)
        self._control, self._forced = NOTHING_SAID, Force.AUTO
        self._limit = Limit(
            LimitConfig(
                settings.target_seconds or NO_TARGET_SECONDS, settings.limit or 1, enforce=settings.limit_enforce
            ),
            self.permits,
        )
        self._budgets: dict[ClassName, RetryBudget] = {}
        self._retries = stage.retries
        self._is_known = said is not None
        self._tried_at: float | None = None
        self.sync_at = 0.0
        """When it will next look at the fleet, unless something happens before."""
        self._rung: tiers.Rung | None = None
        self._rung_until = -math.inf

    # May it be called?

    def is_open(self, now: float) -> bool:
        """Whether a call may start now."""
        return self.free_from(now) <= now

    def free_from(self, now: float) -> float:
        """From when a call may start, as far as time alone decides that; not after ``now`` if one may."""
        permits = self.permits
        if permits.in_flight >= permits.count:
            return math.inf
        return max(self.stall.allows_from(permits.in_flight), self.breaker.allows_from(permits.count, now=now))

    def opens_at(self, now: float) -> float:
        """When its breaker will let a call start, as far as can be told; not after ``now`` if it does."""
        return self.breaker.allows_from(self.permits.count, now=now)

    @property
    def is_stopped(self) -> bool:
        """Whether its breaker holds calls back."""
        return self.breaker.is_holding_back

    def is_worth_a_probe(self, now: float) -> bool:
        """Whether it has stood idle for so long that its latency is not known any more, or never was.

        What the author or the fleet says of the latency is trusted as long as a measurement would be.
        """
        if self.permits.in_flight or not self.is_open(now):
            return False
        return now >= self.probe_at(now)

    def probe_at(self, now: float) -> float:
        """From when it is worth a probe, if it is open and nothing happens before."""
        if self.permits.in_flight:
            return math.inf
        if self._tried_at is None and self._is_known:
            self._tried_at = now
        return now if self._tried_at is None else self._tried_at + tiers.PROBE_IDLE_SECONDS

    def rung(self, now: float) -> tiers.Rung:
        """What the tier rule reads of it; the same object until one of its figures moves.

        That is when a call ends, the fleet says something, or permits come or go; of itself only when a slot of the latency
        window ends.
        """
        rung, count = self._rung, self.permits.count
        if rung is not None and now < self._rung_until and rung.permits == count:
            return rung
        speed = self.latency.speed(now=now)
        is_stalled = self.stall.is_stalled(count) or self.breaker.is_holding_back
        if rung is None or rung.speed is not speed or rung.permits != count or rung.is_stalled != is_stalled:
            rung = self._rung = tiers.Rung(speed, count, is_stalled)
        self._rung_until = self.latency.slot_ends_at
        return rung

    @property
    def condition(self) -> Condition:
        """How it stands, for those who watch."""
        return Condition(
            self.breaker.state,
            self.breaker.trips,
            self._limit.value,
            self._limit.is_target_infeasible,
            self.widening.spread,
            {name: budget.withdrawn for name, budget in self._budgets.items()},
            {name: budget.refused for name, budget in self._budgets.items()},
            self._forced,
        )

    # Calls

    def start(self, call_id: int, *, now: float) -> Ticket:
        """A call starts; it must be open."""
        self._tried_at = now
        speed = self.latency.speed(now=now)
        permission = self.breaker.acquire(
            self.permits.count,
            q95_seconds=self.widening.baseline_q95 or speed.q95,
            class_window_seconds=tiers.WINDOW_CAP * speed.q99,
            now=now,
        )
        if permission is None:
            raise ValueError(f"{self.name}: a call was started while the breaker does not allow it")
        self.permits.take()
        self._limit.started(call_id, now=now)
        return Ticket(call_id, now, permission, self)

    def finish(self, ticket: Ticket, verdict: Verdict, *, is_wanted: bool, now: float) -> None:
        """A call ended. ``is_wanted`` is False for one that was cancelled because nobody waited for it."""
        self._rung_until = -math.inf
        seconds = now - ticket.started_at
        is_slow = seconds > ticket.permission.slow_after_seconds
        if verdict is not Verdict.OK or is_slow or self.breaker.is_holding_back:
            self.sync_at = now  # trouble, and the end of it, are the fleet's business at once
        if verdict is Verdict.OK:
            self.latency.answered(seconds, now=now)
            self.widening.answered(seconds, now=now)
            self._limit.answered(ticket.call_id, now=now)
        elif verdict is Verdict.BACKPRESSURE:
            self._limit.refused(ticket.call_id, started_at=ticket.started_at, now=now)
        else:
            self._limit.cut(ticket.call_id, now=now)
        if verdict is Verdict.TIMEOUT and is_wanted:
            self._cut(ticket.started_at, seconds, now)
        elif verdict is not Verdict.TIMEOUT and verdict is not Verdict.UNREACHABLE:
            self.stall.answered(self.permits.count, now=now)  # also with an error: it does not hang
        result = CallResult.GOOD
        if verdict is not Verdict.OK:
            result = _BLAMED[verdict] if is_wanted else CallResult.IGNORED
        self.breaker.record(ticket.permission, result, is_spike=self.widening.spread is Spread.SPIKE, now=now)

    def freed(self) -> None:
        """The endpoint has let go of a call."""
        self.permits.give_back()

    def _cut(self, started_at: float, seconds: float, now: float) -> None:
        self.latency.cut(seconds, now=now)
        self.widening.cut(seconds, now=now)
        window_seconds = tiers.WINDOW_CAP * self.latency.speed(now=now).q99
        self.stall.cut(started_at, window_seconds=window_seconds, now=now)

    # Retries

    def tried(self, request_class: ClassName, *, is_redelivery: bool, now: float) -> None:
        """A request of this class is executed here for the first time. After a crash that is paid for, as far as there is."""
        budget = self._budget(request_class, now)
        if not is_redelivery:
            budget.deposit(is_widening=self.widening.spread is Spread.WIDENING, now=now)
        elif budget.balance(now=now) >= 1:
            budget.try_withdraw(now=now)

    def try_withdraw(self, request_class: ClassName, *, now: float) -> bool:
        """Pay for another execution of a request of this class."""
        return self._budget(request_class, now).try_withdraw(now=now)

    def retries_left(self, request_class: ClassName, *, now: float) -> float:
        """How many more executions of requests of a class are paid for."""
        return self._budget(request_class, now).balance(now=now)

    def _budget(self, request_class: ClassName, now: float) -> RetryBudget:
        budget = self._budgets.get(request_class)
        if budget is None:
            budget = self._budgets[request_class] = RetryBudget(self._retries, now=now)
        return budget

    # The fleet

    def register_seen(self, process: str, register: Register | None, *, age_seconds: float, now: float) -> None:
        """Take in a worker's word on the breaker."""
        if register is None:
            self.board.removed(process)
        else:
            self.board.seen(process, register, age_seconds=age_seconds, now=now)
        self.sync_at = now

    def latency_seen(self, profile: Profile) -> None:
        """Take in what the fleet has measured: a worker that has just started chooses as its neighbours do."""
        self.latency.fleet_seen(profile)
        self._is_known = True
        self._rung_until = -math.inf

    def control_seen(self, control: Control, *, now: float) -> None:
        """Take in an operator's word on the breaker."""
        self._control = self._control.followed_by(control)
        self.sync_at = now

    def sync(self, *, asked_at: float = -math.inf, now: float) -> Register | None:
        """Follow the fleet, and say what it should know; None: nothing new.

        Args:
            asked_at: when the stage had a request last.
            now: monotonic seconds.
        """
        if now < self.sync_at:
            return None
        self._rung_until = -math.inf
        self._obey(now)
        q95 = self.widening.baseline_q95 or self.latency.speed(now=now).q95
        self.breaker.follow(
            self.board.view(self.breaker.word, self.breaker.counts(now=now), q95_seconds=q95, now=now), now=now
        )
        has_trouble = self.board.has_trouble or self.breaker.has_trouble(now=now)
        self.sync_at = now + (SYNC_SECONDS if has_trouble else CALM_SYNC_SECONDS)
        is_wanted = self._is_wanted(asked_at, now)
        return self.board.announcement(self.breaker.register(now=now), is_wanted=is_wanted, now=now)

    def _obey(self, now: float) -> None:
        """Set the breaker to what an operator wants, or let it go."""
        forced = self._control.holds(now=now)
        if forced is not self._forced:
            self._forced = forced
            self.breaker.force(self._control.state(now=now), now=now)

    def _is_wanted(self, asked_at: float, now: float) -> bool:
        """Whether requests use it, or would if its breaker let them: who waits to probe must not be taken for dead."""
        tried_at = -math.inf if self._tried_at is None else self._tried_at
        return now - max(tried_at, asked_at if self.breaker.is_holding_back else tried_at) < WANTED_SECONDS
