"""Eight workers of one stage share a breaker through the log: on the broker in memory, in virtual time."""

import asyncio
import itertools
import math
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from failsoft import Call, Constant, Output, Pipeline
from failsoft.catalogue import Catalogue, parse, requests_topic
from failsoft.endpoints import EndpointFailed
from failsoft.kafka import ViewRecord
from failsoft.policy.actions import AnnounceRegister
from failsoft.policy.breaker_control import Force
from failsoft.policy.breaker_states import State
from failsoft.policy.call_counts import Counts
from failsoft.policy.events import ControlSeen, Event, RegisterSeen, RegistersSeen, Tick
from failsoft.policy.register import Phase, Register, Word
from failsoft.runtime.announcer import LEAVE_SECONDS, SEND_SECONDS, Announcer, Said
from failsoft.runtime.breaker_news import TICK_SECONDS, TRUSTED_SECONDS, BreakerNews, Heard, SharedClock
from failsoft.runtime.metrics import Metrics
from failsoft.testing.memory import MemoryBroker, MemoryLink, MemoryOutbox, MemoryWorker
from failsoft.testing.virtual_clock import VirtualClock
from failsoft.testing.virtual_time import run_in_virtual_time
from failsoft.wire import Envelope, ForeignHeaders, Identity, Record, RequestLine
from failsoft.wire.body import encode_request
from failsoft.wire.control import BreakerControl, encode_control
from failsoft.wire.envelope import encode_request_headers
from failsoft.wire.register import decode_register, encode_register

WORKERS = 8
BREAKER = "answer/large"
TEXT = """
version: 1
defaults: {partitions: 8, replication: 1, config: {message.timestamp.type: LogAppendTime}}
classes: {interactive: {weight: 8, deadline: 5s, deadline_max: 60s}}
pipelines: {support: [answer]}
topics:
  requests:     {config: {retention.ms: 7d}}
  results:      {config: {retention.ms: 7d}}
  dead-letters: {config: {retention.ms: 14d}}
  breakers:     {partitions: 1, config: {cleanup.policy: "compact,delete"}}
  controls:     {partitions: 1, config: {cleanup.policy: compact}}
"""
CATALOGUE: Catalogue = parse(TEXT)
ALONE: Catalogue = parse("\n".join(line for line in TEXT.splitlines() if "compact" not in line))


@dataclass(frozen=True)
class Made:
    """One call."""

    at: float
    worker: str
    failed: bool


