"""Who runs next: the tier rule applied to what waits and to the permits that are free.

Every event of the stage ends here, in the same four steps: those whom a better tier has failed; those whom no model can
serve in time any more; the full tier; the lower tiers, best first. Each step looks at the heads of a few lanes, so the cost
does not grow with what waits.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from failsoft.policy import tiers
from failsoft.policy.backoff import delay_seconds, retry_after_seconds
from failsoft.policy.events import CallFinished, Verdict
from failsoft.policy.jitter import Jitter
from failsoft.policy.levels import FALLBACK_LEVEL, FULL_LEVEL
from failsoft.policy.outcome import Reason
from failsoft.policy.request import ClassName, Request
from failsoft.policy.retry_budget import allows_execution
from failsoft.policy.routing import Route
from failsoft.policy.scheduling import SAFETY, Credits, Lane, spare_seconds
from failsoft.policy.settings import StageSettings
from failsoft.policy.stage.calls import Windows
from failsoft.policy.stage.endpoint import Endpoint, Ticket
from failsoft.policy.stage.gates import Line
from failsoft.policy.stage.work import Errand, LaneKey, Standing

GRAIN_SECONDS = 0.001
"""How long after an instant to look what it has changed: past it whatever the rounding, and once for several close together."""
KNOWN_TERMS_MAX = 4_096
"""Different budgets for which the rule's figures are kept."""
HELD_UNTIL = 0.9
"""Part of its class's deadline at which a request that is still in the log is taken even if nothing can serve it: it must end."""


class Start(NamedTuple):
    """Call this model tier for this request, for at most this long. The permit is taken."""

    errand: Errand
    tier: int
    window_seconds: float
    ticket: Ticket
    windows: Windows


class GiveUp(NamedTuple):
    """No model tier can serve this request in time."""

    errand: Errand


