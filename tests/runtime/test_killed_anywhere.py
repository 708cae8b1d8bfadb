"""A worker killed at every await point: whatever it was about to do, nothing is lost and nothing is wrong.

One worker starts, takes requests of every kind, hears of a second worker while calls are under way, takes more, and drains. The
same is done again and again, each time with the worker killed one step later, from its first step to the one after its last
(``killable``). The second worker, which nobody tells, has to bring everything to its end.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextvars import copy_context
from typing import TypeAlias, cast

import pytest

from failsoft import Call, Output, Pipeline
from failsoft.catalogue import Catalogue, parse, requests_topic
from failsoft.policy.outcome import Outcome
from failsoft.policy.progress import Progress
from failsoft.policy.request import Partition
from failsoft.simulation.world import Answer, Entry
from failsoft.testing.memory import MemoryBroker, MemoryLink, MemoryOutbox, MemoryResultReader, MemoryWorker
from failsoft.testing.virtual_clock import VirtualClock
from failsoft.wire import Envelope, Identity, Record, RequestLine
from failsoft.wire.body import encode_request
from failsoft.wire.envelope import encode_request_headers
from failsoft.wire.identity import result_id
from failsoft.wire.result import Result, decode_result
from tests.runtime.killable import KillableLoop, is_mortal

NEVER = 1_000_000
LINK_SECONDS = 0.01
PRODUCER_SECONDS = 0.1
"""Results have a connection of their own, and a slower one, so that a commit can overtake one that it must wait for."""
CATALOGUE: Catalogue = parse("""
version: 1
defaults: {partitions: 3, replication: 1, config: {message.timestamp.type: LogAppendTime}}
classes:
  interactive: {weight: 8, deadline: 60s, deadline_max: 600s}
  batch:       {weight: 1, deadline: 1h, deadline_max: 2h}
pipelines: {demo: [work]}
topics:
  requests:     {config: {retention.ms: 7d}}
  results:      {config: {retention.ms: 7d}}
  dead-letters: {config: {retention.ms: 14d}}
reply_topics: [answers-for-app]
""")
Commit: TypeAlias = Callable[[str, int, Mapping[Partition, Progress]], Answer]
PARTS = 4
EQUAL = 1_000
"""What the equal requests ask."""
KINDS = ("plain", "equal", "broken", "malformed", "late", "replied")
"""Of each a request: an ordinary one; one that asks what others ask; one whose model fails, so that a lower tier serves; one that
is no request; one whose deadline has passed; one that wants its result in a second place."""


class Story:
    """What happens, up to the steps that the first worker may take."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.broker = MemoryBroker(CATALOGUE, self.clock)
        self.outbox = MemoryOutbox(self.broker)
        self.calls: Counter[tuple[str, int]] = Counter()
        self.sent: dict[str, str] = {}
        self.workers: list[MemoryWorker] = []
        self.ahead: list[str] = []
        self._coordinator = self.broker.group("failsoft.demo.work", CATALOGUE.stage_topics("demo", "work"))
        self._coordinator.commit = self._watched(self._coordinator.commit)  # type: ignore[method-assign, assignment]  # to look on

    def worker(self, name: str) -> MemoryWorker:
        pipeline = Pipeline("demo")
        stage = pipeline.stage("work")

        @stage.tier("large", limit=4, expect="200ms")
        async def large(call: Call) -> Output:
            return await self.answer(call, 0.2)

        @stage.tier("small", limit=4, expect="50ms")
        async def small(call: Call) -> Output:
            return await self.answer(call, 0.05)

        worker = MemoryWorker(self.broker, stage, catalogue=CATALOGUE, name=name)
        worker.link.seconds = LINK_SECONDS
        worker.outbox.link = MemoryLink(PRODUCER_SECONDS)
        self.workers.append(worker)
        return worker

    async def answer(self, call: Call, seconds: float) -> Output:
        self.calls[call.tier, call.body["n"]] += 1
        await asyncio.sleep(seconds)
        if call.body["kind"] == "broken" and call.tier == "large":
            raise ConnectionResetError
        return Output({"n": call.body["n"], "tier": call.tier})

    async def send(self, kind: str, request_class: str) -> None:
        id_ = str(len(self.sent))
        self.sent[id_] = kind
        n = EQUAL if kind == "equal" else int(id_)
        headers = encode_request_headers(
            Envelope(Identity("/test", id_), reply_to="answers-for-app" if kind == "replied" else None),
            budget_seconds=0.001 if kind == "late" else 600.0,
            sent_at=self.clock.wall(),
        )
        line = encode_request(RequestLine(id_, "/v1/x", {"n": n, "kind": kind, "temperature": 0}))
        value = b"[1, 2" if kind == "malformed" else line
        key = b"equal" if kind == "equal" else result_id(Identity("/test", id_)).encode()
        topic = requests_topic("demo", "work", request_class)
        await self.outbox.send(topic, key=key, value=value, headers=headers)

    async def send_some(self) -> None:
        for kind in KINDS:
            for request_class in CATALOGUE.classes:
                await self.send(kind, request_class)

    async def happens(self) -> None:
        """All of it. Nothing here waits for the first worker, which may be dead by any of these lines."""
        loop = asyncio.get_running_loop()
        mortal = copy_context()
        mortal.run(lambda: is_mortal.set(True))
        first = mortal.run(self.worker, "first")
        await self.send_some()
        starting = loop.create_task(first.start(), context=mortal)
        await asyncio.sleep(0.5)
        await self.send_some()
        await asyncio.sleep(0.15)
        await self.worker("second").start()
        await asyncio.sleep(1.5)
        await self.send_some()
        await asyncio.sleep(0.1)
        stopping = loop.create_task(first.stop(), context=mortal)
        await asyncio.sleep(20)  # the session ends after 6 s, then the second one owns everything
        assert cast("KillableLoop", loop).is_dead or (starting.done() and stopping.done())

    # What is left of it.

    def _entries(self, topic: str) -> list[Entry[Record]]:
        return [entry for log in self.broker.topic(topic).logs for entry in log.read(0, log.end)]

    @property
    def repeats(self) -> int:
        """Results in the log beyond one for each request."""
        return len(self._entries("demo.results")) - len(self.sent)

    async def visible(self) -> dict[str, Result]:
        reader = MemoryResultReader(self.broker, "demo.results", start="beginning", until_end=True)
        await reader.start()
        seen = [decode_result(record.headers, record.value) async for record in reader.records()]
        assert len({result.request.id for result in seen}) == len(seen)
        return {result.request.id: result for result in seen}

    def _watched(self, commit: Commit) -> Commit:
        """Look at each commit: a request that it says is done must have its result in the log by then."""

        def watched(member: str, generation: int, marks: Mapping[Partition, Progress]) -> Answer:
            answer = commit(member, generation, marks)
            ended = {entry.key for entry in self._entries("demo.results")}
            for place in marks:
                for entry in self._coordinator.logs[place].read(0, self.committed(place)):
                    if result_id(_identity(entry)).encode() not in ended:
                        self.ahead.append(f"committed without a result: {place} {entry.offset}")
            return answer

        return watched

    def committed(self, place: Partition) -> int:
        return self._coordinator.group.committed.get(place, 0)

    def uncommitted(self) -> list[Partition]:
        return [place for place, log in self._coordinator.logs.items() if self.committed(place) != log.end]


