"""The inbox against a real broker: each rule of research/kafka.md that it was built for, by name."""

import asyncio
import time
from collections import Counter
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import IllegalGenerationError, UnknownMemberIdError
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.record.util import calc_crc32c

from failsoft.kafka import private
from failsoft.kafka.connection import Connection
from failsoft.kafka.fetcher import HAND_OVER_RECORDS
from failsoft.kafka.inbox import Inbox
from failsoft.policy.errors import ConfigurationError, EnvironmentFailure
from failsoft.policy.request import Partition

from .conftest import Listener, Stage, create_topics, marks, until

pytestmark = pytest.mark.kafka


def member_of(inbox: Inbox) -> Any:
    return inbox._membership._consumer


def answer_one_heartbeat_with_coordinator_load(inbox: Inbox) -> list[HeartbeatRequest]:
    """What every restart or move of a coordinator can do to one heartbeat."""
    coordinator = member_of(inbox)._coordinator
    answered: list[HeartbeatRequest] = []
    send = coordinator._send_req

    async def send_or_refuse(request):
        if isinstance(request, HeartbeatRequest) and not answered:
            answered.append(request)
            return SimpleNamespace(error_code=14)
        return await send(request)

    coordinator._send_req = send_or_refuse
    return answered


async def owns_everything(stage: Stage, listener: Listener, **options: Any) -> Inbox:
    inbox = await stage.join(listener, **options)
    await until(lambda: listener.owned.keys() == stage.everything)
    return inbox


async def test_records_arrive_in_order_of_offsets_with_all_that_the_log_knows_of_them(new_stage, outbox):
    stage, listener = await new_stage(1), Listener()
    sent = [
        await outbox.send(stage.topics["batch"], key=b"k", value=b"v%d" % n, headers=[("h", b"1"), ("h", b"2")])
        for n in range(20)
    ]
    await stage.join(listener)
    await until(lambda: len(listener.taken) == 20)
    assert [(f.record.offset, f.value) for f in listener.taken] == [(n, b"v%d" % n) for n in range(20)]
    assert listener.taken[0].timestamp == sent[0].appended_at
    assert listener.taken[0].is_append_time
    assert listener.taken[0].headers == (("h", b"1"), ("h", b"2"))
    assert listener.taken[0].size_bytes == len(b"k") + len(b"v0") + 4
    assert listener.share == 1.0


async def test_a_flood_of_batch_does_not_delay_interactive(new_stage, outbox):
    stage, listener = await new_stage(2), Listener(rooms={"batch": 0})
    inbox = await owns_everything(stage, listener)
    await asyncio.gather(*(outbox.send(stage.topics["batch"], key=None, value=b"x" * 2_000) for _ in range(3_000)))
    await outbox.send(stage.topics["interactive"], key=b"k", value=b"now")
    await until(lambda: listener.taken, timeout_seconds=5)
    assert [fetched.value for fetched in listener.taken] == [b"now"]
    await until(lambda: listener.backlogs.get("batch", (0, 0))[0] == 3_000)
    listener.rooms["batch"] = 10
    inbox.wake("batch")
    await until(lambda: listener.rooms["batch"] == 0)
    assert len(listener.taken) == 11
    await until(lambda: listener.backlogs["batch"][0] == 2_990)
    assert listener.backlogs["batch"][1] > 0


async def test_a_backlog_is_handed_over_in_parts_between_which_the_loop_does_what_else_is_due(new_stage, outbox):
    """Else the first calls would seem to take as long as it takes to read all there is room for."""
    turns = 0

    class Counting(Listener):
        batches: ClassVar[list[tuple[int, int]]] = []

        def records(self, batch):
            super().records(batch)
            self.batches.append((turns, len(batch)))

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    stage, listener = await new_stage(1), Counting()
    sends = (outbox.send(topic, key=None, value=b"x") for topic in stage.topics.values() for _ in range(250))
    await asyncio.gather(*sends)
    counting = asyncio.create_task(count_turns())
    await stage.join(listener)
    await until(lambda: len(listener.taken) == 500)
    counting.cancel()
    in_one_turn = Counter[int]()
    for turn, size in listener.batches:
        in_one_turn[turn] += size
    assert max(in_one_turn.values()) <= HAND_OVER_RECORDS


