"""What the fleet has measured, at a worker that has just started: on the broker in memory, in virtual time."""

import asyncio

import pytest

from failsoft import Call, Constant, OpenAICompatible, Output, Pipeline
from failsoft.catalogue import Catalogue, parse
from failsoft.kafka import ViewRecord
from failsoft.pipeline import Stage
from failsoft.policy.events import LatencySeen
from failsoft.policy.fleet_latency import FleetLatency
from failsoft.policy.profile import Profile
from failsoft.policy.rollup import Place
from failsoft.runtime.fleet_prior import FleetPrior
from failsoft.runtime.rollups import RollUps
from failsoft.testing.memory import MemoryBroker, MemoryOutbox, MemoryView, MemoryWorker
from failsoft.testing.virtual_clock import VirtualClock
from failsoft.wire import Envelope, Identity, RequestLine
from failsoft.wire.body import encode_request
from failsoft.wire.envelope import encode_request_headers
from failsoft.wire.profile import encode_fleet_profile
from failsoft.wire.rollup import decode_rollup
from tests.runtime.test_runner import in_virtual_time

CATALOGUE: Catalogue = parse("""
version: 1
defaults: {partitions: 2, replication: 1, config: {message.timestamp.type: LogAppendTime}}
classes:
  interactive: {weight: 8, deadline: 5s,  deadline_max: 60s}
  batch:       {weight: 1, deadline: 1h, deadline_max: 2h}
pipelines: {demo: [work]}
topics:
  requests:     {config: {retention.ms: 7d}}
  results:      {config: {retention.ms: 7d}}
  dead-letters: {config: {retention.ms: 14d}}
  outcomes:     {partitions: 1, config: {retention.ms: 1h}}
  latency:      {partitions: 1, config: {cleanup.policy: compact}}
""")


def a_stage(called: list[str]) -> Stage:
    """Its author takes the full tier to be four times as fast as it is; it notes which tiers are called."""
    stage = Pipeline("demo").stage("work", coalesce="off")

    @stage.tier("full", limit=8, expect="200ms")
    async def full(_: Call) -> Output:
        called.append("full")
        await asyncio.sleep(0.8)
        return Output({})

    @stage.tier("lower", limit=8, expect="40ms")
    async def lower(_: Call) -> Output:
        called.append("lower")
        await asyncio.sleep(0.04)
        return Output({})

    stage.tier("sorry", Constant({}))
    return stage


class Site:
    """A broker, and what workers need of it."""

    def __init__(self) -> None:
        self.broker = MemoryBroker(CATALOGUE, VirtualClock())
        self.outbox = MemoryOutbox(self.broker)
        self.sent = 0

    async def send(self, *, budget_seconds: float, request_class: str = "interactive") -> None:
        self.sent += 1
        headers = encode_request_headers(
            Envelope(Identity("/test", str(self.sent))),
            budget_seconds=budget_seconds,
            sent_at=self.broker.clock.wall(),
        )
        line = RequestLine(str(self.sent), "/v1/x", {"n": self.sent})
        await self.outbox.send(
            f"demo.work.{request_class}", key=str(self.sent).encode(), value=encode_request(line), headers=headers
        )

    async def add_up(self) -> None:
        """What ``failsoft streams latency`` does."""
        fleet = FleetLatency()
        [log] = self.broker.topic("demo.outcomes").logs
        for entry in log.read(0, log.end):
            assert entry.value is not None
            rollup = decode_rollup(entry.value.value, entry.value.headers)
            assert rollup is not None
            fleet.fold(rollup, appended_at=entry.appended_at)
        for place, profile in fleet.take_changed().items():
            record = encode_fleet_profile(place, profile)
            await self.outbox.send("demo.latency", key=record.key, value=record.value, headers=record.headers)


@pytest.mark.parametrize("knows_the_fleet", [True, False])
def test_a_cold_worker_chooses_as_a_warm_one_from_its_first_request(knows_the_fleet):
    @in_virtual_time
    async def test() -> None:
        site, by_warm, by_cold = Site(), list[str](), list[str]()
        warm = MemoryWorker(site.broker, a_stage(by_warm), catalogue=CATALOGUE, name="warm")
        rollups = RollUps(pipeline="demo", process="warm", take=warm.runner.take_rollup, outbox=warm.outbox)
        rollups.start()
        await warm.start()
        for _ in range(60):
            await site.send(budget_seconds=60.0, request_class="batch")
        await asyncio.sleep(20.0)
        assert set(by_warm) == {"full"}
        await site.send(budget_seconds=0.6)
        await asyncio.sleep(1.0)
        assert by_warm[-1] == "lower", "it knows that the full tier would be late"
        await rollups.close()
        await warm.stop()
        await site.add_up()

        cold = MemoryWorker(site.broker, a_stage(by_cold), catalogue=CATALOGUE, name="cold")
        prior = FleetPrior()
        view = MemoryView(site.broker, "demo.latency", take=prior.take)
        if knows_the_fleet:
            await view.start()
            await view.caught_up()
            prior.attach(cold.runner.stage, cold.runner.feed)
        await cold.start()
        await site.send(budget_seconds=0.6)
        await asyncio.sleep(2.0)
        assert by_cold[0] == ("lower" if knows_the_fleet else "full")
        await cold.stop()
        await view.stop()

    test()


def record_of(place: Place, count: int = 1) -> ViewRecord:
    profile = Profile()
    for _ in range(count):
        profile.answers.add(0.2)
    record = encode_fleet_profile(place, profile)
    return ViewRecord(0, 0, record.key, record.value, (), 0.0, 0.0)


def a_stage_in(region: str) -> Stage:
    stage = Pipeline("demo").stage("work")
    stage.tier("full", OpenAICompatible("m", urls={region: "http://127.0.0.1:1/v1"}))
    stage.tier("sorry", Constant({}))
    return stage


def test_a_stage_hears_of_its_own_tiers_where_it_calls_them():
    heard: list[LatencySeen] = []
    prior = FleetPrior()
    prior.attach(a_stage_in("eu"), heard.append)
    prior.take([record_of(Place("work", "full", "us")), record_of(Place("other", "full", "eu"))])
    assert heard == []
    prior.take([record_of(Place("work", "full", "eu"))])
    assert [event.endpoint for event in heard] == ["work/full/eu"]


def test_a_stage_that_comes_later_hears_what_is_known():
    heard: list[LatencySeen] = []
    prior = FleetPrior()
    prior.take([record_of(Place("work", "full", "eu"), count) for count in (1, 2)])
    prior.attach(a_stage_in("eu"), heard.append)
    assert [event.profile.samples for event in heard] == [2]


def test_what_cannot_be_read_or_was_deleted_says_nothing():
    heard: list[LatencySeen] = []
    prior = FleetPrior()
    prior.attach(a_stage_in("eu"), heard.append)
    good = record_of(Place("work", "full", "eu"))
    prior.take([good._replace(key=b"a", value=None), good._replace(key=b"b", value=b"{"), good])
    assert len(heard) == 1