class Fleet:
    """A broker, workers with a partition each, and a model whose calls fail as often as is said."""

    def __init__(self, catalogue: Catalogue = CATALOGUE) -> None:
        self.clock = VirtualClock()
        self.broker = MemoryBroker(catalogue, self.clock)
        self.workers: dict[str, MemoryWorker] = {}
        self.calls: list[Made] = []
        self.failing = 0.0
        self.cut_off: set[str] = set()
        self._catalogue = catalogue
        self._rng = random.Random(7)
        self._outbox = MemoryOutbox(self.broker)
        self._numbers = itertools.count()

    async def start(self, count: int = WORKERS) -> None:
        for _ in range(count):
            name = f"worker-{next(self._numbers)}"
            self.workers[name] = MemoryWorker(self.broker, self._stage(name), catalogue=self._catalogue, name=name)
            await self.workers[name].start()
        await asyncio.sleep(10)

    def _stage(self, name: str):
        stage = Pipeline("support").stage("answer")

        async def large(call: Call) -> Output:
            failed = name in self.cut_off or self._rng.random() < self.failing
            await asyncio.sleep(0.1)
            self.calls.append(Made(self.clock.monotonic(), name, failed))
            if failed:
                raise EndpointFailed("down")
            return Output({})

        stage.tier("large", expect="100ms", limit=64)(large)
        stage.tier("sorry", Constant({}))
        return stage

    @asynccontextmanager
    async def traffic(self) -> AsyncIterator[None]:
        """One request a second for each worker, as long as the block takes."""
        sending = asyncio.create_task(self._send_forever())
        try:
            yield
        finally:
            sending.cancel()

    async def _send_forever(self) -> None:
        topic = requests_topic("support", "answer", "interactive")
        for number in itertools.count():
            identity = Identity("/test", str(number))
            headers = encode_request_headers(Envelope(identity), budget_seconds=5.0, sent_at=self.clock.wall())
            value = encode_request(RequestLine(identity.id, "/v1/x", {"n": number}))
            await self._outbox.send(topic, key=b"k", value=value, headers=headers, partition=number % WORKERS)
            await asyncio.sleep(1 / WORKERS)

    async def say(self, force: Force, *, seconds: float | None = None, why: str = "a drill") -> None:
        until = None if seconds is None else self.clock.wall() + seconds
        record = encode_control(BreakerControl(BREAKER, force, "ada", why, until))
        await self._outbox.send("support.controls", key=record.key, value=record.value, headers=record.headers)

    def states(self) -> Counter[State]:
        return Counter(worker.runner.machine.conditions["large"].state for worker in self.workers.values())

    def failed_since(self, at: float) -> list[Made]:
        return [call for call in self.calls if call.at >= at and call.failed]

    def first_possible_at(self) -> float:
        """When somebody who saw every call could first have opened it: half of twenty calls or more within 30 s have failed."""
        for n in range(1, len(self.calls) + 1):
            at = self.calls[n - 1].at
            window = [call.failed for call in self.calls[:n] if call.at > at - 30]
            if len(window) >= 20 and 2 * sum(window) >= len(window):
                return at
        return math.inf

    def epoch(self) -> int:
        return max(register.word.epoch for register in self.registers().values())

    def registers(self) -> dict[str, Register]:
        """What each process has said last, if it has not taken it back."""
        found = {}
        for entry in self.broker.topic("support.breakers").logs[0].read(0, 100_000):
            assert entry.value is not None
            said = decode_register(entry.value.key, entry.value.value, entry.value.headers)
            found[said.process] = said.register
        return {process: register for process, register in found.items() if register is not None}

    async def kill(self, name: str) -> None:
        await self.workers.pop(name).kill()

    async def close(self) -> None:
        await asyncio.gather(*(worker.close() for worker in self.workers.values()))


def in_fleet(catalogue: Catalogue = CATALOGUE) -> Callable[[Callable[[Fleet], Awaitable[None]]], Callable[[], None]]:
    def decorate(test: Callable[[Fleet], Awaitable[None]]) -> Callable[[], None]:
        def run() -> None:
            async def whole() -> None:
                fleet = Fleet(catalogue)
                try:
                    await test(fleet)
                finally:
                    await fleet.close()

            run_in_virtual_time(whole())

        run.__name__ = test.__name__
        return run

    return decorate


async def until(condition: Callable[[], object], seconds: float) -> float:
    """Wait in virtual time; return how long it took."""
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)
    return asyncio.get_running_loop().time() - began


@pytest.mark.parametrize("good_seconds", [0, 10, 60])
def test_it_is_open_everywhere_within_three_seconds_of_the_first_possible_decision_and_thirty_failed_calls(
    good_seconds,
):
    @in_fleet()
    async def test(fleet: Fleet) -> None:
        await fleet.start()
        async with fleet.traffic():
            await asyncio.sleep(good_seconds)
            fleet.failing = 0.9
            await until(lambda: fleet.states() == {State.OPEN: WORKERS}, 60)
            possible_at = fleet.first_possible_at()
            assert fleet.clock.monotonic() - possible_at <= 3.0
            assert len(fleet.failed_since(possible_at)) <= 30
            assert len(fleet.failed_since(0.0)) <= 30 or good_seconds, (
                "what went well before counts in a window of 30 s"
            )

    test()


