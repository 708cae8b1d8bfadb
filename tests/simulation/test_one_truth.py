"""The simulator predicts what production does: both shells make the same decisions at the same instants.

One side is the simulator's shell on its engine, the other the asyncio shell on a loop in virtual time, each with the production
machine. Both get the same arrivals, and models whose service times, refusals and hangs come from dice of the same seed. What the
machines say is then equal, action for action, and every instant in it to a millionth of a second.
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import astuple, replace
from functools import cache

import pytest

from failsoft import Busy, CachedAnswer, Call, Constant, EndpointFailed, Output, Pipeline
from failsoft.catalogue import Catalogue, parse
from failsoft.endpoints import CallableEndpoint
from failsoft.kafka import Fetched
from failsoft.pipeline import Stage
from failsoft.policy.actions import (
    Action,
    AnnounceRegister,
    CancelCall,
    Commit,
    Publish,
    Release,
    StartCall,
    StoreAnswer,
)
from failsoft.policy.events import Event
from failsoft.policy.outcome import Reason
from failsoft.policy.progress import Mark, Marks, Progress
from failsoft.policy.request import Partition, RecordId
from failsoft.policy.stage import StageMachine
from failsoft.runtime.metrics import Metrics
from failsoft.runtime.runner import StageRunner
from failsoft.simulation.endpoints import HANG_SECONDS, REFUSAL_SECONDS, WELL, Condition, ModelEndpoint
from failsoft.simulation.engine import Engine
from failsoft.simulation.latency_law import LatencyLaw, Lognormal
from failsoft.simulation.pool import Worker
from failsoft.simulation.report import Tally
from failsoft.simulation.workload import Ask, ClassLoad, Contents, Phase, poisson
from failsoft.testing.memory import MemoryBroker, MemoryOutbox
from failsoft.testing.virtual_clock import VirtualClock
from failsoft.testing.virtual_time import run_in_virtual_time
from failsoft.wire import RequestLine
from failsoft.wire.body import encode_request

SEEDS = range(60)
TOLERANCE_SECONDS = 1e-6
ROUNDING = 1e-9
"""A late shell that comes back a rounding error too early is told to come back at once, and again, and time stands still."""
CATALOGUE: Catalogue = parse("""
version: 1
defaults: {partitions: 1, replication: 1, config: {message.timestamp.type: LogAppendTime}}
classes:
  interactive: {weight: 8, deadline: 1s, deadline_max: 1s}
  standard:    {weight: 3, deadline: 3s, deadline_max: 3s}
  batch:       {weight: 1, deadline: 9s, deadline_max: 9s}
pipelines: {twin: [work]}
topics:
  requests:     {config: {retention.ms: 7d}}
  results:      {config: {retention.ms: 7d}}
  dead-letters: {config: {retention.ms: 14d}}