async def test_the_age_of_a_backlog_is_that_of_its_own_and_not_of_what_was_taken_before(new_stage, outbox):
    now = [time.time()]
    stage, listener = await new_stage(1), Listener(rooms={"batch": 1})
    await owns_everything(stage, listener, wall_clock=lambda: now[0])
    await outbox.send(stage.topics["batch"], key=None, value=b"")
    await until(lambda: listener.taken and listener.backlogs["batch"] == (0, 0.0))
    now[0] += 7_200
    listener.backlogs.clear()
    await until(lambda: "batch" in listener.backlogs)
    await outbox.send(stage.topics["batch"], key=None, value=b"")
    await until(lambda: listener.backlogs["batch"][0] == 1)
    assert listener.backlogs["batch"][1] == 0.0
    now[0] += 5
    await until(lambda: listener.backlogs["batch"] == (1, 5.0))


async def test_equal_numbers_of_all_classes_are_with_one_member_and_counts_differ_by_one_at_most(new_stage):
    stage, first, second = await new_stage(5), Listener(), Listener()
    await owns_everything(stage, first)
    await stage.join(second)
    await until(lambda: len(first.owned) + len(second.owned) == 10 and second.owned)
    for listener in (first, second):
        by_class = {name: {p.number for p in listener.owned if p.request_class == name} for name in stage.topics}
        assert by_class["interactive"] == by_class["batch"]
        assert len(by_class["batch"]) in (2, 3)
    assert first.owned.keys() | second.owned.keys() == stage.everything
    assert first.share + second.share == pytest.approx(1.0)


async def test_what_is_kept_in_a_rebalance_keeps_its_assignment_and_its_place(new_stage, outbox):
    stage, first, second = await new_stage(2), Listener(), Listener()
    inbox = await owns_everything(stage, first)
    before = dict(first.owned)
    await asyncio.gather(*(outbox.send(stage.topics["batch"], key=None, value=b"", partition=p) for p in (0, 1)))
    await until(lambda: len(first.taken) == 2)
    await stage.join(second)
    await until(lambda: len(second.owned) == 2)
    assert first.calls == ["assigned", "revoked"]
    assert all(before[partition] == assignment for partition, assignment in first.owned.items())
    assert not set(before.values()) & set(second.owned.values())
    [kept] = [partition for partition in first.owned if partition.request_class == "batch"]
    await outbox.send(stage.topics["batch"], key=None, value=b"", partition=kept.number)
    await until(lambda: first.offsets(kept) == [0, 1])
    assert await inbox.commit(marks({kept: (before[kept], 2)})) == {kept}


async def test_what_moves_begins_where_the_last_commit_before_the_rebalance_ended(new_stage, outbox):
    stage, first, second = await new_stage(2), Listener(), Listener()
    for number in (0, 1):
        for _ in range(3):
            await outbox.send(stage.topics["batch"], key=None, value=b"", partition=number)
    await owns_everything(stage, first)
    first.done = {
        partition: (assignment, 2) for partition, assignment in first.owned.items() if partition[0] == "batch"
    }
    await stage.join(second)
    await until(lambda: len(second.owned) == 2)
    assert {partition[0]: position for partition, position in second.positions.items()} == {
        "batch": 2,
        "interactive": 0,
    }


async def test_the_commit_of_a_stale_assignment_is_dropped_and_cannot_rewind(new_stage, outbox):
    stage, first, second = await new_stage(2), Listener(), Listener()
    for number in (0, 1):
        for _ in range(5):
            await outbox.send(stage.topics["batch"], key=None, value=b"", partition=number)
    inbox = await owns_everything(stage, first)
    before = dict(first.owned)
    other = await stage.join(second)
    await until(lambda: len(second.owned) == 2)
    [moved] = [partition for partition in second.owned if partition.request_class == "batch"]
    assert await other.commit(marks({moved: (second.owned[moved], 4)})) == {moved}
    assert await inbox.commit(marks({moved: (before[moved], 1)})) == frozenset()
    await other.stop()
    await until(lambda: first.owned.keys() == stage.everything)
    assert first.positions[moved] == 4
    assert first.owned[moved] > before[moved]
    assert await inbox.commit(marks({moved: (before[moved], 1)})) == frozenset()
    assert (await stage.committed())[moved] == 4