@in_fleet()
async def test_it_closes_again_within_the_open_time_and_ten_seconds_and_by_a_ramp(fleet):
    await fleet.start()
    async with fleet.traffic():
        fleet.failing = 0.9
        await until(lambda: fleet.states() == {State.OPEN: WORKERS}, 60)
        fleet.failing = 0.0
        wait = max(register.word.open_seconds for register in fleet.registers().values())
        await until(lambda: fleet.states() == {State.CLOSED: WORKERS}, wait + 10)
        share = {name: worker.runner.machine.permits["large"][1] for name, worker in fleet.workers.items()}
        assert all(count == 8 for count in share.values())
        endpoint = next(iter(fleet.workers.values())).runner.machine._endpoints[0]
        assert not endpoint.breaker._ramp.is_over(now=fleet.clock.monotonic())
        await asyncio.sleep(31)
        assert endpoint.breaker._ramp.is_over(now=fleet.clock.monotonic())


@in_fleet()
async def test_a_worker_whose_own_network_is_cut_opens_for_itself_and_for_no_other(fleet):
    await fleet.start()
    [bad, *_] = fleet.workers
    async with fleet.traffic():
        await asyncio.sleep(30)
        fleet.cut_off = {bad}
        for _ in range(120):
            await asyncio.sleep(1)
            others = Counter(
                worker.runner.machine.conditions["large"].state for name, worker in fleet.workers.items() if name != bad
            )
            assert others == {State.CLOSED: WORKERS - 1}
        assert fleet.workers[bad].runner.machine.conditions["large"].trips > 0


@in_fleet()
async def test_the_worker_that_opened_it_dies_and_the_others_keep_it_open_and_probe_in_its_place(fleet):
    await fleet.start()
    async with fleet.traffic():
        fleet.failing = 0.9
        await until(lambda: fleet.states() == {State.OPEN: WORKERS}, 60)
        said = fleet.registers()
        opener = max(said, key=lambda name: (said[name].word.order, said[name].since_seconds))
        epoch = fleet.epoch()
        await fleet.kill(opener)
        fleet.failing, before = 0.0, len(fleet.calls)
        await asyncio.sleep(0.5)
        assert fleet.states() == {State.OPEN: WORKERS - 1}
        assert len(fleet.calls) == before
        await until(lambda: fleet.states() == {State.CLOSED: WORKERS - 1}, 60)
        assert fleet.epoch() == epoch, "probed, not opened again"


@in_fleet()
async def test_all_die_and_start_again_while_it_is_open_and_traffic_resumes_within_the_open_time(fleet):
    await fleet.start()
    async with fleet.traffic():
        fleet.failing = 0.9
        await until(lambda: fleet.states() == {State.OPEN: WORKERS}, 60)
        epoch = fleet.epoch()
        wait = max(register.word.open_seconds for register in fleet.registers().values())
        opened_at = fleet.clock.monotonic()
        for name in list(fleet.workers):
            await fleet.kill(name)
        fleet.failing, before = 0.0, len(fleet.calls)
        for name in [f"again-{n}" for n in range(WORKERS)]:
            fleet.workers[name] = MemoryWorker(fleet.broker, fleet._stage(name), catalogue=CATALOGUE, name=name)
            await fleet.workers[name].start()
        assert fleet.states() == {State.OPEN: WORKERS}, "they know of it from the log"
        await until(lambda: len(fleet.calls) > before, 30)
        assert fleet.clock.monotonic() - opened_at <= max(wait, 7.0) + 1.5, "or the group's session, if that is longer"
        await until(lambda: fleet.states() == {State.CLOSED: WORKERS}, 60)
        assert fleet.epoch() == epoch


@in_fleet()
async def test_an_operator_holds_a_breaker_open_at_all_workers_until_the_word_ends(fleet):
    await fleet.start()
    async with fleet.traffic():
        await asyncio.sleep(10)
        await fleet.say(Force.OPEN, seconds=20)
        await asyncio.sleep(1)
        assert fleet.states() == {State.FORCED_OPEN: WORKERS}
        before = len(fleet.calls)
        await asyncio.sleep(18)
        assert len(fleet.calls) == before
        await asyncio.sleep(4)
        assert fleet.states() == {State.CLOSED: WORKERS}
        assert len(fleet.calls) > before


