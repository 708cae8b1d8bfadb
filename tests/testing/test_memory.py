"""The broker in memory: several production runners, rebalances and faults, in virtual time and without Kafka."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import wraps
from itertools import count
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failsoft import Call, Output, Pipeline
from failsoft.catalogue import Catalogue, parse, requests_topic
from failsoft.kafka import OutboxClosed, RecordRefused
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.outcome import Outcome
from failsoft.testing.memory import MemoryBroker, MemoryOutbox, MemoryResultReader, MemoryWorker
from failsoft.testing.virtual_clock import VirtualClock
from failsoft.testing.virtual_time import VirtualTimeLoop, run_in_virtual_time
from failsoft.wire import Envelope, Identity, RequestLine
from failsoft.wire.body import encode_request
from failsoft.wire.envelope import encode_request_headers
from failsoft.wire.identity import result_id
from failsoft.wire.result import Result, decode_result

CATALOGUE: Catalogue = parse("""
version: 1
defaults: {partitions: 6, replication: 1, config: {message.timestamp.type: LogAppendTime}}
classes:
  interactive: {weight: 8, deadline: 60s, deadline_max: 600s}
  batch:       {weight: 1, deadline: 1h, deadline_max: 2h}
pipelines: {demo: [work]}
topics:
  requests:     {config: {retention.ms: 7d}}
  results:      {config: {retention.ms: 7d, max.message.bytes: 1000}}
  dead-letters: {config: {retention.ms: 14d}}
reply_topics: [answers-for-app, answers-for-others]
""")
REQUESTS, RESULTS = requests_topic("demo", "work", "interactive"), "demo.results"


def in_virtual_time(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    @wraps(test)
    def run(*args, **kwargs) -> None:
        async def main() -> None:
            await test(*args, **kwargs)

        run_in_virtual_time(main())

    return run


class Fleet:
    """A broker, a sender, and workers whose only tier takes a second."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.broker = MemoryBroker(CATALOGUE, self.clock)
        self.outbox = MemoryOutbox(self.broker)
        self.workers: list[MemoryWorker] = []
        self.calls: list[tuple[str, int]] = []
        self.sent = 0

    async def start(self) -> MemoryWorker:
        name = f"worker-{len(self.workers)}"
        pipeline = Pipeline("demo")

        @pipeline.stage("work").tier("large", limit=6, expect="1s")
        async def large(call: Call) -> Output:
            self.calls.append((name, call.body["n"]))
            await asyncio.sleep(1)
            return Output({"n": call.body["n"]})

        worker = MemoryWorker(self.broker, pipeline.stages["work"], catalogue=CATALOGUE, name=name)
        self.workers.append(worker)
        await worker.start()
        return worker

    async def send(self, count: int = 1, *, budget_seconds: float = 600.0) -> None:
        for _ in range(count):
            identity = Identity("/test", str(self.sent))
            await self._send(identity, result_id(identity), {"n": self.sent}, budget_seconds)

    async def send_equal(self, count: int, contents: int) -> None:
        """Send requests that ask the same few things, one after the other."""
        for _ in range(count):
            asked = self.sent % contents
            await self._send(Identity("/test", str(self.sent)), f"{asked}", {"n": asked, "temperature": 0}, 600.0)

    async def _send(self, identity: Identity, key: str, body: dict[str, int], budget_seconds: float) -> None:
        value = encode_request(RequestLine(str(self.sent), "/v1/x", body))
        headers = encode_request_headers(Envelope(identity), budget_seconds=budget_seconds, sent_at=self.clock.wall())
        await self.outbox.send(REQUESTS, key=key.encode(), value=value, headers=headers)
        self.sent += 1

    async def results(self) -> tuple[list[Result], int]:
        """What readers see, and the repeats in the log."""
        reader = MemoryResultReader(self.broker, RESULTS, start="beginning", until_end=True)
        await reader.start()
        results = [decode_result(record.headers, record.value) async for record in reader.records()]
        assert all(result.outcome is Outcome.OK for result in results)
        return results, reader.repeats

    async def visible(self) -> tuple[list[int], int]:
        """The answers that readers see, in order of their numbers, and the repeats in the log."""
        results, repeats = await self.results()
        return sorted(result.body["n"] for result in results), repeats

    def committed(self) -> int:
        group = self.broker.group("failsoft.demo.work", CATALOGUE.stage_topics("demo", "work")).group
        return sum(group.committed.values())

    def shares(self) -> list[int]:
        """How many partitions each worker owns; the last assignment of a dead one counts as it was."""
        return [len(worker.inbox._member.owned) for worker in self.workers]


@contextlib.asynccontextmanager
async def a_fleet(workers: int = 1):
    fleet = Fleet()
    for _ in range(workers):
        await fleet.start()
    await asyncio.sleep(3)
    yield fleet
    for worker in fleet.workers:
        await worker.close()


