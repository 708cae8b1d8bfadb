"""What a worker knows of the stages that come after its own: how long they take, and whether the next one can finish anything.

It hears their workers' roll-ups. The time that they take is reserved for them (:mod:`failsoft.policy.reserve`); a next stage that
fails, or says nothing any more, gets no new requests for a while (:mod:`failsoft.policy.stage_breaker`). That is decided for each
class by itself: a flood of one that expires there must not stop the others, which are served before it. Operators see these
breakers and may force them (:mod:`failsoft.policy.stage.handover`).

Until five calls of a later stage were heard of, its time is the author's word on its best tier; where there is none nothing is
reserved, since a guess must not keep the first requests from the full tier of this stage.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator

from failsoft.policy.actions import AnnounceRegister
from failsoft.policy.breaker_control import Control
from failsoft.policy.fleet_latency import FleetLatency
from failsoft.policy.histogram import LogHistogram
from failsoft.policy.jitter import Jitter
from failsoft.policy.latency import GUESS_SAMPLES, PRIOR_SIGMA
from failsoft.policy.outcome import Outcome
from failsoft.policy.request import ClassName, Request
from failsoft.policy.reserve import RESERVED_QUANTILE, reserve_seconds
from failsoft.policy.rollup import Place, RollUp
from failsoft.policy.settings import LaterStage, StageSettings
from failsoft.policy.stage.handover import Handover
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
        self._handovers: dict[ClassName, Handover] = {}
        if self.next is not None:
            for known in settings.classes:
                breaker = StageBreaker(settings.breakers, random=jitter)
                self._handovers[known.name] = Handover(self.next.name, known.name, breaker)
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
        """Take what a worker has told; ``appended_at`` is the broker's time of it, epoch seconds."""
        for handover in self._handovers.values():
            handover.breaker.others_heard(now=now)
        if rollup.stage not in self._stages:
            return
        if rollup.latency:
            self._latency.fold(rollup, appended_at=appended_at)
            self._places[rollup.stage].update(rollup.latency)
            self._seconds = None
        if self.next is not None and rollup.stage == self.next.name:
            ends: defaultdict[ClassName, Counter[Outcome]] = defaultdict(Counter)
            for kind, count in rollup.endings.items():
                ends[kind.request_class][kind.outcome] += count
            for name, handover in self._handovers.items():  # who tells of one class is there for all
                handover.breaker.heard(ends[name], now=now)

    def reserve(self, request: Request, *, own_q95: float, least_q95: float, now: float) -> float:
        """What a request keeps back for the stages to come, seconds; of its own stage's tiers the best and the quickest count."""
        left, least = request.deadline_at - now, least_q95 + self._margin
        return reserve_seconds(left, own=own_q95, later=self.seconds, least=least)

    @property
    def handovers(self) -> Collection[Handover]:
        """What it hands on, class by class; nothing of a last stage."""
        return self._handovers.values()

    def handed_on(self, request: Request) -> None:
        """A request goes to the next stage."""
        if self.next is not None:
            self._handovers[request.record.request_class].breaker.handed_on(request.deadline_at)

    def allows(self, request: Request, *, now: float) -> bool:
        """Whether a request may begin whose next stage it is."""
        return self.next is None or self._handovers[request.record.request_class].allows(now=now)

    def allows_all(self, request: Request, *, now: float) -> bool:
        """Whether all requests of its class may begin: it is then none of a few that have to be counted."""
        return self.next is None or self._handovers[request.record.request_class].allows_all(now=now)

    def control_seen(self, breaker: str, control: Control) -> None:
        """Take in an operator's word, on one class or on all."""
        for handover in self._handovers.values():
            if breaker in {handover.name, handover.stage_name}:
                handover.control_seen(control)

    def sync(self, *, now: float) -> Iterator[AnnounceRegister]:
        """Obey operators, and say what they should see."""
        for handover in self._handovers.values():
            register = handover.sync(now=now)
            if register is not None:
                yield AnnounceRegister(handover.name, register)

    def _q95(self, stage: LaterStage) -> float:
        found = LogHistogram()
        for place in self._places[stage.name]:
            profile = self._latency.profile(place)
            found.merge(profile.answers)
            found.merge(profile.cut)
        if found.count >= GUESS_SAMPLES:
            return found.quantiles((RESERVED_QUANTILE,))[0]
        return 0.0 if stage.expected_seconds is None else stage.expected_seconds * _Q95
