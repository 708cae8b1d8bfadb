"""Drives one stage machine in virtual time, as the asyncio shell does in real time: events in, actions carried out.

It is the twin of ``runtime/runner.py`` and ``runtime/calls.py``: a call is cut at its window and reported at once, its permit
comes back when the endpoint has let go of it, and one timer stands for the earliest instant at which time alone changes a
decision. What becomes of records, results and offsets is its owner's business: a pool without Kafka, or a host in the
simulated one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, assert_never

from failsoft.policy.actions import (
    Action,
    AnnounceRegister,
    CancelCall,
    Commit,
    DropAnswers,
    Forget,
    Publish,
    Release,
    StartCall,
    StoreAnswer,
)
from failsoft.policy.events import Arrived, CallFinished, Event, SlotFreed, Tick, Verdict
from failsoft.policy.request import RecordId
from failsoft.policy.settings import StageSettings
from failsoft.policy.stage import StageMachine
from failsoft.simulation.bodies import Bodies
from failsoft.simulation.endpoints import Condition, ModelEndpoint, Service
from failsoft.simulation.engine import Engine


class Owner(Protocol):
    """Who is told what the machine wants done beside calls."""

    def publish(self, action: Publish) -> None:
        """Publish this end; answer with ``Published`` when it is acknowledged."""

    def commit(self, action: Commit) -> None:
        """Commit these offsets."""

    def forget(self, record: RecordId) -> None:
        """Drop what is kept for this record."""

    def announce(self, action: AnnounceRegister) -> None:
        """Tell all workers, this one too."""


class Watch(Protocol):
    """Who looks on: invariants and tallies. They change nothing."""

    def call_started(self, shell: "Shell", action: StartCall) -> None:
        """A call begins now."""

    def call_ended(self, shell: "Shell", call: "CallUnderWay", verdict: Verdict) -> None:
        """A call ended or was cut now."""

    def decided(self, shell: "Shell", action: Publish) -> None:
        """The machine has decided how a record ends; its result is on the way."""

    def handled(self, shell: "Shell", event: Event) -> None:
        """The machine has dealt with an event, and its actions are under way."""


class CallUnderWay:
    """One call from start to the endpoint's last word."""

    __slots__ = ("action", "is_reported", "service", "started_at")

    def __init__(self, action: StartCall, started_at: float) -> None:
        self.action = action
        self.started_at = started_at
        self.service: Service | None = None
        self.is_reported = False


