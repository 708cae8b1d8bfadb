"""Circuit breaker: whether an endpoint may be called, from how its calls went. One for each endpoint, tier and region.

Open means *use another tier or region*, not *fail*. The caller asks for a permission, makes the call, and hands the
permission back with how it went, whatever happened. What may happen to a breaker is the table in
:mod:`failsoft.policy.breaker_states`.

**Opens** when, of the calls of the last 30 s,

* failed >= 50 % or slow >= 60 %, with at least 10 own calls, or 20 of all workers; or
* 5 in a row could not reach the endpoint (any answer, also a bad one, ends the row).

What is failed and what slow: :mod:`failsoft.policy.permission`.

**Stays open** ``5 s x 2^reopenings``, at most 120 s, half of it fixed and half jitter. Then up to 3 probes are in flight; 5 good
ones in a row close it, a bad or slow one, or one that never reports, reopens it.

**Recovers** by a ramp from 10 % to 100 % of the permits over 10 s (:mod:`failsoft.policy.ramp`). Opening again before it is over
is a reopening.

**Generations.** Every transition begins a generation. A permission carries its own, and a result of another one is void: a call
that was admitted half a minute ago says nothing about the endpoint now (gobreaker; Resilience4j lets it vote).

**Alone and together.** A worker that sees its own calls fail opens for itself, always: its word is still "closed", and it
probes and closes by itself. The fleet opens (a new epoch, for all) on pooled counts that hold *also without the worker that has
most trouble*; so one broken worker cannot close an endpoint for all, not even when it is the only one that makes calls, or
the others have not been heard yet. An opening of the fleet ends only by its probing.

Source: Resilience4j, Finagle and gobreaker, as compared in research/algorithms.md §5.1.
"""

import math
from dataclasses import replace

from failsoft.policy.breaker_settings import DEFAULTS, NOTHING, BreakerSettings
from failsoft.policy.breaker_states import State, Trigger, next_state
from failsoft.policy.call_counts import CallWindow, Counts
from failsoft.policy.errors import IllegalTransition
from failsoft.policy.jitter import Jitter
from failsoft.policy.permission import CallResult, Permission, slow_after_seconds
from failsoft.policy.ramp import Ramp
from failsoft.policy.register import NEVER_OPENED, BoardView, Cause, Phase, Pool, Register, Word

_HOLDING_BACK = {State.OPEN, State.HALF_OPEN, State.FORCED_OPEN}