async def keys_within(reader: MemoryResultReader, seconds: float) -> list[bytes | None]:
    """What a reader emits in a time."""
    keys: list[bytes | None] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            async for record in reader.records():
                keys.append(record.key)  # noqa: PERF401 - a comprehension would lose what came before the timeout
    return keys


# Topics.


@in_virtual_time
async def test_equal_keys_share_a_partition_in_the_order_of_sending():
    fleet = Fleet()
    first = await fleet.outbox.send(REQUESTS, key=b"k", value=b"1")
    await asyncio.sleep(2)
    second = await fleet.outbox.send(REQUESTS, key=b"k", value=b"2")
    assert (second.partition, second.offset) == (first.partition, first.offset + 1)
    assert first.appended_at is not None
    assert second.appended_at == pytest.approx(first.appended_at + 2)
    assert (await fleet.outbox.send(REQUESTS, key=b"k", value=b"3", partition=5)).partition == 5


@in_virtual_time
async def test_a_record_that_is_too_large_or_has_no_topic_is_refused():
    fleet = Fleet()
    with pytest.raises(RecordRefused, match=r"max\.message\.bytes is 1000"):
        await fleet.outbox.send(RESULTS, key=None, value=b"x" * 1001)
    with pytest.raises(ConfigurationError, match=r"no topic 'demo\.outcomes'"):
        await fleet.outbox.send("demo.outcomes", key=None, value=b"")
    await fleet.outbox.send("answers-for-app", key=None, value=b"")
    with pytest.raises(ConfigurationError, match="no topic 'no-such-topic'"):
        MemoryResultReader(fleet.broker, "no-such-topic")


@in_virtual_time
async def test_each_reply_topic_is_a_log_of_its_own():
    fleet = Fleet()
    for topic in CATALOGUE.reply_topics:
        assert (await fleet.outbox.send(topic, key=None, value=b"")).offset == 0


@in_virtual_time
async def test_a_link_takes_its_time():
    fleet = Fleet()
    fleet.outbox.link.seconds = 0.2
    acknowledged = await fleet.outbox.send(REQUESTS, key=b"k", value=b"1")
    assert acknowledged.appended_at is not None
    assert fleet.clock.wall() - acknowledged.appended_at == pytest.approx(0.1, abs=1e-5)
    assert fleet.clock.monotonic() == pytest.approx(0.2)


@in_virtual_time
async def test_a_lost_acknowledgement_puts_the_record_there_twice_and_readers_see_it_once():
    fleet = Fleet()
    fleet.outbox.link.seconds = 1.0
    reader = MemoryResultReader(fleet.broker, RESULTS)
    await reader.start()
    sending = asyncio.ensure_future(fleet.outbox.send(RESULTS, key=b"id", value=b"1"))
    await asyncio.sleep(0.75)
    fleet.outbox.link.is_up = False
    await asyncio.sleep(5)
    assert not sending.done()
    fleet.outbox.link.is_up = True
    assert (await sending).offset == 1
    assert await keys_within(reader, 5) == [b"id"]
    assert reader.repeats == 1


@in_virtual_time
async def test_a_closed_outbox_ends_who_waits_for_it():
    fleet = Fleet()
    fleet.outbox.link.is_up = False
    sending = asyncio.ensure_future(fleet.outbox.send(RESULTS, key=b"id", value=b"1"))
    await asyncio.sleep(1)
    await fleet.outbox.close()
    with pytest.raises(OutboxClosed):
        await sending


@in_virtual_time
async def test_a_reader_that_begins_at_the_end_knows_the_ids_before_it():
    fleet = Fleet()
    await fleet.outbox.send(RESULTS, key=b"old", value=b"1")
    reader = MemoryResultReader(fleet.broker, RESULTS, start="end")
    await reader.start()
    await fleet.outbox.send(RESULTS, key=b"old", value=b"1")
    reading = asyncio.ensure_future(keys_within(reader, 5))
    await asyncio.sleep(1)
    await fleet.outbox.send(RESULTS, key=b"new", value=b"2")
    assert await reading == [b"new"]
    assert reader.repeats == 1


# Workers.


@in_virtual_time
async def test_workers_share_the_partitions_and_each_request_is_run_once():
    async with a_fleet(2) as fleet:
        await fleet.send(30)
        await asyncio.sleep(30)
        assert fleet.shares() == [3, 3]
        assert await fleet.visible() == (list(range(30)), 0)
        assert sorted(n for _, n in fleet.calls) == list(range(30))
        assert {name for name, _ in fleet.calls} == {"worker-0", "worker-1"}
        assert fleet.committed() == 30


@in_virtual_time
async def test_a_worker_that_joins_takes_over_what_was_not_begun_and_leaves_the_rest_alone():
    async with a_fleet(1) as fleet:
        await fleet.send(60)
        await asyncio.sleep(0.5)
        await fleet.start()
        await asyncio.sleep(30)
        assert fleet.shares() == [3, 3]
        numbers, repeats = await fleet.visible()
        assert numbers == list(range(60))
        assert repeats == 0
        assert {name for name, _ in fleet.calls} == {"worker-0", "worker-1"}