""")
MIX = tuple(
    ClassLoad(name, share, CATALOGUE.classes[name].deadline_seconds)
    for name, share in (("interactive", 0.3), ("standard", 0.4), ("batch", 0.3))
)
LAWS: Mapping[str, LatencyLaw] = {"full": Lognormal(0.2), "lower": Lognormal(0.04)}
LIMITS = {"full": 4, "lower": 4}
END_SECONDS = 20.0
ILL = Condition(error_share=0.1, busy_share=0.05)
SPELLS = {"full": ((1.0, 2.5, ILL), (3.0, 4.5, Condition(hangs=True))), "lower": ((2.0, 5.0, ILL),)}
"""Tier -> from when to when it is how."""


def arrivals(seed: int) -> list[Ask]:
    """Six seconds: as much as the full tier can do, then three times of it."""
    phases = [Phase(20, 0, 3), Phase(60, 3, 4), Phase(20, 4, 6)]
    contents = Contents(distinct=30 if are_shared(seed) else 0)
    return poisson(phases, MIX, random.Random(f"arrivals {seed}"), contents)


def are_shared(seed: int) -> bool:
    """Whether requests of equal content share executions and answers."""
    return seed % 3 == 0


def dice(seed: int, tier: str) -> random.Random:
    return random.Random(f"{tier} {seed}")


# What a machine has said.

Said = tuple[tuple[object, ...], tuple[float, ...]]
"""An action: what must be equal, and the instants and durations in it, the instant of the action first."""


def rounded(mark: Mark) -> Mark:
    """One shell's clock counts from an epoch, the other's from zero; the last digits of the sums differ."""
    newest_at = mark.progress.newest_at % 1_800_000_000.0
    return mark._replace(progress=replace(mark.progress, newest_at=round(newest_at, 4)))


def said(action: Action, now: float) -> Said | None:
    match action:
        case StartCall():
            exact = ("start", action.call_id, action.record, action.tier, action.execution)
            return exact, (now, action.window_ends_at, action.deadline_at)
        case CancelCall():
            return ("cancel", action.call_id), (now,)
        case Publish():
            parts = astuple(action.ending)
            seconds = tuple(part for part in parts if isinstance(part, float))
            words = tuple(part for part in parts if not isinstance(part, float))
            level = None if action.answer is None else action.answer.level
            shared = (action.leader, level, action.keeps_body)
            return ("publish", action.record, action.assignment, action.call_id, *shared, *words), (now, *seconds)
        case Release():
            return ("release", action.record), (now,)
        case StoreAnswer():
            return ("store", action.answer.name.level, action.call_id), (now,)
        case Commit():
            return ("commit", *sorted((place, rounded(mark)) for place, mark in action.marks.items())), (now,)
    return None


class Noted:
    """A machine whose words are written down; a wrong shell tells it the time too late."""

    def __init__(self, machine: StageMachine, *, late_seconds: float = 0.0) -> None:
        self._machine = machine
        self._late_seconds = late_seconds
        self.said: list[Said] = []

    def handle(self, event: Event, *, now: float) -> list[Action]:
        actions = self._machine.handle(event, now=max(0.0, now - self._late_seconds))
        self.said += [words for action in actions if (words := said(action, now)) is not None]
        return actions

    def next_wakeup(self) -> float | None:
        at = self._machine.next_wakeup()
        return None if at is None else at + self._late_seconds * (1 + ROUNDING)

    def __getattr__(self, name: str) -> object:
        return getattr(self._machine, name)


# The simulator's side.


class Mute(Worker):
    """A worker of the pool which, as the asyncio shell does so far, keeps its breakers' words to itself."""

    def announce(self, action: AnnounceRegister) -> None:
        pass


def simulated(seed: int) -> list[Said]:
    engine, stage = Engine(), a_stage({}, seed)
    settings = stage.settings(CATALOGUE)
    models = {tier: ModelEndpoint(engine, law, slots=LIMITS[tier], rng=dice(seed, tier)) for tier, law in LAWS.items()}
    for tier, spells in SPELLS.items():
        for begins_at, ends_at, condition in spells:
            engine.at(begins_at, models[tier].illnesses.append, condition)
            engine.at(ends_at, models[tier].illnesses.remove, condition)
    worker = Mute(engine, settings, models, name="worker", tally=Tally(), watches=(), pool=())
    noted = Noted(worker.shell.machine)
    worker.shell.machine = noted  # type: ignore[assignment]  # it answers to all that a machine does
    worker.own(settings, [0], 1)
    for ask in arrivals(seed):
        engine.at(ask.at, worker.take, ask, 0)
    engine.run(until=END_SECONDS)
    return noted.said


# The asyncio side.


class Model:
    """The simulator's endpoint as an async function: the same dice, thrown in the same order."""

    def __init__(self, tier: str, rng: random.Random) -> None:
        self._law, self._spells, self._rng = LAWS[tier], SPELLS[tier], rng
        self._in_service = 0

    async def __call__(self, call: Call) -> Output:
        now = asyncio.get_running_loop().time()
        condition = sum((ill for begins_at, ends_at, ill in self._spells if begins_at <= now < ends_at), WELL)
        if condition.error_share and self._rng.random() < condition.error_share:
            await asyncio.sleep(REFUSAL_SECONDS)
            raise EndpointFailed
        if condition.busy_share and self._rng.random() < condition.busy_share:
            await asyncio.sleep(REFUSAL_SECONDS)
            raise Busy
        self._in_service += 1
        try:
            if condition.hangs:
                await asyncio.sleep(HANG_SECONDS)
                raise EndpointFailed
            seconds = self._law.seconds(self._rng, self._in_service, slow=condition.slow, widen=condition.widen)
            await asyncio.sleep(seconds)
        finally:
            self._in_service -= 1
        return Output({})


class Direct:
    """An inbox without a log: the test hands the records over, and the group takes every commit."""

    async def start(self) -> None:
        pass

    async def stop(self, *, leave: bool = True) -> None:
        pass

    async def failed(self) -> None:
        await asyncio.Event().wait()

    async def commit(self, marks: Marks) -> frozenset[Partition]:
        return frozenset(marks)

    def wake(self, request_class: str) -> None:
        pass