class Breaker:
    """Whether one endpoint may be called by this worker.

    Args:
        settings: thresholds.
        random: for the jitter of the waits.
    """

    def __init__(self, settings: BreakerSettings = DEFAULTS, *, random: Jitter) -> None:
        self._unforced = State.CLOSED if settings.enforce else State.METRICS_ONLY
        self.state = self._unforced
        self.is_holding_back = False
        """Whether it keeps calls from the endpoint: it is open, half-open or forced open."""
        self.generation = 0
        self.word = NEVER_OPENED
        """What this worker says to the others."""
        self.trips = 0
        """How often its own or pooled counts opened it, or would have."""
        self._settings = settings
        self._random = random
        self._window = CallWindow()
        self._ramp = Ramp(settings.ramp_from, settings.ramp_seconds)
        self._outstanding: dict[int, Permission] = {}
        self._taken = 0
        self._permits = 1
        self._unreachable = 0
        self._good_probes = 0
        self._reopenings = 0
        self._probe_at = math.inf

    # Permissions

    def allows_from(self, permits: int, *, now: float) -> float:
        """When a call may start, as far as can be told now; not after ``now`` if one may.

        Args:
            permits: how many calls this worker may have at the endpoint.
            now: monotonic seconds.
        """
        match self.state:
            case State.CLOSED:
                if self._ramp.is_over(now=now):  # as it is but for some seconds after an outage
                    self._permits = permits
                    return now
                self._account(permits, now)
                return self._ramp.allows_from(permits, len(self._outstanding), now=now)
            case State.OPEN:
                return self._probe_at
            case State.HALF_OPEN:
                probes = self._probes()
                is_full = len(probes) >= self._settings.permitted_number_of_calls_in_half_open
                return min(map(self._given_up_at, probes)) if is_full else self._probe_at
            case State.FORCED_OPEN:
                return math.inf
            case State.METRICS_ONLY:
                return now

    def acquire(
        self, permits: int, *, q95_seconds: float, class_window_seconds: float, now: float
    ) -> Permission | None:
        """Ask for one call; None: use another tier or region, or wait.

        Args:
            permits: how many calls this worker may have at the endpoint.
            q95_seconds: of the endpoint's latency in good times.
            class_window_seconds: what a call of this class may ordinarily take.
            now: monotonic seconds.
        """
        self._give_up_probes(now)
        if self.allows_from(permits, now=now) > now:
            return None
        if self.state is State.OPEN:
            self._half_open()
        self._account(permits, now)
        self._taken += 1
        slow_after = slow_after_seconds(q95_seconds, class_window_seconds)
        permission = Permission(self._taken, self.generation, now, q95_seconds, slow_after)
        self._outstanding[permission.number] = permission
        return permission

    def record(self, permission: Permission, result: CallResult, *, is_spike: bool = False, now: float) -> None:
        """Hand a permission back with how the call went.

        Args:
            permission: as given out.
            result: how the call went.
            is_spike: the latency is in a passing spike: only calls that do not reach the endpoint count.
            now: monotonic seconds.
        """
        self._account(self._permits, now)
        if self._outstanding.pop(permission.number, None) is None:
            raise IllegalTransition(
                f"breaker: permission {permission.number} was handed back twice; record a call once"
            )
        if permission.generation != self.generation or result is CallResult.IGNORED:
            return
        call = permission.counts_as(result, now=now)
        if self.state is State.HALF_OPEN:
            self._count_probe(call, now)
        else:
            self._count(call, result, is_spike=is_spike, now=now)

    def release(self, permission: Permission, *, now: float) -> None:
        """Hand a permission back without a word on the endpoint."""
        self.record(permission, CallResult.IGNORED, now=now)

    # The fleet

    def counts(self, *, now: float) -> Counts:
        """How this worker's own calls went in the last 30 s."""
        return self._window.counts(now=now)

    @property
    def unreached_in_a_row(self) -> int:
        """How many calls in a row have not reached the endpoint, up to now."""
        return self._unreachable

    def has_trouble(self, *, now: float) -> bool:
        """Whether it is not closed, or holds a call against the endpoint."""
        return self.is_holding_back or self.word.phase is not Phase.CLOSED or self._window.has_trouble(now=now)

    def register(self, *, now: float) -> Register:
        """What this worker has to say to the others."""
        probes = len(self._probes()) if self.word.phase is Phase.HALF_OPEN else 0
        return Register(self.word, buckets=self._window.buckets(now=now), probes=probes)

    def follow(self, view: BoardView, *, now: float) -> None:
        """Take in what the fleet says, and act on pooled counts. Also gives up probes that never report."""
        self._give_up_probes(now)
        self._adopt(view.word, now)
        if self.word.phase is not Phase.CLOSED:
            self._probe_at = view.probe_at
        elif not self._is_operated and (causes := self._pooled_causes(view.pool)):
            self._open_fleet(Trigger.FLEET_OPENED, causes, now)

    def force(self, state: State | None, *, now: float) -> None:
        """Carry out an operator's word: FORCED_OPEN or METRICS_ONLY; None takes it back."""
        wanted = state or self._unforced
        if wanted is self.state or (wanted is State.CLOSED and not self._is_operated):
            return
        match wanted:
            case State.FORCED_OPEN:
                self._move(Trigger.FORCED)
            case State.METRICS_ONLY:
                self._move(Trigger.DARKENED)
            case State.CLOSED if state is None:
                self._release(now)
            case _:
                raise IllegalTransition(f"breaker: an operator cannot set {state}; use forced_open or metrics_only")

    @property
    def _is_operated(self) -> bool:
        return self.state in (State.FORCED_OPEN, State.METRICS_ONLY)

    @property
    def _is_open_alone(self) -> bool:
        return self.state in (State.OPEN, State.HALF_OPEN) and self.word.phase is Phase.CLOSED

    def _adopt(self, said: Word, now: float) -> None:
        """Another's probing leaves this worker where it was: open."""
        if said is self.word:
            return
        heard = replace(said, phase=Phase.OPEN) if said.phase is Phase.HALF_OPEN else said
        is_news = heard.order > self.word.order
        was_alone = self._is_open_alone
        self.word = self.word.join(heard)
        if not is_news:
            return
        self._reopenings = self.word.reopenings
        if self._is_operated:
            self._window.clear()
        elif heard.phase is Phase.OPEN:
            self._window.clear()
            self._move(Trigger.FLEET_OPENED)
        elif not was_alone:  # what this worker has seen fail itself, others cannot declare well
            self._close(Trigger.FLEET_CLOSED, now)

    # Counting

    def _pooled_causes(self, pool: Pool) -> frozenset[Cause]:
        return self._settings.causes_of_pool(pool.total, pool.rest) if pool.is_heard else NOTHING

    def _count(self, call: Counts, result: CallResult, *, is_spike: bool, now: float) -> None:
        if result is CallResult.UNREACHABLE:
            self._unreachable += 1
        elif result is not CallResult.CUT:
            self._unreachable = 0
        is_sick = self._unreachable >= self._settings.consecutive_unreachable_calls
        if not is_spike:
            self._window.add(call, now=now)
            if self._window.has_trouble(now=now):
                is_sick |= bool(self._settings.causes(self._window.counts(now=now)))
        if is_sick:
            self._trip(now)

    def _count_probe(self, call: Counts, now: float) -> None:
        if call.has_trouble:
            self._reopen(now)
            return
        self._good_probes += 1
        if self._good_probes >= self._settings.good_calls_to_close:
            if not self._is_open_alone:
                self.word = replace(self.word, phase=Phase.CLOSED)
            self._close(Trigger.PROBES_GOOD, now)

    def _probes(self) -> list[Permission]:
        return [taken for taken in self._outstanding.values() if taken.generation == self.generation]

    def _given_up_at(self, probe: Permission) -> float:
        return probe.taken_at + max(self._settings.max_wait_duration_in_half_open_seconds, 2 * probe.slow_after_seconds)

    def _give_up_probes(self, now: float) -> None:
        if self.state is State.HALF_OPEN and any(now >= self._given_up_at(probe) for probe in self._probes()):
            self._reopen(now)

    # Transitions

    def _trip(self, now: float) -> None:
        """Open for this worker alone; if it is the fleet's matter, that shows in the pool."""
        if self.state is State.METRICS_ONLY:
            self.trips += 1
            self._unreachable = 0
            self._window.clear()
            return
        wait_seconds = self._next_wait(now)
        self._move(Trigger.TRIPPED)
        self._probe_at = now + wait_seconds

    def _reopen(self, now: float) -> None:
        if self._is_open_alone:
            wait_seconds = self._next_wait(now)
            self._move(Trigger.PROBE_BAD)
            self._probe_at = now + wait_seconds
        else:
            self._open_fleet(Trigger.PROBE_BAD, frozenset({Cause.PROBE}), now)

    def _open_fleet(self, trigger: Trigger, causes: frozenset[Cause], now: float) -> None:
        wait_seconds = self._next_wait(now)
        self.word = Word(self.word.epoch + 1, Phase.OPEN, wait_seconds, self._reopenings, causes)
        self._move(trigger)
        self._window.clear()
        self._probe_at = now + wait_seconds

    def _half_open(self) -> None:
        if not self._is_open_alone:
            self.word = replace(self.word, phase=Phase.HALF_OPEN)
        self._move(Trigger.WAITED)

    def _close(self, trigger: Trigger, now: float) -> None:
        was_calling = self.state in (State.CLOSED, State.METRICS_ONLY)
        self._move(trigger)
        self._window.clear()
        if not was_calling:
            self._ramp.begin(now=now)

    def _release(self, now: float) -> None:
        self._close(Trigger.RELEASED, now)
        if self.word.phase is not Phase.CLOSED:
            self._move(Trigger.FLEET_OPENED)
            self._probe_at = math.inf  # the board says from when

    def _move(self, trigger: Trigger) -> None:
        self.state = next_state(self.state, trigger)
        self.is_holding_back = self.state in _HOLDING_BACK
        self.generation += 1
        self._good_probes = self._unreachable = 0

    def _next_wait(self, now: float) -> float:
        """Count the opening, unless it only becomes the fleet's, and draw how long it lasts."""
        if self.state is not State.OPEN:
            self.trips += 1
            recovered = self.state is State.CLOSED and self._ramp.is_over(now=now)
            self._reopenings = 0 if recovered else self._reopenings + 1
        half = self._settings.wait_seconds(self._reopenings) / 2
        return half + self._random.uniform(0, half)

    def _account(self, permits: int, now: float) -> None:
        self._ramp.account(self._permits, len(self._outstanding), now=now)
        self._permits = permits