@in_virtual_time
async def test_after_a_worker_was_killed_the_others_take_over_when_the_session_is_over():
    async with a_fleet(2) as fleet:
        await fleet.send(30)
        await asyncio.sleep(0.5)
        await fleet.workers[1].kill()
        await asyncio.sleep(5)
        assert fleet.shares()[0] == 3
        await asyncio.sleep(30)
        assert fleet.shares()[0] == 6
        assert (await fleet.visible())[0] == list(range(30))
        assert fleet.committed() == 30


@in_virtual_time
async def test_a_worker_that_stops_hands_over_at_once_and_repeats_nothing():
    async with a_fleet(2) as fleet:
        await fleet.send(30)
        await asyncio.sleep(0.5)
        await fleet.workers[1].stop()
        await asyncio.sleep(2)
        assert fleet.shares()[0] == 6
        await asyncio.sleep(30)
        assert await fleet.visible() == (list(range(30)), 0)
        assert len(fleet.calls) == 30


@in_virtual_time
async def test_what_a_worker_finishes_after_it_was_given_up_is_not_committed_and_not_seen_twice():
    async with a_fleet(2) as fleet:
        await fleet.send(30)
        await asyncio.sleep(0.5)
        fleet.workers[1].link.is_up = False
        await asyncio.sleep(20)
        assert fleet.shares()[0] == 6
        fleet.workers[1].link.is_up = True
        await asyncio.sleep(30)
        numbers, repeats = await fleet.visible()
        assert numbers == list(range(30))
        assert repeats > 0
        assert fleet.shares() == [3, 3]
        assert fleet.committed() == 30


@in_virtual_time
async def test_a_bug_in_the_listener_ends_the_inbox_instead_of_hiding():
    fleet = Fleet()
    worker = await fleet.start()
    await fleet.send()

    def broken(batch):
        raise LookupError("a bug")

    worker.runner.records = broken  # type: ignore[method-assign]  # the listener is the test's
    with pytest.raises(LookupError, match="a bug"):
        await worker.inbox.failed()
    await worker.close()


DEEDS = st.lists(
    st.tuples(
        st.sampled_from(["send", "start", "stop", "kill", "cut", "mend"]), st.floats(0.0, 8.0), st.integers(0, 3)
    ),
    max_size=14,
)


@settings(max_examples=25)
@given(deeds=DEEDS)
def test_whatever_happens_to_workers_every_request_has_one_visible_result(deeds):
    async def main() -> None:
        async with a_fleet(2) as fleet:
            for deed, seconds, which in deeds:
                worker = fleet.workers[which % len(fleet.workers)]
                match deed:
                    case "send":
                        await fleet.send(5 * which)
                    case "start":
                        await fleet.start()
                    case "stop":
                        await worker.stop()
                    case "kill":
                        await worker.kill()
                    case "cut":
                        worker.link.is_up = False
                    case "mend":
                        worker.link.is_up = True
                await asyncio.sleep(seconds)
            await fleet.start()
            await asyncio.sleep(120)
            assert (await fleet.visible())[0] == list(range(fleet.sent))
            assert fleet.committed() == fleet.sent

    run_in_virtual_time(main())


async def two_workers() -> Fleet:
    fleet = Fleet()
    for _ in range(2):
        await fleet.start()
    await asyncio.sleep(3)
    return fleet


async def a_herd(fleet: Fleet) -> None:
    await fleet.send_equal(12, contents=3)
    await asyncio.sleep(3)


def crash_of_a_herd(after_steps: int, victim: int) -> tuple[bool, Fleet, list[Result]]:
    """Let twelve requests come for three things, and kill a worker after so many steps of the event loop.

    Returns:
        whether it was all over by then, what ran, and what readers see in the end.
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        loop = cast("VirtualTimeLoop", runner.get_loop())
        fleet = runner.run(two_workers())
        herd = loop.create_task(a_herd(fleet))
        for _ in range(after_steps):
            loop.run_once()
        is_over = herd.done()
        runner.run(fleet.workers[victim].kill())
        runner.run(asyncio.sleep(12))  # the session ends, another call is made
        results, _ = runner.run(fleet.results())
        for worker in fleet.workers:
            runner.run(worker.close())
    return is_over, fleet, results


@pytest.mark.parametrize("victim", [0, 1])
def test_a_crash_after_any_step_loses_no_follower_and_gives_nobody_anothers_answer(victim):
    """The new owner replays leader and followers and finds them together again: at most one more call for each thing."""
    for after_steps in count():
        is_over, fleet, results = crash_of_a_herd(after_steps, victim)
        answers = {int(result.request.id): result.body["n"] for result in results}
        assert len(results) == 12
        assert answers == {number: number % 3 for number in range(12)}
        calls = Counter(asked for _, asked in fleet.calls)
        assert max(calls.values()) <= 2
        if is_over:
            break
