"""Whether requests of one class are handed to the next stage, from how that stage ends those that it has.

Open means: do not begin what the next stage would not finish. The stage before ends the request by itself, with what the next one
would answer at once where the floor allows that, else as unavailable. An endpoint's breaker (:mod:`failsoft.policy.breaker`)
hears of its own calls one by one; here the stage's workers tell of their ends, added up, once a second, and every worker of
the stage before hears all of them. So all count the same, and agree without a word between them.

**Opens** when, of the ends of the last 30 s,

* failed, expired or unavailable >= 50 % of this class, with at least 20 of all workers; or
* none was heard although something that was handed on has been due for 5 s: nobody works there, or all that waits is late. That
  is a backlog beyond the budget of its class. But only if others were heard since: where all are silent it is the log that cannot
  be heard, and a log that is there to watch the stages must not stop them.

Shed and invalid say nothing of the stage: the one is its own protection, the other the request's fault.

**Stays open** ``5 s x 2^reopenings``, at most 120 s, half of it jitter, as an endpoint's does. **Half-open**, it lets 5 through,
and 5 more every 5 s. The first 5 ends since then decide, or those of 60 s where there are fewer: with half of them bad it opens
again, and so it does where something was handed on and the stage alone was not heard at all. Where nothing got there (it was shed
here, or failed), or the stage was heard and has ended none of it yet, it stays half-open.

**Forced** by an operator, it lets nobody through or everybody, and begins anew when that is over. What it has to say
(:meth:`StageBreaker.register`) is for him; no worker goes by another's.

The knobs are those of the stage's breakers.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

from failsoft.policy.breaker_settings import DEFAULTS, BreakerSettings
from failsoft.policy.breaker_states import State, Trigger, next_state
from failsoft.policy.call_counts import NO_CALLS, CallWindow, Counts
from failsoft.policy.jitter import Jitter
from failsoft.policy.outcome import Outcome
from failsoft.policy.register import NEVER_OPENED, Cause, Phase, Register, Word

BAD = frozenset({Outcome.FAILED, Outcome.EXPIRED, Outcome.UNAVAILABLE})
SILENCE_SECONDS = 5.0
"""Past the deadline of what was handed on: it has expired there by then, and a worker that lives has told so, once a second."""
PROBES_EVERY_SECONDS = 5.0

_COUNTING = {State.CLOSED, State.METRICS_ONLY}
_PHASES = {State.OPEN: Phase.OPEN, State.HALF_OPEN: Phase.HALF_OPEN}
_FORCING = {State.FORCED_OPEN: Trigger.FORCED, State.METRICS_ONLY: Trigger.DARKENED}


class StageBreaker:
    """Whether one worker hands requests of one class to the next stage.

    Args:
        settings: thresholds.
        random: for the jitter of the waits.
    """

    def __init__(self, settings: BreakerSettings = DEFAULTS, *, random: Jitter) -> None:
        self.state = State.CLOSED
        self.word = NEVER_OPENED
        """How it stands, for operators; epochs count its own openings. What is forced leaves no trace in it."""
        self._settings = settings
        self._random = random
        self._window = CallWindow()
        self._due_at = math.inf
        """When the first of what was handed on has to have ended, of that on which nothing was heard since."""
        self._others_at = -math.inf
        """When any stage was heard last: its own tells, too."""
        self._opened_at = math.inf
        self._opens_at = math.inf
        self._half_open_at = math.inf
        self._probes = 0
        self._seen = NO_CALLS
        self._reopenings = -1

    def handed_on(self, deadline_at: float) -> None:
        """A request goes to the next stage, and has to end by then."""
        self._due_at = min(self._due_at, deadline_at)

    def others_heard(self, *, now: float) -> None:
        """Any stage has told something: what is told can be heard."""
        self._others_at = now

    def heard(self, ends: Mapping[Outcome, int], *, now: float) -> None:
        """Take what a worker of the next stage has told."""
        self._due_at = math.inf
        failed = sum(count for outcome, count in ends.items() if outcome in BAD)
        counted = Counts(failed + ends.get(Outcome.OK, 0), failed)
        if not counted.calls:
            return
        if self.state in _COUNTING:
            self._window.add(counted, now=now)
            counts = self._window.counts(now=now)
            is_sick = self._is_sick(counts, self._settings.minimum_number_of_pooled_calls)
            if is_sick and self.state is State.CLOSED:
                self._open(Trigger.TRIPPED, Cause.FAILURE_RATE, now)
        elif self.state is State.HALF_OPEN:
            self._seen += counted
            self._judge(now)

    def allows(self, *, now: float) -> bool:
        """Whether one more may go there. One that is let through half-open is one of the few: ask once for each."""
        self._look(now)
        match self.state:
            case State.CLOSED | State.METRICS_ONLY:
                return True
            case State.FORCED_OPEN:
                return False
            case State.HALF_OPEN if self._may_probe(now):
                return True
        return not self._settings.enforce

    def allows_all(self, *, now: float) -> bool:
        """Whether all may go there, and none of them as one of a few."""
        self._look(now)
        return self.state in _COUNTING or not (self._settings.enforce or self.state is State.FORCED_OPEN)

    def force(self, state: State | None) -> None:
        """Carry out an operator's word: FORCED_OPEN or METRICS_ONLY; None takes it back, and it is closed."""
        if state is not None and state is not self.state:
            self._move(_FORCING[state])
        elif state is None and self.state in _FORCING:
            self._move(Trigger.RELEASED)
            self._reopenings = -1

    def register(self, *, now: float) -> Register:
        """What an operator may see of it."""
        since_seconds = now - self._opened_at if self.word.epoch else 0.0
        probes = self._probes if self.state is State.HALF_OPEN else 0
        return Register(self.word, since_seconds, self._window.buckets(now=now), probes)

    def _may_probe(self, now: float) -> bool:
        turns = 1 + int((now - self._half_open_at) // PROBES_EVERY_SECONDS)
        if self._probes >= turns * self._settings.good_calls_to_close:
            return False
        self._probes += 1
        return True

    def _look(self, now: float) -> None:
        """See what time alone has changed."""
        is_silent = min(now, self._others_at) >= self._due_at + SILENCE_SECONDS
        if self.state is State.CLOSED and is_silent:
            self._open(Trigger.TRIPPED, Cause.SILENCE, now)
        elif self.state is State.OPEN and now >= self._opens_at:
            self._move(Trigger.WAITED)
            self._let_a_few(now)
        elif self.state is State.HALF_OPEN:
            gives_up_at = self._half_open_at + self._settings.max_wait_duration_in_half_open_seconds
            if is_silent:
                self._open(Trigger.PROBE_BAD, Cause.SILENCE, now)
            elif now >= gives_up_at:
                self._decide(now)

    def _let_a_few(self, now: float) -> None:
        self._half_open_at, self._probes, self._seen = now, 0, NO_CALLS

    def _judge(self, now: float) -> None:
        if self._seen.calls >= self._settings.good_calls_to_close:
            self._decide(now)

    def _decide(self, now: float) -> None:
        is_silent = not self._seen.calls and self._others_at > self._half_open_at
        if is_silent and math.isinf(self._due_at):
            self._let_a_few(now)  # nothing got there, or the stage was heard and has ended nothing yet
        elif is_silent or self._is_sick(self._seen, 1):
            self._open(Trigger.PROBE_BAD, Cause.SILENCE if is_silent else Cause.PROBE, now)
        else:
            self._move(Trigger.PROBES_GOOD)
            self._reopenings = -1

    def _is_sick(self, counts: Counts, calls_min: int) -> bool:
        return counts.calls >= calls_min and counts.failure_rate >= self._settings.failure_rate_threshold

    def _open(self, trigger: Trigger, cause: Cause, now: float) -> None:
        self._reopenings += 1
        half = self._settings.wait_seconds(self._reopenings) / 2
        wait_seconds = half + self._random.uniform(0, half)
        self._opened_at, self._opens_at = now, now + wait_seconds
        self.word = Word(self.word.epoch + 1, Phase.OPEN, wait_seconds, self._reopenings, frozenset({cause}))
        self._move(trigger)

    def _move(self, trigger: Trigger) -> None:
        self.state = next_state(self.state, trigger)
        self.word = replace(self.word, phase=_PHASES.get(self.state, Phase.CLOSED))
        self._window.clear()
        self._due_at = math.inf