async def test_a_lower_offset_of_the_same_assignment_is_not_sent(new_stage, outbox):
    stage, listener = await new_stage(1), Listener()
    inbox = await owns_everything(stage, listener)
    place, assignment = Partition("batch", 0), listener.owned[Partition("batch", 0)]
    assert await inbox.commit(marks({place: (assignment, 3)})) == {place}
    assert await inbox.commit(marks({place: (assignment, 2)})) == {place}
    assert (await stage.committed())[place] == 3


async def test_a_commit_of_an_old_generation_or_an_old_member_is_refused(new_stage):
    stage, listener = await new_stage(1), Listener()
    inbox = await owns_everything(stage, listener)
    member, place = member_of(inbox), stage.place(Partition("batch", 0))
    old = private.fence_of(member)
    private.request_rejoin(member)
    await until(lambda: private.fence_of(member).follows(old) and inbox._membership._fence != old)
    assert await private.fenced_commit(member, old, {place: (1, "")}) == {place: IllegalGenerationError}
    await member._coordinator._maybe_leave_group()
    await until(lambda: private.fence_of(member).member_id not in ("", old.member_id))
    assert await private.fenced_commit(member, old, {place: (1, "")}) == {place: UnknownMemberIdError}
    assert set((await stage.committed()).values()) == {0}, "only that they were begun"


async def test_a_commit_does_not_wait_behind_a_join_of_the_group(new_stage):
    stage, first, second = await new_stage(2), Listener(), Listener()
    inbox = await owns_everything(stage, first)
    other = await stage.join(second)
    await until(lambda: len(second.owned) == 2)
    await other.stop(leave=False)
    member, before = member_of(inbox), private.fence_of(member_of(inbox))
    private.request_rejoin(member)
    await until(lambda: member._coordinator._performed_join_prepare)
    place = next(iter(first.owned))
    async with asyncio.timeout(1):
        assert await inbox.commit(marks({place: (first.owned[place], 1)})) == {place}
    assert private.fence_of(member) == before, "the join ended before the commit: nothing was shown"
    await until(lambda: first.owned.keys() == stage.everything)


async def test_a_member_that_nobody_polls_dies_of_one_refused_heartbeat(new_stage):
    stage, listener = await new_stage(1), Listener()
    inbox = await owns_everything(stage, listener, session_timeout_seconds=1.0)
    poller = inbox._tasks[0]
    inbox._is_stopping = True  # what is done here would else count as a failure, rightly
    poller.cancel()
    refused, member = answer_one_heartbeat_with_coordinator_load(inbox), member_of(inbox)
    await until(lambda: refused and member._coordinator._heartbeat_task.done())
    await stage.until_empty()
    fence, place = private.fence_of(member), stage.place(Partition("batch", 0))
    assert await private.fenced_commit(member, fence, {place: (1, "")}) == {place: UnknownMemberIdError}
    assert listener.calls == ["assigned"], "nobody told it"


async def test_our_member_rejoins_after_a_refused_heartbeat_and_keeps_what_it_has(new_stage):
    stage, listener = await new_stage(1), Listener()
    inbox = await owns_everything(stage, listener)
    before, fence = dict(listener.owned), inbox._membership._fence
    answer_one_heartbeat_with_coordinator_load(inbox)
    await until(lambda: inbox._membership._fence != fence, timeout_seconds=5)
    assert fence is not None
    assert private.fence_of(member_of(inbox)).follows(fence)
    assert listener.owned == before
    assert listener.calls == ["assigned"]