def a_stage(models: Mapping[str, Model], seed: int) -> Stage:
    async def nothing(call: Call) -> Output:
        raise AssertionError

    stage = Pipeline("twin").stage("work", floor={"batch": 2})
    for tier, law in LAWS.items():
        called = CallableEndpoint(models.get(tier, nothing), limit=LIMITS[tier])
        stage.tier(tier, called, expect=law.typical_seconds(1))
    if are_shared(seed):
        stage.tier("known", CachedAnswer(ttl="100ms", revalidate="200ms", max_stale="1s"))
    stage.tier("canned", Constant({}))
    return stage


def fetched(ask: Ask, offset: int, now: float) -> Fetched:
    """A record without a deadline of its own: the wire tells instants in milliseconds only, and the class's is exact."""
    body = {} if ask.key is None else {"content": ask.content, "temperature": 0}
    value = encode_request(RequestLine(str(ask.number), "/v1/x", body))
    record = RecordId(ask.request_class, 0, offset)
    return Fetched(
        record=record,
        topic=f"twin.work.{ask.request_class}",
        assignment=1,
        timestamp=now,
        is_append_time=True,
        key=None,
        value=value,
        headers=(),
        size_bytes=len(value),
    )


async def lived(seed: int, *, late_seconds: float = 0.0) -> list[Said]:
    clock = VirtualClock()
    stage = a_stage({tier: Model(tier, dice(seed, tier)) for tier in LAWS}, seed)
    outbox = MemoryOutbox(MemoryBroker(CATALOGUE, clock))
    runner = StageRunner(stage, catalogue=CATALOGUE, outbox=outbox, clock=clock, metrics=Metrics(), process="worker")
    noted = Noted(runner.machine, late_seconds=late_seconds)
    runner.machine = noted  # type: ignore[assignment]  # it answers to all that a machine does
    await runner.start(Direct())
    runner.assigned({Partition(name, 0): Progress(0) for name in CATALOGUE.classes}, 1, 1.0)
    offsets = dict.fromkeys(CATALOGUE.classes, 0)

    def arrive(ask: Ask) -> None:
        runner.records([fetched(ask, offsets[ask.request_class], clock.wall())])
        offsets[ask.request_class] += 1

    loop = asyncio.get_running_loop()
    for ask in arrivals(seed):
        loop.call_at(ask.at, arrive, ask)
    await asyncio.sleep(END_SECONDS)
    await runner.close()
    return noted.said


@cache
def both(seed: int) -> tuple[list[Said], list[Said]]:
    return simulated(seed), run_in_virtual_time(lived(seed))


def first_difference(predicted: list[Said], actual: list[Said]) -> str:
    """Where two histories part, as words; empty if they do not."""
    for number, (one, other) in enumerate(zip(predicted, actual, strict=False)):
        if one[0] != other[0] or one[1] != pytest.approx(other[1], rel=0, abs=TOLERANCE_SECONDS):
            return f"{number}: predicted {one}, came {other}"
    return "" if len(predicted) == len(actual) else f"predicted {len(predicted)} actions, came {len(actual)}"


@pytest.mark.parametrize("seed", SEEDS)
def test_both_shells_decide_the_same_at_the_same_instants(seed):
    predicted, actual = both(seed)
    assert first_difference(predicted, actual) == ""


def test_the_histories_hold_what_they_are_to_compare():
    """A comparison of runs in which nothing happens would prove nothing."""
    histories = [both(seed)[0] for seed in SEEDS]
    kinds = [exact for history in histories for exact, _ in history]
    reasons = {word for exact in kinds for word in exact if isinstance(word, Reason)}
    assert reasons >= {
        Reason.NONE,
        Reason.QUEUE_LONG,
        Reason.ENDPOINT_ERROR,
        Reason.ENDPOINT_TIMEOUT,
        Reason.ENDPOINT_BACKPRESSURE,
    }
    assert {"release", "store"} <= {exact[0] for exact in kinds}
    assert sum(exact[0] == "publish" and exact[4] is not None for exact in kinds) > len(SEEDS)
    for kind in ("start", "publish", "commit"):
        assert sum(exact[0] == kind for exact in kinds) > 5 * len(SEEDS)
    assert all(
        sum(exact[0] == "publish" for exact, _ in history) == len(arrivals(seed))
        for seed, history in enumerate(histories)
    )


def test_a_shell_that_tells_the_time_late_is_caught():
    assert first_difference(both(1)[0], run_in_virtual_time(lived(1, late_seconds=0.2))) != ""
