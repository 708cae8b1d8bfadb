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
again, and so it does where the stage alone was not heard at all.

The knobs are those of the stage's breakers.
"""

import math
from collections.abc import Mapping

from failsoft.policy.breaker_settings import DEFAULTS, BreakerSettings
from failsoft.policy.breaker_states import State, Trigger, next_state
from failsoft.policy.call_counts import NO_CALLS, CallWindow, Counts
from failsoft.policy.jitter import Jitter
from failsoft.policy.outcome import Outcome

BAD = frozenset({Outcome.FAILED, Outcome.EXPIRED, Outcome.UNAVAILABLE})
SILENCE_SECONDS = 5.0
"""Past the deadline of what was handed on: it has expired there by then, and a worker that lives has told so, once a second."""
PROBES_EVERY_SECONDS = 5.0


class StageBreaker:
    """Whether one worker hands requests of one class to the next stage.

    Args:
        settings: thresholds.
        random: for the jitter of the waits.
    """

    def __init__(self, settings: BreakerSettings = DEFAULTS, *, random: Jitter) -> None:
        self.state = State.CLOSED
        self._settings = settings
        self._random = random
        self._window = CallWindow()
        self._due_at = math.inf
        """When the first of what was handed on has to have ended, of that on which nothing was heard since."""
        self._others_at = -math.inf
        """When any stage was heard last: its own tells, too."""
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
        if self.state is State.CLOSED:
            self._window.add(counted, now=now)
            counts = self._window.counts(now=now)
            if self._is_sick(counts, self._settings.minimum_number_of_pooled_calls):
                self._open(Trigger.TRIPPED, now)
        elif self.state is State.HALF_OPEN:
            self._seen += counted
            self._judge(now)

    def allows(self, *, now: float) -> bool:
        """Whether one more may go there. One that is let through half-open is one of the few: ask once for each."""
        self._look(now)
        is_let = self.state is State.CLOSED or (self.state is State.HALF_OPEN and self._may_probe(now))
        return is_let or not self._settings.enforce

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
            self._open(Trigger.TRIPPED, now)
        elif self.state is State.OPEN and now >= self._opens_at:
            self._move(Trigger.WAITED)
            self._half_open_at, self._probes, self._seen = now, 0, NO_CALLS
        elif self.state is State.HALF_OPEN:
            gives_up_at = self._half_open_at + self._settings.max_wait_duration_in_half_open_seconds
            if is_silent:
                self._open(Trigger.PROBE_BAD, now)
            elif now >= gives_up_at:
                self._decide(now)

    def _judge(self, now: float) -> None:
        if self._seen.calls >= self._settings.good_calls_to_close:
            self._decide(now)

    def _decide(self, now: float) -> None:
        is_silent = not self._seen.calls and self._others_at > self._half_open_at
        if is_silent or self._is_sick(self._seen, 1):
            self._open(Trigger.PROBE_BAD, now)
        else:
            self._move(Trigger.PROBES_GOOD)
            self._reopenings = -1

    def _is_sick(self, counts: Counts, calls_min: int) -> bool:
        return counts.calls >= calls_min and counts.failure_rate >= self._settings.failure_rate_threshold

    def _open(self, trigger: Trigger, now: float) -> None:
        self._reopenings += 1
        half = self._settings.wait_seconds(self._reopenings) / 2
        self._opens_at = now + half + self._random.uniform(0, half)
        self._move(trigger)

    def _move(self, trigger: Trigger) -> None:
        self.state = next_state(self.state, trigger)
        self._window.clear()
        self._due_at = math.inf