class Dispatcher:
    """What waits, the endpoints, and the rule between them.

    Args:
        settings: tiers, classes and bounds of the stage.
        endpoints: one of each model tier, best first.
        jitter: for waits.
        call_ids: numbers for calls, unlike those of any other dispatcher of this worker.
        best_level: no answer counts for more to those who wait here.
    """

    def __init__(
        self,
        settings: StageSettings,
        endpoints: Sequence[Endpoint],
        *,
        jitter: Jitter,
        call_ids: Iterator[int],
        best_level: int = FULL_LEVEL,
    ) -> None:
        self.endpoints = endpoints
        self._jitter = jitter
        self._call_ids = call_ids
        self._margin = settings.publish_margin_seconds
        self._classes = settings.by_class
        self._lanes: dict[LaneKey, Lane[Errand]] = {}
        self._urgent: Lane[Errand] = Lane("urgent", 0)
        self._backlog = dict.fromkeys(self._classes, 0)
        self._ranks = {known.name: rank for rank, known in enumerate(settings.classes)}
        weights = {known.name: known.weight for known in settings.classes}
        self._full_credits, self._lower_credits = Credits(weights), Credits(weights)
        self._levels = levels = [max(best_level, endpoint.settings.level) for endpoint in self.endpoints]
        is_at_once = (tier for tier in settings.tiers if not tier.is_model and not tier.is_cached)
        at_once = [max(best_level, tier.level) for tier in is_at_once]
        self._answers_from = min(at_once, default=FALLBACK_LEVEL + 1)
        self._allowed_by_floor = [sum(level <= floor for level in levels) for floor in range(FALLBACK_LEVEL + 1)]
        self._now = 0.0
        self._rungs: list[tiers.Rung] = []
        self._even: list[float] = []
        """Per tier: what must be left for an even chance to serve in time."""
        self._known_terms: dict[tuple[LaneKey, float], tiers.Terms] = {}
        self._waiting = 0
        self._at_ease_until = [-math.inf] * len(self.endpoints)
        """Per tier: until then waiting longer makes nobody late. Who comes spends of it; void when a latency moves."""
        self._idle_until = [-math.inf] * len(self.endpoints)
        """Per tier: while it is open, it takes nobody before. Who comes or goes may shorten it; void when a latency moves."""
        self._urgent_at, self._urgent_from = math.inf, 0
        self._hopeless_below: list[float] = [math.inf] * (FALLBACK_LEVEL + 1)
        self._next: list[Start | GiveUp] = []

    @property
    def has_waiting(self) -> bool:
        """Whether anything waits for a permit."""
        return self._waiting > 0 or bool(self._urgent.entries)

    def best_level(self, _: Request) -> int:
        """The level of the best tier that is not stopped."""
        known = zip(self._levels, self.endpoints, strict=True)
        return next((level for level, endpoint in known if not endpoint.is_stopped), FALLBACK_LEVEL)

    def is_held(self, request_class: ClassName, oldest_age_seconds: float, *, now: float) -> bool:
        """Whether a class is to be left in the log: every tier that it may use is stopped, and its oldest has time.

        A tier that would take a call now is not: who is to probe it, if all are in the log?
        """
        known = self._classes[request_class]
        if known.floor >= self._answers_from or oldest_age_seconds >= HELD_UNTIL * known.deadline_seconds:
            return False
        allowed = self.endpoints[: self._allowed(known.floor)]
        return all(endpoint.is_stopped and not endpoint.is_open(now) for endpoint in allowed)

    @property
    def usual(self) -> Sequence[Endpoint]:
        """The endpoints that are called."""
        return self.endpoints

    def route_seen(self, route: Route, *, now: float) -> None:
        """Nothing here has a choice of regions."""

    @property
    def waiting(self) -> Mapping[ClassName, int]:
        """How many wait for a permit, per class."""
        counts = dict.fromkeys(self._classes, 0)
        for lane in (*self._lanes.values(), self._urgent):
            for errand in lane.entries:
                counts[errand.lane[0]] += 1
        return counts

    @property
    def columns(self) -> Sequence["Dispatcher"]:
        """Itself alone."""
        return (self,)

    def first_in_line(self, *, now: float) -> Mapping[ClassName, Line]:
        """Of each class that waits for the full tier: who has waited longest, against its patience."""
        found: dict[ClassName, Line] = {}
        for lane in self._lanes.values():
            if lane.entries and self._allowed(lane.floor):
                line = Line(lane.head.waited_seconds(now), self._terms(lane.head).patience)
                known = found.get(lane.request_class)
                if known is None or line.waited > known.waited:
                    found[lane.request_class] = line
        return found

    def backlog_seen(self, request_class: ClassName, records: int) -> None:
        """This many records of a class are still in the log."""
        self._backlog[request_class] = records
        self._reconsider()

    def queue(self, errand: Errand, *, now: float) -> None:
        """A new request waits in its lane; but if it is alone, and the full tier can serve it safely, it is served at once."""
        self._look(now)
        lane = self._lane(errand)
        if self._allowed(lane.floor):
            remaining, known = self._remaining(errand), self._terms(errand)
            errand.fits_full = remaining >= known.edge
            if remaining >= known.safe and not self.has_waiting and self.endpoints[0].is_open(now):
                self._begin_waiting(lane)
                self._charge(errand, 0, self._full_credits)
                return
        self._push(errand, lane)

    def put_back(self, errand: Errand, *, now: float) -> None:
        """One that was taken out waits again, where it stands now."""
        if errand.standing is Standing.WAITING:
            self._look(now)
            self._push(errand, self._lane(errand))
        elif errand.standing is Standing.URGENT:
            self._push_urgent(errand)

    def _lane(self, errand: Errand) -> Lane[Errand]:
        lane = self._lanes.get(errand.lane)
        if lane is None:
            lane = self._lanes[errand.lane] = Lane(*errand.lane)
        return lane

    def _begin_waiting(self, lane: Lane[Errand]) -> None:
        waiting = {other.request_class for other in self._lanes.values() if other.entries} if self._waiting else ()
        self._full_credits.begin_waiting(lane.request_class, waiting)
        self._lower_credits.begin_waiting(lane.request_class, waiting)

    def _push(self, errand: Errand, lane: Lane[Errand]) -> None:
        if not lane.entries:
            self._begin_waiting(lane)
        lane.push(errand)
        self._waiting += 1
        self._spend_ease(errand)
        self._follow(lane)

    def queue_urgent(self, errand: Errand) -> None:
        """A request whose call has failed is first in line at the next tier."""
        errand.move(Standing.URGENT)
        self._push_urgent(errand)

    def _push_urgent(self, errand: Errand) -> None:
        self._urgent.push(errand)
        self._urgent_at = -math.inf

    def retry(self, errand: Errand, tier: int, event: CallFinished, *, seconds: float, now: float) -> bool:
        """Whether a failed request is to be tried again at the same tier, and if so, when.

        Only what failed fast, for a reason that passes, or in a region that its route has left; only where its time, its count
        and the budget allow it. A busy endpoint that says when to come back is waited for no longer than the class is patient.
        """
        self._look(now)
        wait = self._wait_before_retry(errand, tier, event, seconds)
        if wait is None or not self._pay_for_retry(errand, tier):
            return False
        errand.next_tier, errand.ready_at, errand.delay_seconds = tier, now + wait, wait
        self.queue_urgent(errand)
        return True

    def turn_back(self, errand: Errand, *, now: float) -> None:
        """A route has moved: a tier that has failed this request elsewhere may be tried here, as a retry, and at once."""
        self._look(now)
        for tier in range(self._allowed(errand.lane[1])):
            if not self._has_moved(errand, tier) or self._remaining(errand) < self._needed(errand, tier):
                continue
            if tier == errand.next_tier:  # it is paid for already, and waits for another region
                errand.ready_at = now
            elif tier < errand.next_tier and self._pay_for_retry(errand, tier):
                errand.next_tier, errand.ready_at = tier, now

    def _has_moved(self, errand: Errand, tier: int) -> bool:
        return tier in errand.tried and errand.tried[tier] != self.endpoints[tier].region

    def _pay_for_retry(self, errand: Errand, tier: int) -> bool:
        endpoint = self.endpoints[tier]
        if endpoint.is_stopped or not allows_execution(1 + errand.retries, is_redelivery=errand.is_redelivery):
            return False
        if errand.is_crowded and not errand.may_be_retried():
            return False
        if not endpoint.try_withdraw(errand.lane[0], now=self._now):
            return False
        errand.retries += 1
        return True

    def _wait_before_retry(self, errand: Errand, tier: int, event: CallFinished, seconds: float) -> float | None:
        remaining = self._remaining(errand)
        wait: float | None = None
        if self._has_moved(errand, tier):
            wait = 0.0
        elif event.verdict is Verdict.BACKPRESSURE and event.retry_after_seconds is not None:
            wait = retry_after_seconds(event.retry_after_seconds, remaining_seconds=remaining)
            if wait is not None and errand.waited_seconds(self._now) + wait > self._terms(errand).patience:
                return None
        elif event.verdict in {Verdict.TRANSIENT, Verdict.UNREACHABLE} and seconds < self._rungs[tier].speed.q50:
            wait = delay_seconds(errand.delay_seconds, remaining_seconds=remaining, random=self._jitter)
        return wait if wait is not None and remaining - wait >= self._needed(errand, tier) else None

    def line(self, request: Request, *, now: float) -> tuple[float, float] | None:
        """What stands before a new request, and how long it may wait, seconds; None where something answers at once."""
        self._look(now)
        allowed = self._allowed(request.floor)
        if request.floor >= self._answers_from or not allowed:
            return None
        speed = sum(1 / rung.seconds_each for rung in self._rungs[:allowed] if rung.permits)
        if not speed:
            return None
        rank = self._ranks[request.record.request_class]
        before = sum(len(lane) for lane in self._lanes.values() if self._ranks[lane.request_class] <= rank)
        before += sum(count for name, count in self._backlog.items() if self._ranks[name] <= rank)
        stopped = min(endpoint.opens_at(now) for endpoint in self.endpoints[:allowed]) - now
        reserve = tiers.reserve_seconds(self._rungs, 0, allowed, self._margin)
        return max(0.0, stopped) + before / speed, request.budget_seconds - reserve - self._rungs[0].speed.q95

    def has_hope(self, request: Request, next_tier: int) -> bool:
        """Whether a model tier from this one on has an even chance to serve a request in time."""
        remaining = request.waits_until - self._now
        return any(remaining >= even for even in self._even[next_tier : self._allowed(request.floor)])

    def is_idle(self, _: Request, *, seconds: float, now: float) -> bool:
        """Whether nobody waits, and the full tier has a permit to spare and may well answer in so long."""
        if not self.endpoints or self.has_waiting or not self.endpoints[0].is_open(now):
            return False
        self._look(now)
        return seconds >= self._even[0]

    def start_now(self, errand: Errand, *, now: float) -> Start:
        """Call the full tier for an errand that stands in no queue."""
        self._look(now)
        return self._begin(errand, 0)

    def window_seconds(self, tier: int, floor: int, remaining_seconds: float) -> float:
        """The longest time that a call at a tier may take for a request with this floor and this time left."""
        return tiers.window_seconds(
            self._rungs,
            tier,
            self._allowed(floor),
            remaining_seconds=remaining_seconds,
            margin_seconds=self._margin,
        )

    def discard(self, errand: Errand) -> None:
        """Take a request out, wherever it waits."""
        if errand.standing is Standing.WAITING:
            self._take_out(errand)
        elif errand.standing is Standing.URGENT:
            self._urgent.remove(errand)

    def take_out_all(self) -> list[Errand]:
        """Take all out who wait; they stand where they stood."""
        waiting = [errand for lane in (*self._lanes.values(), self._urgent) for errand in lane.entries]
        for errand in waiting:
            self.discard(errand)
        return waiting

    def dispatch(self, *, now: float) -> list[Start | GiveUp]:
        """Whoever starts or ends now. They wait no more; the permits of those who start are taken."""
        if self.has_waiting:
            self._look(now)
            if self._urgent.entries:
                self._serve_urgent()
            self._end_hopeless()
            self._start_full()
            for tier in range(1, len(self.endpoints)):
                self._start_lower(tier)
        decided, self._next = self._next, []
        return decided

    def next_wakeup(self) -> float:
        """When time alone may next change what becomes of those who wait; infinity if nobody does.

        Time moves the latency figures at the end of a slot, and a breaker by what it hears. It opens an endpoint, makes one that
        lies idle worth a probe, uses up patience and spare time; it makes heads hopeless, and the urgent ready or hopeless.
        """
        if not self.has_waiting:
            return math.inf
        now, at = self._now, self._urgent_at if self._urgent.entries else math.inf
        for tier, endpoint in enumerate(self.endpoints):
            opens_at = endpoint.free_from(now)
            if (
                opens_at <= now
            ):  # and has taken nobody: the lanes say from when it may, and the urgent have their own instant
                opens_at = self._idle_until[tier] if self._waiting else math.inf
            at = min(at, opens_at, endpoint.sync_at, endpoint.latency.slot_ends_at)
        for lane in self._lanes.values() if self._waiting else ():
            if lane.entries:
                at = min(at, lane.entries[0].deadline_at - self._hopeless_below[lane.floor])
        return max(at, now) + GRAIN_SECONDS

    def _look(self, now: float) -> None:
        self._now = now
        rungs = [endpoint.rung(now) for endpoint in self.endpoints]
        if rungs != self._rungs or len(self._known_terms) > KNOWN_TERMS_MAX:
            self._rungs, self._even = rungs, [rung.speed.q50 + self._margin for rung in rungs]
            self._urgent_at = -math.inf
            self._known_terms.clear()
            self._at_ease_until = [-math.inf] * len(rungs)
            self._reconsider()
            self._hopeless_below = [min(self._even[:allowed], default=math.inf) for allowed in self._allowed_by_floor]

    def _allowed(self, floor: int) -> int:
        """How many of the model tiers, from the best, a request with this floor may use."""
        return self._allowed_by_floor[floor]

    def _remaining(self, errand: Errand) -> float:
        return errand.deadline_at - self._now

    def _fits(self, errand: Errand, tier: int) -> bool:
        """Whether a model tier has an even chance to serve this request in time."""
        return self._remaining(errand) >= self._even[tier]

    def _terms(self, errand: Errand) -> tiers.Terms:
        """The rule's figures for a request; the same for all of its lane with its budget, until a latency moves."""
        key = (errand.lane, errand.budget_seconds)
        known = self._known_terms.get(key)
        if known is None:
            name, floor = errand.lane
            known = self._known_terms[key] = tiers.terms(
                self._rungs,
                self._allowed(floor),
                share=self._classes[name].patience,
                budget_seconds=errand.budget_seconds,
                margin_seconds=self._margin,
            )
        return known

    def _filled(self, tier: int) -> list[Lane[Errand]]:
        """The lanes in which somebody waits who may use this model tier."""
        allowed = self._allowed_by_floor
        return [lane for lane in self._lanes.values() if lane.entries and tier < allowed[lane.floor]]

    def _serve_urgent(self) -> None:
        is_open = any(endpoint.is_open(self._now) for endpoint in self.endpoints[self._urgent_from :])
        if self._now < self._urgent_at and not is_open:
            return  # nobody is ready or hopeless before, and none of the tiers is free for which those wait who are
        self._urgent_at, self._urgent_from = math.inf, len(self.endpoints)
        for errand in list(self._urgent.entries):
            needed = {
                tier: self._needed(errand, tier)
                for tier in range(errand.next_tier, self._allowed(errand.lane[1]))
                if tier == errand.next_tier or tier not in errand.tried
            }
            # Who has joined since the pause began may not have the time for it.
            if self._now < errand.ready_at <= errand.deadline_at - min(needed.values(), default=math.inf):
                self._urgent_at = min(self._urgent_at, errand.ready_at)
                continue
            fits = [tier for tier, seconds in needed.items() if self._remaining(errand) >= seconds]
            free = next((tier for tier in fits if self.endpoints[tier].is_open(self._now)), None)
            if free is not None:
                self._urgent.remove(errand)
                self._start(errand, free)
            elif fits:
                self._urgent_at = min(self._urgent_at, errand.deadline_at - min(needed.values()))
                self._urgent_from = min(self._urgent_from, fits[0])
            else:
                self._urgent.remove(errand)
                self._give_up(errand)

    def _needed(self, errand: Errand, tier: int) -> float:
        """The time that must be left to call a tier again or next: the full tier keeps the next one's reserve."""
        return self._even[tier] if tier > 0 else self._terms(errand).edge

    def _end_hopeless(self) -> None:
        """Heads that no model tier can serve in time; one of them may be the probe of a tier that stands idle."""
        for lane in self._lanes.values():
            hopeless_by = self._now + self._hopeless_below[lane.floor]
            while lane.entries and lane.entries[0].deadline_at < hopeless_by:
                errand = lane.head
                self._take_out(errand)
                allowed = range(self._allowed(lane.floor))
                probe = next((tier for tier in allowed if self.endpoints[tier].is_worth_a_probe(self._now)), None)
                if probe is not None and self._remaining(errand) > self._margin:
                    self._start(errand, probe)
                else:
                    self._give_up(errand)

    def _start_full(self) -> None:
        while self._waiting and self.endpoints and self.endpoints[0].is_open(self._now):
            chosen = self._choose_full(self._filled(0))
            if chosen is None:
                probe_at = self.endpoints[0].probe_at(self._now)
                self._idle_until[0] = (
                    probe_at if probe_at > self._now else math.inf
                )  # due, but none of them has the time
                return
            self._take(chosen, 0, self._full_credits)

    def _choose_full(self, lanes: list[Lane[Errand]]) -> Errand | None:
        """The earliest deadline that is safe, unless another class has waited long and its weighted share is due."""
        willing: list[tuple[Errand, Lane[Errand]]] = []
        for lane in lanes:
            errand = tiers.candidate(lane, self._terms(lane.entries[0]), now=self._now)
            if errand is not None:
                willing.append((errand, lane))
        if not willing:
            return self._choose_probe(lanes)
        earliest = min((errand for errand, _ in willing), key=_deadline)
        if len(willing) == 1:
            return earliest
        charged = self._full_credits.charged
        ahead = charged(earliest.lane[0]) - tiers.FLOOR_SLACK * self._rungs[0].speed.mean
        overdue = [
            errand
            for errand, lane in willing
            if charged(lane.request_class) < ahead
            and lane.head.waited_seconds(self._now) > tiers.FLOOR_FROM * self._terms(lane.head).patience
        ]
        return min(overdue, key=lambda errand: charged(errand.lane[0]), default=earliest)

    def _choose_probe(self, lanes: list[Lane[Errand]]) -> Errand | None:
        """Nobody fits the full tier. If it stands idle, the one with the most time tries it, its reserve kept back."""
        if not lanes or not self.endpoints[0].is_worth_a_probe(self._now):
            return None
        best = max((lane.newest for lane in lanes), key=_deadline)
        return best if self._remaining(best) > self._terms(best).reserve else None

    def _start_lower(self, tier: int) -> None:
        while self._waiting and self._now >= self._idle_until[tier] and self.endpoints[tier].is_open(self._now):
            lanes = [lane for lane in self._filled(tier) if self._fits(lane.entries[0], tier)]
            chosen = self._choose_lower(lanes, tier)
            if chosen is None:
                return
            self._take(chosen, tier, self._lower_credits)

    def _choose_lower(self, lanes: list[Lane[Errand]], tier: int) -> Errand | None:
        """Who cannot wait any longer; else who has been refused for as long as its class is patient."""
        refused_from = {lane: self._refused_from(lane) for lane in lanes}
        refused = [lane for lane in lanes if refused_from[lane] < self._now]
        ease_ends_at = self._ease_ends_at(lanes, tier)
        if ease_ends_at <= self._now:
            pressed = min(lanes, key=lambda lane: lane.head.deadline_at)
            if pressed not in refused or self._remaining(pressed.head) <= tiers.REFUSED_AT_EASE_SECONDS:
                return pressed.head
        if refused:
            return min(refused, key=lambda lane: self._lower_credits.charged(lane.request_class)).head
        self._idle_until[tier] = min(ease_ends_at, *refused_from.values(), math.inf)
        return None

    def _reconsider(self) -> None:
        """Whom a lower tier takes may be another for all who wait."""
        self._idle_until = [-math.inf] * len(self.endpoints)

    def _follow(self, lane: Lane[Errand]) -> None:
        """Somebody came into a lane or left it: of the others nothing has changed but their spare time."""
        refused_from = self._refused_from(lane) if lane.entries and self._allowed(lane.floor) else math.inf
        for tier in range(1, len(self.endpoints)):
            self._idle_until[tier] = min(self._idle_until[tier], self._at_ease_until[tier], refused_from)

    def _spend_ease(self, errand: Errand) -> None:
        """One more waits: the others have its service less to spare, and it may have less than they."""
        for tier, rung in enumerate(self._rungs):
            each = SAFETY * rung.seconds_each
            own = errand.deadline_at - rung.speed.q99 - self._margin - self._waiting * each
            self._at_ease_until[tier] = min(self._at_ease_until[tier] - each, own)

    def _ease_ends_at(self, lanes: list[Lane[Errand]], tier: int) -> float:
        """Until when waiting makes this tier late for nobody. Looked at again only when the spare time is used up."""
        if self._now < self._at_ease_until[tier]:
            return self._at_ease_until[tier]
        rung = self._rungs[tier]
        spare = spare_seconds(
            lanes,
            now=self._now,
            reserve_seconds=rung.speed.q99 + self._margin,
            seconds_each=rung.seconds_each,
        )
        # Those behind a head that this tier cannot serve were not asked: they may have less to spare.
        ends_at = self._now + spare
        self._at_ease_until[tier] = ends_at if len(lanes) == len(self._filled(tier)) else -math.inf
        return ends_at

    def _refused_from(self, lane: Lane[Errand]) -> float:
        """After which instant the first of a lane may go to a lower tier; it moves only with the lane and the latencies."""
        head = lane.entries[0]
        known = self._terms(head)
        if len(lane.entries) + self._backlog[lane.request_class] > known.limit:
            return -math.inf
        return min(head.granted_at + known.patience, head.deadline_at - known.edge)

    def _take_out(self, errand: Errand) -> None:
        lane = self._lanes[errand.lane]
        lane.remove(errand)
        self._waiting -= 1
        self._follow(lane)

    def _take(self, errand: Errand, tier: int, ledger: Credits) -> None:
        self._take_out(errand)
        self._charge(errand, tier, ledger)

    def _charge(self, errand: Errand, tier: int, ledger: Credits) -> None:
        ledger.charge(errand.lane[0], self._rungs[tier].speed.mean)
        self._start(errand, tier)

    def _give_up(self, errand: Errand) -> None:
        self._note_passed_over(errand)
        self._next.append(GiveUp(errand))

    def _note_passed_over(self, errand: Errand) -> None:
        """Why the full tier did not take it, unless a call has said why."""
        if errand.reason is Reason.NONE:
            is_stopped = bool(self.endpoints) and self.endpoints[0].is_stopped
            errand.reason = Reason.BREAKER_OPEN if is_stopped else errand.passed_over_reason

    def _start(self, errand: Errand, tier: int) -> None:
        if tier > 0:
            self._note_passed_over(errand)
        self._next.append(self._begin(errand, tier))

    def _begin(self, errand: Errand, tier: int) -> Start:
        endpoint = self.endpoints[tier]
        if tier not in errand.tried:
            endpoint.tried(errand.lane[0], is_redelivery=errand.is_redelivery, now=self._now)
        errand.tried[tier] = endpoint.region
        window_seconds = self.window_seconds(tier, errand.lane[1], errand.last_deadline_at - self._now)
        return Start(errand, tier, window_seconds, endpoint.start(next(self._call_ids), now=self._now), self)


def _deadline(errand: Errand) -> float:
    return errand.deadline_at
