"""Whether requests of one class are handed on to the next stage: the breaker between them, and an operator's word on it.

The breaker decides from what this worker hears (:mod:`failsoft.policy.stage_breaker`). Its register is told to nobody but
operators: at once when it moves, every ten seconds while it is in use or not closed, and hourly in any case, as those of
endpoints are (:mod:`failsoft.policy.breaker_board`).
"""

import math

from failsoft.policy.breaker_board import HEARTBEAT_SECONDS, REFRESH_SECONDS
from failsoft.policy.breaker_control import NOTHING_SAID, Control, Force
from failsoft.policy.register import Phase, Register, Word, breaker_before
from failsoft.policy.request import ClassName
from failsoft.policy.stage.condition import HandoverCondition
from failsoft.policy.stage_breaker import StageBreaker

WANTED_SECONDS = 30.0
"""As of an endpoint: who asked within the window of its counts uses it."""


class Handover:
    """What one worker hands on of one class.

    Args:
        stage: the next one.
        request_class: whose requests.
        breaker: decides.
    """

    def __init__(self, stage: str, request_class: ClassName, breaker: StageBreaker) -> None:
        self.name = breaker_before(stage, request_class)
        self.stage_name = breaker_before(stage)
        self.breaker = breaker
        self._control, self._forced = NOTHING_SAID, Force.AUTO
        self._asked_at = -math.inf
        self._said: Word | None = None
        self._said_at = -math.inf

    @property
    def condition(self) -> HandoverCondition:
        """How it stands, for those who watch."""
        return HandoverCondition(self.breaker.state, self._forced)

    def control_seen(self, control: Control) -> None:
        """Take in an operator's word."""
        self._control = self._control.followed_by(control)

    def allows(self, *, now: float) -> bool:
        """Whether one more request may begin; ask once for each."""
        self._asked_at = now
        self._obey(now)
        return self.breaker.allows(now=now)

    def allows_all(self, *, now: float) -> bool:
        """Whether every request may begin; ask as often as you like."""
        self._obey(now)
        return self.breaker.allows_all(now=now)

    def sync(self, *, now: float) -> Register | None:
        """Obey, and say what an operator should see; None: nothing new."""
        self._obey(now)
        if self.breaker.word is self._said and now < self._said_at + self._every_seconds(now):
            return None
        self._said, self._said_at = self.breaker.word, now
        return self.breaker.register(now=now)

    def _every_seconds(self, now: float) -> float:
        is_shown = now - self._asked_at < WANTED_SECONDS or self.breaker.word.phase is not Phase.CLOSED
        return HEARTBEAT_SECONDS if is_shown else REFRESH_SECONDS

    def _obey(self, now: float) -> None:
        forced = self._control.holds(now=now)
        if forced is not self._forced:
            self._forced = forced
            self.breaker.force(self._control.state(now=now))