@in_fleet()
async def test_an_operator_keeps_a_breaker_from_opening_and_takes_that_back(fleet):
    await fleet.start()
    async with fleet.traffic():
        await fleet.say(Force.CLOSED, seconds=3600)
        await asyncio.sleep(1)
        fleet.failing = 1.0
        await asyncio.sleep(60)
        assert fleet.states() == {State.METRICS_ONLY: WORKERS}
        await fleet.say(Force.AUTO)
        await until(lambda: fleet.states()[State.OPEN] == WORKERS, 60)


@in_fleet()
async def test_a_worker_that_starts_later_obeys_a_word_that_was_said_before(fleet):
    await fleet.say(Force.OPEN, seconds=3600)
    await asyncio.sleep(100)
    await fleet.start(1)
    assert fleet.states() == {State.FORCED_OPEN: 1}


@in_fleet()
async def test_a_worker_that_starts_after_a_word_has_ended_does_not_obey_it(fleet):
    await fleet.say(Force.OPEN, seconds=50)
    await asyncio.sleep(100)
    await fleet.start(1)
    assert fleet.states() == {State.CLOSED: 1}


@in_fleet(ALONE)
async def test_without_topics_to_share_in_each_worker_goes_by_its_own_counts(fleet):
    await fleet.start()
    async with fleet.traffic():
        fleet.failing = 1.0
        await asyncio.sleep(60)
        assert fleet.states()[State.OPEN] + fleet.states()[State.HALF_OPEN] == WORKERS
        assert "support.breakers" not in fleet.broker.topics


# What is heard.


def record(
    key: bytes | None, value: bytes | None, headers: ForeignHeaders = (), age_seconds: float = 0.0
) -> ViewRecord:
    filled = tuple((name, said or b"") for name, said in headers)
    return ViewRecord(0, 0, key, value, filled, 1000.0, age_seconds)


def of(said: Record, age_seconds: float = 0.0) -> ViewRecord:
    return record(said.key, said.value, said.headers, age_seconds)


class Desk:
    """News with nothing round it."""

    def __init__(self, *, uncertainty: float = 0.0) -> None:
        self.metrics = Metrics()
        clock = SharedClock(lambda: 50.0, lambda: 2000.0, lambda: uncertainty)
        self.news = BreakerNews({"answer": None}, clock=clock, heard=self.metrics.breaker_records_heard)
        self.heard: list[Event] = []
        self.news.tell("answer", self.heard.append)

    def count(self, kind: str, fate: Heard) -> float | None:
        return self.metrics.registry.get_sample_value(
            "failsoft_breaker_records_heard_total", {"kind": kind, "fate": fate.value}
        )


OPEN = Register(Word(1, Phase.OPEN, 60.0))


def test_registers_come_with_their_age_and_many_of_them_at_once():
    desk = Desk()
    desk.news.registers([of(encode_register(BREAKER, "a", OPEN), 12.0)])
    desk.news.registers([of(encode_register(BREAKER, name, OPEN)) for name in "bc"])
    assert desk.heard[1:] == [
        RegistersSeen((RegisterSeen(BREAKER, "a", OPEN, age_seconds=12.0),)),
        RegistersSeen((RegisterSeen(BREAKER, "b", OPEN), RegisterSeen(BREAKER, "c", OPEN))),
    ]


def test_where_the_broker_s_clock_is_not_known_a_register_counts_as_new():
    desk = Desk(uncertainty=2 * TRUSTED_SECONDS)
    desk.news.registers([of(encode_register(BREAKER, "a", OPEN), 12.0)])
    assert desk.heard[1:] == [RegistersSeen((RegisterSeen(BREAKER, "a", OPEN, age_seconds=0.0),))]


