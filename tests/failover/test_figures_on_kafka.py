"""What a runbook's figures are taken from, on a real broker: breakers, operators' words, results; and the book itself."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from failsoft.catalogue import pipeline_topic, results_topic
from failsoft.endpoints import OpenAICompatible
from failsoft.failover.breakers_read import is_holding_back
from failsoft.failover.checks import Check, CheckName
from failsoft.failover.kafka_book import KafkaBook
from failsoft.failover.operator import Operator
from failsoft.failover.probe import Probe
from failsoft.failover.run import Kind, Look, Run, Verdict
from failsoft.policy.breaker_control import Force
from failsoft.policy.outcome import Ending, Outcome, Reason
from failsoft.policy.register import Phase, Register, Word
from failsoft.policy.routing import Route
from failsoft.runtime.clock import Clock
from failsoft.wire import Envelope, Identity, Record
from failsoft.wire.control import BreakerControl, encode_control
from failsoft.wire.register import encode_register
from failsoft.wire.result import encode_result
from tests.acceptance.harness import Cluster, new_cluster
from tests.failover.scene import TOPICS
from tests.failover.world import SHADOW, WELL, World

pytestmark = pytest.mark.kafka

LARGE = "classify/large"


@pytest.fixture
async def cluster(kafka_bootstrap: str) -> AsyncIterator[Cluster]:
    async with new_cluster(kafka_bootstrap, *TOPICS) as made:
        yield made


async def say(cluster: Cluster, kind: str, record: Record) -> None:
    topic = pipeline_topic(cluster.pipeline, kind)
    await cluster.outbox.send(topic, key=record.key, value=record.value, headers=record.headers)


async def holds(cluster: Cluster, region: str = "us", *, later: float = 0.0) -> bool:
    return await is_holding_back(cluster.connection, cluster.pipeline, LARGE, region, now=time.time() + later)


def opened(epoch: int, phase: Phase = Phase.OPEN) -> Register:
    return Register(Word(epoch, phase, open_seconds=30.0))


async def test_a_breaker_holds_back_as_all_workers_together_say(cluster: Cluster):
    assert not await holds(cluster)
    await say(cluster, "breakers", encode_register(f"{LARGE}/us", "one", opened(3)))
    await say(cluster, "breakers", encode_register(f"{LARGE}/us", "two", opened(2, Phase.CLOSED)))
    assert await holds(cluster)
    assert not await holds(cluster, "eu")
    assert not await holds(cluster, later=31.0)  # nobody calls it, so nobody probes: past its time it is free
    await say(cluster, "breakers", encode_register(f"{LARGE}/us", "two", opened(3, Phase.CLOSED)))
    assert not await holds(cluster)


@pytest.mark.parametrize("name", [LARGE, f"{LARGE}/us"])
async def test_an_operator_s_word_on_a_breaker_counts_as_long_as_it_holds(cluster: Cluster, name: str):
    until = time.time() + 60
    await say(cluster, "controls", encode_control(BreakerControl(name, Force.OPEN, "ada", "broken", until)))
    assert await holds(cluster)
    assert not await holds(cluster, later=61.0)
    await say(cluster, "controls", encode_control(BreakerControl(name, Force.AUTO, "ada", "mended", None)))
    assert not await holds(cluster)


def probe(cluster: Cluster) -> Probe:
    runbook = replace(SHADOW, pipeline=cluster.pipeline)
    endpoint = OpenAICompatible("m", urls={"eu": "http://127.0.0.1:1", "us": "http://127.0.0.1:1"})
    return Probe(runbook, endpoint, connection=cluster.connection, clock=Clock())


async def test_a_region_whose_breaker_opens_while_a_share_is_held_is_left_early(cluster: Cluster):
    await say(cluster, "breakers", encode_register(f"{LARGE}/us", "one", opened(3)))
    checks = (Check(CheckName.BREAKERS, 0.0), Check(CheckName.SERVED, 0.9))
    async with asyncio.timeout(60):
        seen = await probe(cluster).look(checks, Look(0.1, 600.0), known={})
    assert seen.figures == {CheckName.BREAKERS: 1.0}


async def end(
    cluster: Cluster,
    number: int,
    outcome: Outcome,
    reason: Reason = Reason.NONE,
    *,
    tier: str | None = None,
    region: str = "",
) -> None:
    """A result, as a worker writes it."""
    record = encode_result(
        Ending(outcome, reason, tier, 1 if tier else None),
        Envelope(Identity("/test", str(number))),
        pipeline=cluster.pipeline,
        published_at=time.time(),
        custom_id=None,
        body={},
        region=region or None,
    )
    topic = results_topic(cluster.pipeline)
    await cluster.outbox.send(topic, key=record.key, value=record.value, headers=record.headers)


async def test_what_was_served_ended_ok_while_the_share_was_on_and_what_arrived_was_called_in_the_target(
    cluster: Cluster,
):
    checked = (CheckName.SERVED, CheckName.ARRIVED)
    checks = tuple(Check(name, 0.5) for name in checked)
    assert (await probe(cluster).look(checks, Look(1.0, 0.0), known={})).figures == dict.fromkeys(checked)
    await end(cluster, 0, Outcome.EXPIRED, Reason.DEADLINE_PASSED)
    await asyncio.sleep(0.5)  # more than the broker's clock is uncertain by
    looking = asyncio.create_task(probe(cluster).look(checks, Look(1.0, 2.0), known={}))
    await asyncio.sleep(0.5)
    await end(cluster, 1, Outcome.OK, tier="large", region="eu")  # was under way
    await asyncio.sleep(0.8)
    await end(cluster, 2, Outcome.OK, tier="large", region="eu")  # its worker has not heard
    await end(cluster, 3, Outcome.OK, tier="large", region="us")
    await end(cluster, 4, Outcome.FAILED, Reason.ENDPOINT_ERROR)
    await end(cluster, 5, Outcome.INVALID, Reason.REQUEST_REFUSED)  # its sender's fault
    assert (await looking).figures == {CheckName.SERVED: 0.75, CheckName.ARRIVED: 0.5}


@pytest.mark.parametrize(("share", "arrived"), [(1.0, 0.0), (0.01, 1.0)], ids=["all should have", "too few to tell"])
async def test_where_the_endpoint_answers_nothing_what_should_have_arrived_is_told_by_all_that_ended(
    cluster: Cluster, share: float, arrived: float
):
    looking = asyncio.create_task(probe(cluster).look((Check(CheckName.ARRIVED, 0.5),), Look(share, 2.0), known={}))
    await asyncio.sleep(1.3)
    for number in range(3):
        await end(cluster, number, Outcome.OK, tier="small")
    assert (await looking).figures[CheckName.ARRIVED] == arrived


async def test_the_book_keeps_runs_and_routes_as_the_one_in_memory_does(cluster: Cluster):
    world = World(figures=[WELL] * 20)
    book = KafkaBook(cluster.connection, cluster.pipeline, outbox=cluster.outbox)
    assert list(await book.read()) == []
    assert await book.route(LARGE) is None

    async def begin(kind: Kind) -> Run:
        return await Operator(replace(SHADOW, drill=()), book=book, probe=world, clock=world, by="ann").begin(kind)

    drill = await begin(Kind.DRILL)
    move = await begin(Kind.EXECUTE)
    assert [run.verdict for run in (drill, move)] == [Verdict.PASSED, Verdict.PASSED]
    assert list(await book.read()) == [drill, move]
    assert (await book.read()).holder(LARGE) == move
    assert await book.route(LARGE) == move.route

    # A command that was overtaken writes late: of a lower epoch nothing holds.
    await book.say(Route(LARGE, "eu", "us", 0.5, move.epoch - 1))
    assert await book.route(LARGE) == move.route
    await book.withdraw(move)
    assert list(await book.read()) == [drill]


async def test_what_cannot_be_read_in_the_book_is_passed_over(cluster: Cluster):
    book = KafkaBook(cluster.connection, cluster.pipeline, outbox=cluster.outbox)
    await say(cluster, "drills", Record(b"a|1|s", b"{}", (("ce_type", b"failsoft.drill.v2"),)))
    await say(cluster, "controls", Record(b"a", b"{}", (("ce_type", b"failsoft.route.v1"),)))
    assert list(await book.read()) == []
    assert await book.route(LARGE) is None