def _identity(entry: Entry[Record]) -> Identity:
    assert entry.value is not None
    headers = dict(entry.value.headers)
    return Identity((headers["ce_source"] or b"").decode(), (headers["ce_id"] or b"").decode())


def is_right(id_: str, kind: str, result: Result) -> bool:
    """Whether a request of this kind may end like that."""
    match kind:
        case "malformed":
            return result.outcome is Outcome.INVALID
        case "late":
            return result.outcome is Outcome.EXPIRED
        case "broken":
            return (result.outcome, result.body) == (Outcome.OK, {"n": int(id_), "tier": "small"})
        case "equal":
            return (result.outcome, result.body) == (Outcome.OK, {"n": EQUAL, "tier": "large"})
        case _:
            return (result.outcome, result.body) == (Outcome.OK, {"n": int(id_), "tier": "large"})


@contextlib.contextmanager
def told(steps: int = NEVER) -> Iterator[tuple[Story, asyncio.Runner, KillableLoop]]:
    """Tell the story with the first worker killed after so many steps."""
    with asyncio.Runner(loop_factory=lambda: KillableLoop(steps)) as runner:
        loop, story = cast("KillableLoop", runner.get_loop()), runner.run(a_story())
        runner.run(story.happens())
        try:
            yield story, runner, loop
        finally:
            loop.bury()
            for worker in story.workers:
                runner.run(worker.close())
            runner.run(asyncio.sleep(1))  # what the dead one had begun ends by itself


async def a_story() -> Story:
    return Story()


def steps_of_a_whole_life() -> int:
    with told() as (_, _, loop):
        return NEVER - loop.steps_left


def test_without_a_kill_all_is_as_it_should_be():
    with told() as (story, runner, loop):
        assert not loop.is_dead
        assert check(story, runner.run(story.visible())) == []
        assert story.repeats <= 6, "only what was on its way when partitions moved may be there twice"


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_any_await_point_nothing_is_lost_and_nothing_is_wrong(part):
    """One step more each time, so that every await has been the last. The parts only keep each test short."""
    whole = steps_of_a_whole_life()
    assert whole > 300, "the story has become too short to say anything"
    for steps in range(part, whole, PARTS):
        with told(steps) as (story, runner, loop):
            assert loop.is_dead
            assert not (wrong := check(story, runner.run(story.visible()))), f"killed after {steps} steps: {wrong}"


def check(story: Story, visible: dict[str, Result]) -> list[str]:
    """What is not as promised."""
    lost = [f"lost: {id_} ({kind})" for id_, kind in story.sent.items() if id_ not in visible]
    wrong = [
        f"wrong: {result.request.id} ({story.sent[result.request.id]}): {result.outcome} {result.body}"
        for result in visible.values()
        if not is_right(result.request.id, story.sent[result.request.id], result)
    ]
    left = [f"not committed to its end: {place}" for place in story.uncommitted()]
    most = Counter(
        {("large", EQUAL): 6}
    )  # a wave's two requests share one call; there are three waves, and two workers
    often = [f"called {times} times: {call}" for call, times in story.calls.items() if times > (most[call] or 2)]
    never = [n for _, n in story.calls if n != EQUAL and story.sent[str(n)] in {"malformed", "late"}]
    return [*lost, *wrong, *left, *story.ahead, *often, *(f"called in vain: {n}" for n in never)]