def test_what_cannot_be_read_is_counted_and_silences_nobody():
    desk = Desk()
    desk.news.registers([record(b"x", b"{"), of(encode_register(BREAKER, "a", OPEN)), record(None, None)])
    desk.news.controls([record(b"x", b"{", encode_control(BreakerControl(BREAKER, Force.AUTO, "", "", None)).headers)])
    assert desk.heard[1:] == [RegistersSeen((RegisterSeen(BREAKER, "a", OPEN),))]
    assert (desk.count("register", Heard.MALFORMED), desk.count("register", Heard.TAKEN)) == (2, 1)
    assert desk.count("control", Heard.MALFORMED) == 1


def test_what_concerns_another_stage_or_is_another_word_is_left_alone():
    desk = Desk()
    desk.news.registers([of(encode_register("other/large", "a", OPEN))])
    desk.news.controls(
        [of(encode_control(BreakerControl("other/large", Force.AUTO, "", "", None))), record(b"route", b"{}")]
    )
    assert desk.heard[1:] == []
    assert (desk.count("register", Heard.FOREIGN), desk.count("control", Heard.FOREIGN)) == (1, 2)


def test_an_operator_s_word_ends_on_this_worker_s_clock_when_it_ends_on_the_broker_s():
    desk = Desk()
    desk.news.controls([of(encode_control(BreakerControl(BREAKER, Force.OPEN, "ada", "", 2030.0)))])
    [heard] = desk.heard[1:]
    assert isinstance(heard, ControlSeen)
    assert (heard.control.force, heard.control.said_at, heard.control.ends_at) == (Force.OPEN, 1000.0, 80.0)


def test_what_was_heard_before_a_stage_is_there_is_kept_for_it():
    metrics = Metrics()
    clock = SharedClock(float, float, float)
    news = BreakerNews({"answer": None}, clock=clock, heard=metrics.breaker_records_heard)
    for name in "ab":
        news.registers([of(encode_register(BREAKER, name, OPEN))])
        news.controls([of(encode_control(BreakerControl(BREAKER, Force.AUTO, "ada", "", None)))])
    heard: list[Event] = []
    news.tell("answer", heard.append)
    assert heard[0] == RegistersSeen((RegisterSeen(BREAKER, "a", OPEN), RegisterSeen(BREAKER, "b", OPEN)))
    assert [type(event) for event in heard[1:]] == [ControlSeen, ControlSeen]


def test_of_several_words_of_one_writer_the_last_is_heard():
    desk = Desk()
    desk.news.registers([of(encode_register(BREAKER, "a", Register(probes=probes))) for probes in range(5)])
    assert desk.heard[1:] == [RegistersSeen((RegisterSeen(BREAKER, "a", Register(probes=4)),))]


def test_a_stage_with_nothing_to_do_is_told_of_the_time():
    async def wait() -> list[Event]:
        desk = Desk()
        ticking = asyncio.create_task(desk.news.keep_time())
        await asyncio.sleep(TICK_SECONDS * 2.5)
        ticking.cancel()
        return desk.heard

    assert run_in_virtual_time(wait())[1:] == [Tick(), Tick()]


# What is said.


@pytest.fixture
def counted() -> Callable[[Metrics, Said], float | None]:
    return lambda metrics, fate: metrics.registry.get_sample_value(
        "failsoft_registers_said_total", {"fate": fate.value}
    )


def said_by(broker: MemoryBroker) -> list[int]:
    """The calls in the newest bucket of every register in the log."""
    found = []
    for entry in broker.topic("support.breakers").logs[0].read(0, 1000):
        assert entry.value is not None
        register = decode_register(entry.value.key, entry.value.value, entry.value.headers).register
        assert register is not None
        found.append(register.buckets[0].calls)
    return found


