from types import SimpleNamespace
from typing import Any

from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from hypothesis import given
from hypothesis import strategies as st

from failsoft.kafka.assignor import ByNumber
from failsoft.policy.allotment import allot

counts = st.integers(0, 40)
fleets = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), st.frozensets(st.integers(0, 45)), min_size=1)


@given(counts, fleets)
def test_each_number_goes_to_one_member_and_counts_differ_by_one_at_most(count, held):
    given_out = allot(range(count), held)
    assert given_out.keys() == held.keys()
    assert sorted(number for numbers in given_out.values() for number in numbers) == list(range(count))
    sizes = [len(numbers) for numbers in given_out.values()]
    assert max(sizes) - min(sizes) <= 1


@given(counts, fleets)
def test_an_allotment_that_is_balanced_already_stays(count, held):
    once = allot(range(count), held)
    assert allot(range(count), once) == once


@given(st.integers(1, 40), st.integers(1, 8))
def test_a_join_moves_only_what_the_newcomer_gets(count, members):
    before = allot(range(count), {f"m{n}": () for n in range(members)})
    after = allot(range(count), before | {"new": ()})
    for member, numbers in before.items():
        assert set(after[member]) <= set(numbers)


@given(st.integers(1, 40), st.integers(2, 8))
def test_a_leave_moves_only_what_the_leaver_had(count, members):
    before = allot(range(count), {f"m{n}": () for n in range(members)})
    left = before.pop("m0")
    after = allot(range(count), before)
    moved = {number for member, numbers in after.items() for number in set(numbers) - set(before[member])}
    assert moved == set(left)


def cluster(**partitions: int) -> Any:
    return SimpleNamespace(
        partitions_for_topic=lambda topic: set(range(partitions[topic])) if topic in partitions else None
    )


def partitions_of(assignment: Any) -> set[tuple[str, int]]:
    decoded = ConsumerProtocolMemberAssignment.decode(assignment.encode())
    return {(place.topic, place.partition) for place in decoded.partitions()}


def test_a_member_tells_the_leader_what_it_had_over_the_wire():
    mine, other = ByNumber(), ByNumber()
    both = {"a": mine.metadata(["t"]), "b": other.metadata(["t"])}
    first = ByNumber().assign(cluster(t=4), both)
    mine.on_assignment(first["a"])
    other.on_assignment(first["b"])
    metadata = {
        name: ConsumerProtocolMemberMetadata.decode(assignor.metadata(["t"]).encode())
        for name, assignor in (("b", mine), ("a", other))  # the names change places; what they had decides
    }
    second = ByNumber().assign(cluster(t=4), metadata)
    assert partitions_of(second["b"]) == partitions_of(first["a"])


def test_topics_of_unequal_counts_still_have_equal_numbers_together():
    members = {name: ByNumber().metadata(["long", "short"]) for name in "ab"}
    given_out = [partitions_of(a) for a in ByNumber().assign(cluster(long=4, short=2), members).values()]
    assert set().union(*given_out) == {("long", n) for n in range(4)} | {("short", n) for n in range(2)}
    for partitions in given_out:
        assert {n for topic, n in partitions if topic == "short"} <= {n for topic, n in partitions if topic == "long"}


def test_a_member_gets_nothing_of_a_topic_that_it_does_not_know():
    members = {"old": ByNumber().metadata(["t"]), "new": ByNumber().metadata(["t", "added"])}
    given_out = ByNumber().assign(cluster(t=2, added=2), members)
    assert {topic for topic, _ in partitions_of(given_out["old"])} == {"t"}
    assert {n for topic, n in partitions_of(given_out["new"]) if topic == "added"} == {0, 1}


def test_user_data_that_cannot_be_read_counts_as_nothing():
    members = {
        "a": ConsumerProtocolMemberMetadata(0, ["t"], b"xyz"),
        "b": ConsumerProtocolMemberMetadata(0, ["t"], None),
    }
    given_out = ByNumber().assign(cluster(t=2), members)
    assert {name: len(partitions_of(a)) for name, a in given_out.items()} == {"a": 1, "b": 1}
