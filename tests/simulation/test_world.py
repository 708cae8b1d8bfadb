"""The world's Kafka, rule by rule."""

from collections.abc import Collection, Iterable

from failsoft.policy.progress import Progress
from failsoft.policy.request import Partition
from failsoft.simulation.world import Answer, Group, Log, VisibleOnce

SESSION = 6.0
PLACE = Partition("batch", 0)


def joined(*numbers_held: Collection[int], now: float = 0.0) -> tuple[Group, list[str]]:
    """A settled group of so many members."""
    group = Group(12, session_seconds=SESSION, rebalance_seconds=20)
    names = [group.join(None, held, now=now) for held in numbers_held]
    for name, held in zip(names[:1], numbers_held[:1], strict=True):
        group.join(name, held, now=now)
    assert group.advance(now=now) or group.advance(now=now)
    return group, names


def rejoin(group: Group, names: Iterable[str], now: float) -> None:
    for name in names:
        group.join(name, owned(group, name), now=now)


def owned(group: Group, name: str) -> frozenset[int]:
    known = group.membership(name)
    return frozenset() if known is None else known.numbers


# The log.


def test_offsets_go_up_by_one_and_entries_keep_the_brokers_time():
    log = Log[str]()
    entries = [log.append(value, key="k", now=now) for value, now in (("a", 1.0), ("b", 2.0))]
    assert [(entry.offset, entry.appended_at, entry.value) for entry in entries] == [(0, 1.0, "a"), (1, 2.0, "b")]
    assert log.end == 2
    assert log.read(1, 10) == entries[1:]
    assert log.read(0, 1) == entries[:1]


def test_compaction_keeps_the_last_of_each_key_at_its_offset_and_drops_what_was_deleted():
    log = Log[str]()
    for key, value in (("a", "1"), ("b", "1"), ("a", "2"), ("b", None), ("c", "1")):
        log.append(value, key=key, now=0.0)
    log.compact()
    assert [(entry.offset, entry.key, entry.value) for entry in log.read(0, 10)] == [(2, "a", "2"), (4, "c", "1")]
    assert log.end == 5


def test_the_first_result_of_an_id_is_visible_and_its_repeats_are_counted():
    visible = VisibleOnce()
    assert [visible.read(id_) for id_ in (1, 2, 1, 1)] == [True, True, False, False]
    assert (len(visible), visible.repeats_in_log) == (2, 2)


# The group.


def test_all_numbers_belong_to_exactly_one_member():
    group, names = joined((), (), ())
    shares = [owned(group, name) for name in names]
    assert sorted(number for share in shares for number in share) == list(range(12))
    assert {len(share) for share in shares} == {4}


def test_a_new_member_makes_all_join_again_and_who_stays_keeps_most():
    group, names = joined((), ())
    before = {name: owned(group, name) for name in names}
    new = group.join(None, (), now=1.0)
    assert group.heartbeat(names[0], group.generation, now=1.5) is Answer.REBALANCE
    assert not group.advance(now=1.5)
    for name in names:
        group.join(name, before[name], now=2.0)
    assert group.advance(now=2.0)
    assert group.generation == 2
    assert all(owned(group, name) < before[name] for name in names)
    assert len(owned(group, new)) == 4


def test_a_silent_member_is_dropped_after_the_session_timeout_and_no_sooner():
    group, (first, second) = joined((), ())
    group.heartbeat(first, group.generation, now=5.0)
    assert group.next_due() == SESSION
    assert not group.advance(now=SESSION - 0.1)
    assert group.heartbeat(first, group.generation, now=5.9) is Answer.OK
    group.advance(now=SESSION)
    assert group.heartbeat(second, group.generation, now=SESSION) is Answer.UNKNOWN_MEMBER
    rejoin(group, [first], now=6.5)
    assert group.advance(now=6.5)
    assert len(owned(group, first)) == 12


def test_who_does_not_join_again_in_time_is_dropped():
    group, (first, second) = joined((), ())
    rejoin(group, [first], now=1.0)
    for now in range(2, 21, 4):
        group.heartbeat(second, group.generation, now=float(now))
        assert not group.advance(now=float(now))
    assert group.advance(now=21.0)
    assert group.membership(second) is None


def test_a_commit_is_taken_from_the_member_and_generation_that_own_and_from_nobody_else():
    group, (first, second) = joined((), ())
    old = group.generation
    assert group.commit(first, old, {PLACE: Progress(5)}) is Answer.OK
    rejoin(group, [first], now=1.0)
    assert group.commit(first, old, {PLACE: Progress(6)}) is Answer.OK  # the rebalance is on, nobody else owns it yet
    rejoin(group, [second], now=1.0)
    group.advance(now=1.0)
    assert group.commit(first, old, {PLACE: Progress(7)}) is Answer.ILLEGAL_GENERATION
    assert group.commit("stranger", group.generation, {PLACE: Progress(7)}) is Answer.UNKNOWN_MEMBER
    assert group.committed == {PLACE: 6}


def test_leaving_spares_the_others_the_session_timeout():
    group, (first, second) = joined((), ())
    group.leave(second, now=1.0)
    assert group.is_rebalancing
    rejoin(group, [first], now=1.2)
    assert group.advance(now=1.2)
    assert len(owned(group, first)) == 12