def test_while_one_word_is_under_way_only_the_newest_of_those_that_follow_is_sent(counted):
    async def whole() -> None:
        broker, metrics = MemoryBroker(CATALOGUE, VirtualClock()), Metrics()
        outbox = MemoryOutbox(broker, link=MemoryLink(seconds=1.0))
        announcer = Announcer(outbox, "support.breakers", process="me", said=metrics.registers_said)
        for n in range(1, 6):
            announcer.announce(AnnounceRegister(BREAKER, Register(buckets=(Counts(n),))))
            await asyncio.sleep(0)
        await asyncio.sleep(5)
        assert said_by(broker) == [1, 5]
        assert (counted(metrics, Said.SENT), counted(metrics, Said.REPLACED)) == (2, 3)
        await announcer.close()

    run_in_virtual_time(whole())


def test_who_has_left_says_nothing_more_and_waits_for_no_broker():
    async def whole() -> None:
        broker, metrics = MemoryBroker(CATALOGUE, VirtualClock()), Metrics()
        outbox = MemoryOutbox(broker)
        announcer = Announcer(outbox, "support.breakers", process="me", said=metrics.registers_said)
        await announcer.leave([BREAKER])
        announcer.announce(AnnounceRegister(BREAKER, Register()))
        await asyncio.sleep(5)
        [entry] = broker.topic("support.breakers").logs[0].read(0, 10)
        assert entry.value is not None
        assert entry.value.value is None
        outbox.link.is_up = False
        began = asyncio.get_running_loop().time()
        await announcer.leave([BREAKER])
        assert asyncio.get_running_loop().time() - began <= LEAVE_SECONDS

    run_in_virtual_time(whole())


def test_an_outage_leaves_no_old_words_behind_it(counted):
    async def whole() -> None:
        broker, metrics = MemoryBroker(CATALOGUE, VirtualClock()), Metrics()
        outbox = MemoryOutbox(broker, link=MemoryLink(is_up=False))
        announcer = Announcer(outbox, "support.breakers", process="me", said=metrics.registers_said)
        for n in range(1, 31):
            announcer.announce(AnnounceRegister(BREAKER, Register(buckets=(Counts(n),))))
            await asyncio.sleep(1)
        outbox.link.is_up = True
        await asyncio.sleep(SEND_SECONDS)
        assert len(said_by(broker)) == 1
        assert said_by(broker)[0] >= 30 - SEND_SECONDS
        assert (counted(metrics, Said.FAILED) or 0) >= 30 / SEND_SECONDS - 1
        await announcer.close()

    run_in_virtual_time(whole())


@in_fleet()
async def test_after_a_long_outage_it_is_probed_when_its_longest_wait_is_over_and_not_much_later(fleet):
    """While nobody calls it, workers whose requests would use it go on to speak, so that none takes the silence for an outage."""
    await fleet.start()
    async with fleet.traffic():
        fleet.failing = 1.0
        await asyncio.sleep(600)
        fleet.failing = 0.0
        wait = max(register.word.open_seconds for register in fleet.registers().values())
        assert wait > 40
        await until(lambda: fleet.states() == {State.CLOSED: WORKERS}, wait + 10)


@in_fleet()
async def test_who_goes_in_order_takes_its_words_back_and_nobody_leaves_it_a_turn(fleet):
    await fleet.start()
    async with fleet.traffic():
        fleet.failing = 0.9
        await until(lambda: fleet.states() == {State.OPEN: WORKERS}, 60)
        await asyncio.sleep(11)  # by then all have said so
        fleet.failing, epoch = 0.0, fleet.epoch()
        for name in list(fleet.workers)[1:]:
            await fleet.workers.pop(name).stop()
        assert set(fleet.registers()) == set(fleet.workers)
        assert fleet.epoch() == epoch
        [last] = fleet.workers.values()
        assert last.runner.machine._endpoints[0].board._live(fleet.clock.monotonic()) == {}


@in_fleet()
async def test_the_last_one_that_knows_of_an_opening_leaves_its_word_behind(fleet):
    await fleet.start(2)
    async with fleet.traffic():
        fleet.failing = 0.9
        await until(lambda: fleet.epoch() > 0, 60)
        for name in list(fleet.workers):
            await fleet.workers.pop(name).stop()
        assert fleet.epoch() > 0
