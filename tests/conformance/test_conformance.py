"""What the broker in memory and a real Kafka have in common: whoever trusts a fast test trusts these."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from failsoft.kafka import OutboxClosed, RecordRefused
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.progress import Mark, Progress
from failsoft.policy.request import Partition
from tests.conformance.stands import BYTES_MAX, Stand, on_both
from tests.kafka.conftest import Listener, marks, until

BATCH = Partition("batch", 0)


async def send(stand: Stand, count: int, place: Partition = BATCH) -> None:
    """Append so many records, numbered from 0, one after the other."""
    for n in range(count):
        await stand.outbox.send(stand.topics[place.request_class], key=None, value=b"%d" % n, partition=place.number)


class Diary(Listener):
    """Writes down the order of what it hears."""

    def __init__(self, entries: list[str], name: str) -> None:
        super().__init__()
        self.entries, self.name = entries, name

    def assigned(self, positions: Mapping[Partition, Progress], assignment: int, share: float) -> None:
        super().assigned(positions, assignment, share)
        self.entries.append(f"{self.name}: assigned")

    def revoked(self, partitions: frozenset[Partition], share: float) -> None:
        super().revoked(partitions, share)
        self.entries.append(f"{self.name}: revoked")

    def marks_to_commit(self) -> Any:
        self.entries.append(f"{self.name}: asked")
        return super().marks_to_commit()

    def records(self, batch: Sequence[Any]) -> None:
        super().records(batch)
        self.entries.append(f"{self.name}: records")


# Logs.


@on_both(partitions=2)
async def test_offsets_of_a_partition_count_up_by_one_from_zero(stand):
    acknowledged = [
        await stand.outbox.send(stand.topics["batch"], key=b"k", value=b"", partition=number) for number in (1, 1, 0, 1)
    ]
    assert [(each.partition, each.offset) for each in acknowledged] == [(1, 0), (1, 1), (0, 0), (1, 2)]


@on_both(partitions=2)
async def test_the_broker_s_clock_stamps_each_record_as_it_is_appended(stand):
    before = stand.wall()
    times = []
    for _ in range(3):
        times.append((await stand.outbox.send(stand.topics["batch"], key=b"k", value=b"")).appended_at)
        await asyncio.sleep(0.05)
    assert times == sorted(times)
    assert before - 0.01 <= times[0] <= times[-1] <= stand.wall() + 0.01
    assert times[-1] - times[0] >= 0.09


@on_both(partitions=6)
async def test_equal_keys_share_a_partition_and_different_ones_spread(stand):
    places = {
        b"%d" % key: {
            (await stand.outbox.send(stand.topics["batch"], key=b"%d" % key, value=b"")).partition for _ in "ab"
        }
        for key in range(24)
    }
    assert all(len(numbers) == 1 for numbers in places.values())
    assert len(set.union(*places.values())) > 3


@on_both()
async def test_a_record_comes_as_it_was_sent_with_all_that_the_log_knows_of_it(stand):
    listener = Listener()
    headers = [("h", b"1"), ("h", b"2"), ("none", None), ("empty", b""), ("raw", b"\xff\x00")]
    sent = await stand.outbox.send(stand.topics["batch"], key=b"k", value=b"v", headers=headers)
    await stand.owning(listener)
    await until(lambda: listener.taken)
    [fetched] = listener.taken
    assert (fetched.key, fetched.value, fetched.topic) == (b"k", b"v", stand.topics["batch"])
    assert fetched.headers == (("h", b"1"), ("h", b"2"), ("none", b""), ("empty", b""), ("raw", b"\xff\x00"))
    assert (fetched.timestamp, fetched.is_append_time) == (sent.appended_at, True)
    assert fetched.size_bytes == len("kvh1h2noneemptyraw") + 2
    assert (fetched.record.offset, fetched.assignment) == (0, listener.owned[BATCH])


@on_both()
async def test_no_key_no_value_and_empty_ones_are_told_apart(stand):
    listener, pairs = Listener(), [(b"", b""), (None, b""), (b"k", None)]
    for key, value in pairs:
        await stand.outbox.send(stand.topics["batch"], key=key, value=value, partition=0)
    await stand.owning(listener)
    await until(lambda: len(listener.taken) == len(pairs))
    assert [(fetched.key, fetched.value, fetched.size_bytes) for fetched in listener.taken] == [
        (key, value, len(key or b"")) for key, value in pairs
    ]


@on_both()
async def test_a_record_larger_than_the_topic_takes_is_refused_and_the_next_one_is_not(stand):
    topic = stand.topics["batch"]
    with pytest.raises(RecordRefused, match=topic):
        await stand.outbox.send(topic, key=None, value=b"x" * (BYTES_MAX + 1))
    with pytest.raises(RecordRefused, match=topic):
        await stand.outbox.send(topic, key=None, value=b"x" * (BYTES_MAX - 1_000), headers=[("h", b"x" * 1_000)])
    with pytest.raises(RecordRefused, match=topic):
        await stand.outbox.send(topic, key=None, value=b"x" * BYTES_MAX)  # what stands around it counts as well
    assert (await stand.outbox.send(topic, key=None, value=b"x" * (BYTES_MAX - 1_000))).offset == 0


@on_both()
async def test_who_sends_with_a_closed_outbox_is_told(stand):
    outbox = await stand.another_outbox()
    await stand.close_outbox(outbox)
    await stand.close_outbox(outbox)
    with pytest.raises(OutboxClosed):
        await outbox.send(stand.topics["batch"], key=b"k", value=b"")


# Fetching.


@on_both()
async def test_records_of_a_partition_come_in_the_order_of_their_offsets_also_those_sent_later(stand):
    listener = Listener()
    await send(stand, 30)
    await stand.owning(listener)
    await send(stand, 30)
    await until(lambda: len(listener.taken) == 60)
    assert listener.offsets(BATCH) == list(range(60))
    assert [fetched.value for fetched in listener.taken] == [b"%d" % n for n in range(30)] * 2


@on_both()
async def test_no_more_comes_than_there_is_room_for_and_what_is_left_comes_after_the_word(stand):
    listener = Listener(rooms={"batch": 7})
    await send(stand, 20)
    inbox = await stand.owning(listener)
    await until(lambda: listener.backlogs.get("batch", (0, 0))[0] == 13)
    assert listener.offsets(BATCH) == list(range(7))
    listener.rooms["batch"] = 2
    inbox.wake("batch")
    await until(lambda: listener.backlogs["batch"][0] == 11)
    assert listener.offsets(BATCH) == list(range(9))


@on_both()
async def test_without_room_in_one_class_the_other_one_comes(stand):
    listener = Listener(rooms={"batch": 0})
    await send(stand, 5)
    await stand.owning(listener)
    await send(stand, 5, Partition("interactive", 0))
    await until(lambda: len(listener.taken) == 5)
    assert {fetched.record.request_class for fetched in listener.taken} == {"interactive"}
    await until(lambda: listener.backlogs.get("batch", (0, 0))[0] == 5)


@on_both()
async def test_the_backlog_is_what_is_left_in_the_log_and_nothing_when_all_was_taken(stand):
    listener = Listener(rooms={"batch": 3})
    await send(stand, 5)
    inbox = await stand.owning(listener)
    await until(lambda: listener.backlogs.get("batch", (0, 0))[0] == 2)
    age = listener.backlogs["batch"][1]
    await asyncio.sleep(1.5)
    assert listener.backlogs["batch"][1] >= age + 0.4, "what waits grows older"
    listener.rooms["batch"] = 9
    inbox.wake("batch")
    await until(lambda: listener.backlogs["batch"] == (0, 0.0))
    assert len(listener.taken) == 5


# The group.


@on_both(partitions=3)
async def test_one_member_owns_everything_from_the_beginning_and_hears_of_it_before_the_first_record(stand):
    entries: list[str] = []
    listener = Diary(entries, "one")
    await send(stand, 1)
    await stand.owning(listener)
    await until(lambda: listener.taken)
    assert listener.positions == dict.fromkeys(stand.everything, 0)
    assert listener.share == 1.0
    assert [entry for entry in entries if entry != "one: asked"] == ["one: assigned", "one: records"]


@on_both(partitions=5)
async def test_equal_numbers_of_all_classes_are_with_one_member_and_counts_differ_by_one_at_most(stand):
    first, second = Listener(), Listener()
    await stand.owning(first)
    await stand.join(second)
    await until(lambda: second.owned and len(first.owned) + len(second.owned) == 10)
    for listener in (first, second):
        numbers = {name: {place.number for place in listener.owned if place[0] == name} for name in stand.topics}
        assert numbers["interactive"] == numbers["batch"]
        assert len(numbers["batch"]) in (2, 3)
    assert first.owned.keys() | second.owned.keys() == stand.everything
    assert first.share + second.share == pytest.approx(1.0)


@on_both(partitions=2)
async def test_what_is_kept_over_a_rebalance_keeps_its_assignment_and_its_place_in_the_log(stand):
    first, second = Listener(), Listener()
    inbox = await stand.owning(first)
    before = dict(first.owned)
    for number in (0, 1):
        await send(stand, 1, Partition("batch", number))
    await until(lambda: len(first.taken) == 2)
    await stand.join(second)
    await until(lambda: len(second.owned) == 2)
    assert first.calls == ["assigned", "revoked"]
    assert all(before[place] == assignment for place, assignment in first.owned.items())
    assert not set(before.values()) & set(second.owned.values())
    [kept] = [place for place in first.owned if place.request_class == "batch"]
    await send(stand, 1, kept)
    await until(lambda: first.offsets(kept) == [0, 1])
    assert await inbox.commit(marks({kept: (before[kept], 2)})) == {kept}


@on_both(partitions=2)
async def test_before_partitions_move_their_owner_is_asked_then_told_and_then_the_next_one_hears_of_it(stand):
    entries: list[str] = []
    first, second = Diary(entries, "first"), Diary(entries, "second")
    for number in (0, 1):
        await send(stand, 3, Partition("batch", number))
    await stand.owning(first)
    await until(lambda: len(first.taken) == 6)
    first.done = {place: (given, 2) for place, given in first.owned.items() if place.request_class == "batch"}
    entries.clear()
    await stand.join(second)
    await until(lambda: second.taken)
    assert [entry for entry in entries if entry != "second: asked"] == [
        "first: asked", "first: revoked", "second: assigned", "second: records",
    ]  # fmt: skip
    [moved] = [place for place in second.owned if place.request_class == "batch"]
    assert second.positions[moved] == 2
    assert second.offsets(moved) == [2]


@on_both(partitions=2)
async def test_after_a_member_has_left_the_others_own_its_partitions_under_a_new_assignment(stand):
    first, second = Listener(), Listener()
    await stand.owning(first)
    other = await stand.join(second)
    await until(lambda: len(second.owned) == 2)
    given = set(first.owned.values()) | set(second.owned.values())
    await other.stop()
    await until(lambda: first.owned.keys() == stand.everything)
    assert first.calls == ["assigned", "revoked", "assigned"]
    assert {first.owned[place] for place in second.owned}.isdisjoint(given)
    assert first.share == 1.0


@on_both()
async def test_after_a_restart_everything_begins_where_the_commits_were(stand):
    first, second = Listener(), Listener()
    await send(stand, 5)
    inbox = await stand.owning(first)
    await until(lambda: len(first.taken) == 5)
    assert await inbox.commit(marks({BATCH: (first.owned[BATCH], 3)})) == {BATCH}
    await inbox.stop()
    await stand.owning(second)
    await until(lambda: len(second.taken) == 2)
    assert second.positions == {BATCH: 3, Partition("interactive", 0): 0}
    assert second.offsets(BATCH) == [3, 4]


@on_both()
async def test_after_a_crash_the_next_owner_gets_again_what_was_not_committed(stand):
    first, second = Listener(), Listener()
    await send(stand, 5)
    inbox = await stand.owning(first)
    await until(lambda: len(first.taken) == 5)
    await inbox.commit(marks({BATCH: (first.owned[BATCH], 2)}))
    first.done = {BATCH: (first.owned[BATCH], 5)}  # it never gets to say so
    await inbox.stop(leave=False)
    await stand.owning(second)
    await until(lambda: len(second.taken) == 3)
    assert second.offsets(BATCH) == [2, 3, 4]


@on_both(partitions=2)
async def test_a_crash_is_noticed_by_the_session_timeout_and_what_the_dead_one_owned_is_given_away(stand):
    first, second = Listener(), Listener()
    await stand.owning(first)
    other = await stand.join(second)
    await until(lambda: len(second.owned) == 2)
    await other.stop(leave=False)
    await asyncio.sleep(1)
    assert len(first.owned) == 2, "too soon: nobody has told the group"
    await until(lambda: first.owned.keys() == stand.everything)


# Commits.


@on_both()
async def test_what_is_committed_is_what_was_said_and_nothing_else(stand):
    listener = Listener()
    await send(stand, 5)
    inbox = await stand.owning(listener)
    assert await inbox.commit(marks({BATCH: (listener.owned[BATCH], 4)})) == {BATCH}
    assert {place: at for place, at in (await stand.committed()).items() if at} == {BATCH: 4}
    assert await inbox.commit({}) == frozenset()


@on_both()
async def test_a_lower_offset_of_the_same_assignment_counts_as_taken_and_rewinds_nothing(stand):
    listener = Listener()
    inbox = await stand.owning(listener)
    given = listener.owned[BATCH]
    assert await inbox.commit(marks({BATCH: (given, 3)})) == {BATCH}
    assert await inbox.commit(marks({BATCH: (given, 2)})) == {BATCH}
    assert (await stand.committed())[BATCH] == 3


@on_both()
async def test_a_commit_for_an_assignment_that_never_was_is_not_taken(stand):
    listener = Listener()
    inbox = await stand.owning(listener)
    assert await inbox.commit(marks({BATCH: (listener.owned[BATCH] + 1, 3)})) == frozenset()
    assert await inbox.commit(marks({Partition("batch", 7): (listener.owned[BATCH], 3)})) == frozenset()
    assert not (await stand.committed()).get(BATCH)


@on_both(partitions=2)
async def test_the_commit_of_an_assignment_that_is_over_is_not_taken_and_rewinds_nothing(stand):
    first, second = Listener(), Listener()
    for number in (0, 1):
        await send(stand, 5, Partition("batch", number))
    inbox = await stand.owning(first)
    before = dict(first.owned)
    other = await stand.join(second)
    await until(lambda: len(second.owned) == 2)
    [moved] = [place for place in second.owned if place.request_class == "batch"]
    assert await other.commit(marks({moved: (second.owned[moved], 4)})) == {moved}
    assert await inbox.commit(marks({moved: (before[moved], 1)})) == frozenset()
    await other.stop()
    await until(lambda: first.owned.keys() == stand.everything)
    assert first.positions[moved] == 4
    assert await inbox.commit(marks({moved: (before[moved], 1)})) == frozenset()
    assert (await stand.committed())[moved] == 4


@on_both(partitions=2)
async def test_a_commit_of_an_old_generation_is_refused_and_so_is_one_of_a_stranger(stand):
    first, second = Listener(), Listener()
    inbox = await stand.owning(first)
    old = stand.fence_of(inbox)
    assert await stand.commits_as(inbox, old, BATCH, 1)
    await stand.join(second)
    await until(lambda: len(second.owned) == 2)
    now = stand.fence_of(inbox)
    assert now == (old[0], old[1] + 1)
    assert not await stand.commits_as(inbox, old, BATCH, 9)
    assert not await stand.commits_as(inbox, ("nobody", now[1]), BATCH, 9)
    assert (await stand.committed())[BATCH] == 1
    assert await stand.commits_as(inbox, now, BATCH, 2)


@on_both()
async def test_a_commit_past_the_end_of_the_log_begins_at_its_beginning(stand):
    first, second = Listener(), Listener()
    await send(stand, 1)
    inbox = await stand.owning(first)
    await inbox.commit(marks({BATCH: (first.owned[BATCH], 99)}))
    await inbox.stop()
    await stand.owning(second)
    await until(lambda: second.taken)
    assert second.positions[BATCH] == 0


@on_both()
async def test_a_commit_after_the_stop_is_not_taken(stand):
    listener = Listener()
    inbox = await stand.owning(listener)
    await inbox.stop()
    assert await inbox.commit(marks({BATCH: (listener.owned[BATCH], 3)})) == frozenset()
    assert not (await stand.committed()).get(BATCH)


# What stands beside a commit.


class Heir(Listener):
    """Keeps all that the last owner has left."""

    def __init__(self) -> None:
        super().__init__()
        self.left: dict[Partition, Progress] = {}

    def assigned(self, positions: Mapping[Partition, Progress], assignment: int, share: float) -> None:
        super().assigned(positions, assignment, share)
        self.left |= positions


def nameless(progress: Progress) -> Progress:
    """Without the name of the log: the broker in memory gives its logs none."""
    return replace(progress, log="")


@on_both()
async def test_what_a_commit_says_beside_the_offset_comes_to_the_next_owner(stand):
    first, heir = Listener(), Heir()
    await send(stand, 8)
    inbox = await stand.owning(first)
    said = Progress(2, frozenset({3, 6}), highest_started=6, newest_at=1_800_000_000.125)
    assert await inbox.commit({BATCH: Mark(first.owned[BATCH], said)}) == {BATCH}
    await inbox.stop()
    await stand.owning(heir)
    assert {place: nameless(left) for place, left in heir.left.items()} == {
        BATCH: replace(said, is_clean=False),
        Partition("interactive", 0): Progress(0, is_clean=False, crashes=1),
    }


@on_both()
async def test_a_commit_that_says_more_at_the_same_offset_is_taken(stand):
    first, heir = Listener(), Heir()
    await send(stand, 8)
    inbox = await stand.owning(first)
    for done in ({3}, {3, 4}):
        said = Progress(2, frozenset(done), highest_started=4)
        assert await inbox.commit({BATCH: Mark(first.owned[BATCH], said)}) == {BATCH}
    await inbox.stop()
    await stand.owning(heir)
    assert heir.left[BATCH].finished == {3, 4}


@on_both()
async def test_an_owner_that_does_not_hand_over_is_counted_and_one_that_does_ends_the_count(stand):
    crashes = []
    for is_handed_over in (False, False, True, False, False):
        heir = Heir()
        inbox = await stand.owning(heir)
        crashes.append(heir.left[BATCH].crashes)
        assert not heir.left[BATCH].is_clean, "from here on it is one that has begun"
        if is_handed_over:
            await inbox.commit({place: Mark(given, Progress(0)) for place, given in heir.owned.items()})
        await inbox.stop()  # a farewell is no handing over
    assert crashes == [0, 1, 2, 0, 1]


@on_both()
async def test_what_stands_beside_a_commit_past_the_end_of_the_log_is_void(stand):
    first, heir = Listener(), Heir()
    await send(stand, 1)
    inbox = await stand.owning(first)
    said = Progress(99, frozenset({100}), highest_started=100)
    await inbox.commit({BATCH: Mark(first.owned[BATCH], said)})
    await inbox.stop()
    await stand.owning(heir)
    assert nameless(heir.left[BATCH]) == Progress(0, is_clean=False)


# Beginning and ending.


@on_both(partitions=2)
async def test_topics_of_one_stage_must_exist_and_have_equal_counts(stand):
    missing = {"interactive": "no-such-topic", "batch": stand.topics["batch"]}
    with pytest.raises(ConfigurationError, match="no-such-topic"):
        await stand.inbox(Listener(), topics=missing).start()
    unequal = {"interactive": stand.results, "batch": stand.topics["batch"]}
    with pytest.raises(ConfigurationError, match=r"results has 1"):
        await stand.inbox(Listener(), topics=unequal).start()


@on_both()
async def test_what_the_listener_raises_ends_the_inbox_and_is_told(stand):
    class Broken(Listener):
        def records(self, batch: Sequence[Any]) -> None:
            raise ZeroDivisionError

    inbox = await stand.owning(Broken())
    waiting = asyncio.ensure_future(inbox.failed())
    await send(stand, 1)
    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(10):
            await waiting


@on_both()
async def test_waiting_for_a_failure_ends_with_the_stop(stand):
    inbox = await stand.join(Listener())
    waiting = asyncio.ensure_future(inbox.failed())
    await inbox.stop()
    async with asyncio.timeout(1):
        await waiting


@on_both()
async def test_a_stopped_inbox_tells_its_listener_nothing_more(stand):
    listener = Listener()
    inbox = await stand.owning(listener)
    await inbox.stop()
    calls = list(listener.calls)
    await send(stand, 3)
    await asyncio.sleep(1.5)
    assert (listener.taken, listener.calls) == ([], calls)


# Results.


async def say(stand: Stand, *keys: bytes) -> float:
    """Append results; return the time of the last one."""
    acknowledged = [await stand.outbox.send(stand.results, key=key, value=b"v") for key in keys]
    return acknowledged[-1].appended_at or 0.0


@on_both()
async def test_the_first_result_of_an_id_is_seen_and_its_repeats_are_counted(stand):
    await say(stand, b"a", b"b", b"a", b"c", b"a")
    results, repeats = await stand.read(start="beginning")
    assert [(result.key, result.offset) for result in results] == [(b"a", 0), (b"b", 1), (b"c", 3)]
    assert repeats == 2


@on_both()
async def test_results_without_an_id_are_all_seen(stand):
    for _ in range(2):
        await stand.outbox.send(stand.results, key=None, value=b"v", partition=0)
    assert len((await stand.read(start="beginning"))[0]) == 2


@on_both()
async def test_an_empty_topic_of_results_has_an_end_at_once(stand):
    assert await stand.read(start="beginning") == ([], 0)


@on_both()
async def test_until_the_end_is_the_end_that_was_at_the_start(stand):
    await say(stand, b"a")
    reader = stand.reader(start="beginning", until_end=True)
    await reader.start()
    await say(stand, b"b")
    assert [result.key async for result in reader.records()] == [b"a"]
    await reader.stop()


@on_both()
async def test_a_reader_from_the_end_sees_what_comes_later_and_no_repeat_of_what_was(stand):
    await say(stand, b"old")
    reader = stand.reader(start="end")
    await reader.start()
    await say(stand, b"old", b"new", b"old", b"last")
    seen = []
    async for result in reader.records():
        seen.append(result.key)
        if result.key == b"last":
            break
    await reader.stop()
    assert seen == [b"new", b"last"]
    assert reader.repeats == 2


@on_both()
async def test_a_reader_from_an_instant_knows_the_ids_of_the_horizon_before_it_and_no_older_ones(stand):
    await say(stand, b"old")
    await asyncio.sleep(0.05)
    begin = stand.wall()
    await asyncio.sleep(0.05)
    await say(stand, b"old", b"new")
    results, repeats = await stand.read(start=begin)
    assert ([result.key for result in results], repeats) == ([b"new"], 1)
    results, repeats = await stand.read(start=begin, horizon_seconds=0)
    assert ([result.key for result in results], repeats) == ([b"old", b"new"], 0)


@on_both()
async def test_a_repeat_further_away_than_the_horizon_is_seen_again(stand):
    await say(stand, b"a")
    await asyncio.sleep(0.3)
    await say(stand, b"a")
    assert len((await stand.read(start="beginning"))[0]) == 1
    assert len((await stand.read(start="beginning", horizon_seconds=0.1))[0]) == 2


@on_both()
async def test_no_more_ids_are_remembered_than_was_said(stand):
    await say(stand, b"a", b"b", b"c", b"a")
    results, _ = await stand.read(start="beginning", remembered_ids=2)
    assert [result.key for result in results] == [b"a", b"b", b"c", b"a"]