async def test_a_member_whose_coordination_has_ended_is_replaced(new_stage):
    stage, listener = await new_stage(1), Listener()
    inbox = await owns_everything(stage, listener, ill_seconds=1.5)
    before, member = dict(listener.owned), member_of(inbox)

    async def fail(*_):
        raise RuntimeError("what nobody has thought of")

    member._coordinator.ensure_active_group = fail
    private.request_rejoin(member)
    await until(lambda: listener.owned and listener.owned != before)
    assert listener.calls == ["assigned", "revoked", "assigned"]
    assert listener.owned.keys() == stage.everything


async def test_a_fetcher_that_silently_stops_is_replaced_and_goes_on_where_it_was(new_stage, outbox):
    stage, listener = await new_stage(1), Listener()
    inbox = await owns_everything(stage, listener, stall_seconds=1.5)
    await outbox.send(stage.topics["batch"], key=None, value=b"0")
    await until(lambda: len(listener.taken) == 1)
    stopped = inbox._fetchers["batch"]._consumer
    stopped._fetcher._fetch_task.cancel()
    await asyncio.sleep(0.5)  # the fetch that was under way ends within 100 ms; no other is sent
    await outbox.send(stage.topics["batch"], key=None, value=b"1")
    await outbox.send(stage.topics["batch"], key=None, value=b"2")
    await until(lambda: listener.offsets(Partition("batch", 0)) == [0, 1, 2])
    assert inbox._fetchers["batch"]._consumer is not stopped