class Shell:
    """One worker of one stage.

    Args:
        engine: virtual time.
        settings: of the stage.
        models: tier -> what it calls; of one that stands in several regions, ``<tier>@<region>``.
        owner: of the records.
        watches: who looks on.
        name: of the process, unlike any other's.
    """

    def __init__(
        self,
        engine: Engine,
        settings: StageSettings,
        models: Mapping[str, ModelEndpoint],
        *,
        owner: Owner,
        watches: Sequence[Watch],
        name: str = "worker",
    ) -> None:
        self.machine = StageMachine(settings, process=name)
        self.seen_as: Condition | None = None
        """How this worker sees every endpoint, where a fault lies on its way there."""
        self.bodies = Bodies()
        self.in_flight = dict.fromkeys(models, 0)
        self._places = _places(models)
        self.is_alive = True
        self.resumes_at = 0.0
        """Until then the process stands still: a stopped container, a long pause of the host."""
        self._engine = engine
        self._models = models
        self._owner = owner
        self._watches = watches
        self.name = name
        self.dies_in: int | None = None
        """After so many steps, each an action begun or a word to the broker, the process dies; None: it does not."""
        self._calls: dict[int, CallUnderWay] = {}
        self._wakes_at: float | None = None

    @property
    def now(self) -> float:
        """Virtual seconds."""
        return self._engine.now

    def feed(self, event: Event) -> None:
        """Tell the machine, and do what it says."""
        if not self.is_alive:
            return
        if isinstance(event, Arrived):
            self.bodies.arrived(event.record)
        for action in self.machine.handle(event, now=self._engine.now):
            if not self.step():
                return
            self._perform(action)
        for watch in self._watches:
            watch.handled(self, event)
        self._set_wakeup()

    def when_awake(self, call: Callable[..., None], *args: Any) -> None:
        """Do this now; if the process stands still, as soon as it does not; if it is dead, never."""
        if not self.is_alive:
            return
        if self._engine.now < self.resumes_at:
            self._engine.at(self.resumes_at, self.when_awake, call, *args)
        else:
            call(*args)

    def later(self, instant: float, call: Callable[..., None], *args: Any) -> None:
        """Set a timer of this process."""
        self._engine.at(instant, self.when_awake, call, *args)

    def step(self) -> bool:
        """Pass a point at which the process may be killed; False if it is dead."""
        if self.dies_in is not None:
            self.dies_in -= 1
            if self.dies_in < 0:
                self.die()
        return self.is_alive

    def die(self) -> None:
        """Stop in the middle of whatever it is: nothing more is done, and its connections close."""
        self.is_alive = False
        for call in self._calls.values():
            if call.service is not None and not call.is_reported:
                self._over(call, Verdict.TIMEOUT)
                self._models[self._name(call.action)].cut(call.service)
        self._calls.clear()

    def in_flight_of(self, tier: str) -> int:
        """How many calls of a tier it has in flight, in all regions."""
        return sum(self.in_flight[name] for name, _ in self._places[tier])

    def is_full(self, tier: str) -> bool:
        """Whether it has a call in flight for each of its permits of a tier, in one of the regions where that stands."""
        return any(self.in_flight[name] >= self.machine.permits_of(tier, region) for name, region in self._places[tier])

    def _name(self, action: StartCall) -> str:
        """Which model a call goes to; a world may have one for all regions of a tier."""
        regional = f"{action.tier}@{action.region}"
        return regional if regional in self._models else action.tier

    def _perform(self, action: Action) -> None:
        self.bodies.follow(action)
        match action:
            case StartCall():
                self._start_call(action)
            case CancelCall():
                self._cut(action.call_id)
            case Publish():
                for watch in self._watches:
                    watch.decided(self, action)
                self._owner.publish(action)
            case Forget():
                self._owner.forget(action.record)
            case Commit():
                self._owner.commit(action)
            case AnnounceRegister():
                self._owner.announce(action)
            case Release() | StoreAnswer() | DropAnswers():
                pass  # of bodies there is only who has one
            case _:
                assert_never(action)

    def _start_call(self, action: StartCall) -> None:
        call = self._calls[action.call_id] = CallUnderWay(action, self._engine.now)
        self.in_flight[self._name(action)] += 1
        for watch in self._watches:
            watch.call_started(self, action)
        call.service = self._models[self._name(action)].start(
            partial(self.when_awake, self._ended, action.call_id), seen_as=self.seen_as
        )
        self.later(action.window_ends_at, self._cut, action.call_id)

    def _ended(self, call_id: int, verdict: Verdict) -> None:
        """The endpoint is done with a call."""
        call = self._calls.pop(call_id, None)
        if call is None:
            return
        self.in_flight[self._name(call.action)] -= 1
        if call.is_reported:
            self.feed(SlotFreed(call_id))
        else:
            self._over(call, verdict)
            self.feed(CallFinished(call_id, verdict))

    def _cut(self, call_id: int) -> None:
        """The window has ended, or nobody waits any more."""
        call = self._calls.get(call_id)
        if call is None or call.is_reported or call.service is None:
            return
        call.is_reported = True
        self._over(call, Verdict.TIMEOUT)
        if self._models[self._name(call.action)].cut(call.service):
            self.later(self._engine.now, self._ended, call_id, Verdict.TIMEOUT)
        self.feed(CallFinished(call_id, Verdict.TIMEOUT, is_over=False))

    def _over(self, call: CallUnderWay, verdict: Verdict) -> None:
        for watch in self._watches:
            watch.call_ended(self, call, verdict)

    def _set_wakeup(self) -> None:
        """One timer; one that is not needed any more does nothing, as the asyncio shell cancels it."""
        at = self.machine.next_wakeup()
        if at is None:
            self._wakes_at = None
        elif self._wakes_at is None or at < self._wakes_at:
            self._wakes_at = at
            self.later(at, self._wake_up, at)

    def _wake_up(self, at: float) -> None:
        if self._wakes_at == at:
            self._wakes_at = None
            self.feed(Tick())


def _places(models: Iterable[str]) -> Mapping[str, Sequence[tuple[str, str | None]]]:
    """Tier -> the models behind it, each with its region; None: it stands for all of them."""
    found: dict[str, list[tuple[str, str | None]]] = {}
    for name in models:
        tier, _, region = name.partition("@")
        found.setdefault(tier, []).append((name, region or None))
    return found
