"""What a worker knows of the stages that come after its own: how long they take, and whether the next one can finish anything.

It hears their workers' roll-ups. The time that they take is reserved for them (:mod:`failsoft.policy.reserve`); a next stage that
fails, or says nothing any more, gets no new requests for a while (:mod:`failsoft.policy.stage_breaker`).

Until five calls of a later stage were heard of, its time is the author's word on its best tier; where there is none nothing is
reserved, since a guess must not keep the first requests from the full tier of this stage.
"""

import math
from collections import Counter

from failsoft.policy.fleet_latency import FleetLatency
from failsoft.policy.histogram import LogHistogram
from failsoft.policy.jitter import Jitter
from failsoft.policy.latency import GUESS_SAMPLES, PRIOR_SIGMA
from failsoft.policy.outcome import Outcome
from failsoft.policy.request import Request
from failsoft.policy.reserve import RESERVED_QUANTILE, reserve_seconds
from failsoft.policy.rollup import Place, RollUp
from failsoft.policy.settings import LaterStage, StageSettings
from failsoft.policy.stage_breaker import StageBreaker

_Q95 = math.exp(1.645 * PRIOR_SIGMA)
"""How far q95 of a lognormal prior lies above its median."""


class Ahead:
    """The stages to come, as one worker knows them.

    Args:
        settings: of its own stage, which name them.
        jitter: for the breaker's waits.
    """

    def __init__(self, settings: StageSettings, *, jitter: Jitter) -> None:
        self._stages = {stage.name: stage for stage in settings.later}
        self.next = settings.later[0] if settings.later else None
        self.breaker = StageBreaker(settings.breakers, random=jitter)
        self._margin = settings.publish_margin_seconds
        self._latency = FleetLatency()
        self._places: dict[str, set[Place]] = {name: set() for name in self._stages}
        self._seconds: float | None = None
        """What they need, until something is heard."""

    @property
    def seconds(self) -> float:
        """What the later stages need together, at q95; added up when it is asked for, not for each that tells of itself."""
        if self._seconds is None:
            self._seconds = sum(self._q95(stage) + self._margin for stage in self._stages.values())
        return self._seconds

    def heard(self, rollup: RollUp, *, appended_at: float, now: float) -> None:
        """Take what a worker of a later stage has told; ``appended_at`` is the broker's time of it, epoch seconds."""
        if rollup.stage not in self._stages:
            return
        if rollup.latency:
            self._latency.fold(rollup, appended_at=appended_at)
            self._places[rollup.stage].update(rollup.latency)
            self._seconds = None
        if self.next is not None and rollup.stage == self.next.name:
            ends: Counter[Outcome] = Counter()
            for kind, count in rollup.endings.items():
                ends[kind.outcome] += count
            self.breaker.heard(ends, now=now)

    def reserve(self, request: Request, *, own_q95: float, now: float) -> float:
        """What a request keeps back for the stages to come, seconds."""
        return reserve_seconds(request.deadline_at - now, own=own_q95, later=self.seconds)

    def handed_on(self, deadline_at: float) -> None:
        """A request goes to the next stage."""
        self.breaker.handed_on(deadline_at)

    def allows(self, *, now: float) -> bool:
        """Whether a request may begin whose next stage it is."""
        return self.next is None or self.breaker.allows(now=now)

    def _q95(self, stage: LaterStage) -> float:
        found = LogHistogram()
        for place in self._places[stage.name]:
            profile = self._latency.profile(place)
            found.merge(profile.answers)
            found.merge(profile.cut)
        if found.count >= GUESS_SAMPLES:
            return found.quantiles((RESERVED_QUANTILE,))[0]
        return 0.0 if stage.expected_seconds is None else stage.expected_seconds * _Q95