async def send_with_a_header_name_that_is_not_utf8(bootstrap: str, topic: str, partition: int = 0) -> None:
    """What a producer in another language can send; aiokafka's own cannot, so its batch is altered on the way."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        batch = producer.create_batch()
        batch.append(timestamp=None, key=b"k", value=b"v", headers=[("name", b"")])
        altered = bytearray(batch._build()).replace(b"name", b"\xff\xfe\xfd\xfc")
        altered[17:21] = calc_crc32c(bytes(altered[21:])).to_bytes(4, "big")
        batch._buffer = altered
        await (await producer.send_batch(batch, topic, partition=partition))
    finally:
        await producer.stop()


async def test_a_record_that_cannot_be_decoded_comes_empty_in_its_place_and_blocks_nothing(new_stage, outbox):
    stage, listener = await new_stage(1), Listener()
    topic = stage.topics["batch"]
    for value in (b"0", b"1"):
        await outbox.send(topic, key=None, value=value)
    await send_with_a_header_name_that_is_not_utf8(stage.connection.bootstrap_servers, topic)
    await outbox.send(topic, key=None, value=b"3")
    await stage.join(listener)
    await until(lambda: len(listener.taken) >= 4)
    assert [fetched.value for fetched in listener.taken] == [b"0", b"1", None, b"3"]
    assert listener.offsets(Partition("batch", 0)) == [0, 1, 2, 3]
    assert listener.taken[2].headers == ()


@pytest.mark.parametrize("broken", [0, 1])
async def test_a_record_that_cannot_be_decoded_costs_no_record_of_another_partition(new_stage, outbox, broken):
    stage, listener = await new_stage(2), Listener()
    topic, other = stage.topics["batch"], 1 - broken
    for _ in range(3):
        await outbox.send(topic, key=None, value=b"good", partition=other)
    await send_with_a_header_name_that_is_not_utf8(stage.connection.bootstrap_servers, topic, broken)
    await stage.join(listener)
    await until(lambda: len(listener.taken) >= 4)
    assert listener.offsets(Partition("batch", other)) == [0, 1, 2]
    assert listener.offsets(Partition("batch", broken)) == [0]


async def test_a_commit_past_the_end_of_the_log_begins_at_its_beginning(new_stage, outbox):
    stage, first, second = await new_stage(1), Listener(), Listener()
    await outbox.send(stage.topics["batch"], key=None, value=b"")
    inbox = await owns_everything(stage, first)
    place = Partition("batch", 0)
    await inbox.commit(marks({place: (first.owned[place], 99)}))
    await inbox.stop()
    await owns_everything(stage, second)
    assert second.positions[place] == 0


async def test_records_that_are_deleted_before_they_are_read_are_counted_and_those_behind_them_come(new_stage, outbox):
    deleted: list[tuple[str, int]] = []
    stage, listener = await new_stage(1), Listener(rooms={"batch": 0})
    inbox = await owns_everything(stage, listener, on_deleted=lambda name, count: deleted.append((name, count)))
    for _ in range(30):  # each a batch of its own, so that most are in the log only
        await outbox.send(stage.topics["batch"], key=None, value=b"x" * 100_000)
    admin = AIOKafkaAdminClient(bootstrap_servers=stage.connection.bootstrap_servers)
    await admin.start()
    await admin.delete_records({stage.place(Partition("batch", 0)): RecordsToDelete(before_offset=20)})
    await admin.close()
    listener.rooms["batch"] = 100
    inbox.wake("batch")
    await until(lambda: 29 in listener.offsets(Partition("batch", 0)) and deleted)
    offsets = listener.offsets(Partition("batch", 0))
    assert offsets == [*range(offsets.index(20)), *range(20, 30)], "the first ones were here already"
    assert deleted == [("batch", 20 - offsets.index(20))]


async def test_records_that_were_deleted_while_nobody_was_there_are_counted_once(new_stage, outbox):
    stage, first, second, place = await new_stage(1), Listener(), Listener(), Partition("batch", 0)
    for _ in range(10):
        await outbox.send(stage.topics["batch"], key=None, value=b"")
    inbox = await owns_everything(stage, first)
    assert await inbox.commit(marks({place: (first.owned[place], 2)})) == {place}
    await inbox.stop()
    admin = AIOKafkaAdminClient(bootstrap_servers=stage.connection.bootstrap_servers)
    await admin.start()
    await admin.delete_records({stage.place(place): RecordsToDelete(before_offset=7)})
    await admin.close()
    deleted: list[tuple[str, int]] = []
    await owns_everything(stage, second, on_deleted=lambda name, count: deleted.append((name, count)))
    await until(lambda: 9 in second.offsets(place))
    assert (second.offsets(place), deleted) == ([7, 8, 9], [("batch", 5)])


async def test_a_member_that_gets_nothing_has_joined_too(new_stage):
    stage, first, second = await new_stage(1), Listener(), Listener()
    await owns_everything(stage, first)
    standby = await stage.join(second)
    async with asyncio.timeout(30):
        await standby.joined()
    assert not second.owned or not first.owned


async def test_waiting_for_a_failure_ends_with_the_stop(new_stage):
    stage = await new_stage(1)
    inbox = await stage.join(Listener())
    waiting = asyncio.create_task(inbox.failed())
    await inbox.stop()
    async with asyncio.timeout(1):
        assert await waiting is None


async def test_a_callback_that_raises_ends_the_inbox_and_says_so(new_stage):
    class Broken(Listener):
        def assigned(self, positions, assignment, share):
            raise ZeroDivisionError

    stage = await new_stage(1)
    inbox = await stage.join(Broken())
    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(10):
            await inbox.failed()


async def test_topics_of_one_stage_must_exist_and_have_equal_counts(connection):
    await create_topics(connection.bootstrap_servers, {"unequal.a": 1, "unequal.b": 2})

    def inbox(topics: dict[str, str]) -> Inbox:
        return Inbox(connection, pipeline="unequal", stage="stage", topics=topics, listener=Listener())

    with pytest.raises(ConfigurationError, match=r"unequal\.a has 1, unequal\.b has 2; run `failsoft topics apply`"):
        await inbox({"a": "unequal.a", "b": "unequal.b"}).start()
    with pytest.raises(ConfigurationError, match=r"unequal\.c; run `failsoft topics apply`"):
        await inbox({"a": "unequal.a", "c": "unequal.c"}).start()


async def test_an_inbox_without_a_broker_says_where_it_looked():
    inbox = Inbox(Connection("127.0.0.1:1"), pipeline="p", stage="s", topics={"batch": "t"}, listener=Listener())
    with pytest.raises(EnvironmentFailure, match=r"127\.0\.0\.1:1"):
        await inbox.start()
