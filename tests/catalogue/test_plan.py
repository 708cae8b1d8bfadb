import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.catalogue import (
    AddPartitions,
    ChangeConfig,
    Create,
    DescribedCluster,
    DescribedTopic,
    Plan,
    TopicSpec,
    Unfixable,
    capped,
    diff,
    parse,
)

CATALOGUE = parse("""
version: 1
defaults: {partitions: 6, replication: 3, config: {min.insync.replicas: 2, message.timestamp.type: LogAppendTime}}
classes:
  interactive: {weight: 8, deadline: 5s, deadline_max: 60s}
  batch:       {weight: 1, deadline: 1h, deadline_max: 2h}
pipelines: {digits: [classify]}
topics:
  requests:     {config: {retention.ms: 7d}}
  results:      {config: {retention.ms: 7d}}
  dead-letters: {config: {retention.ms: 7d}}
  answers:      {config: {cleanup.policy: "compact,delete", min.cleanable.dirty.ratio: 0.5}}
""")
WANTED = {spec.name: spec for spec in CATALOGUE.wanted_topics()}
RESULTS = "digits.results"
BATCH = "digits.classify.batch"


def as_described(spec: TopicSpec) -> DescribedTopic:
    return DescribedTopic(spec.name, spec.partitions, spec.replication, dict(spec.config), dict(spec.config))


def in_step(brokers: int = 3) -> DescribedCluster:
    return DescribedCluster(brokers, {name: as_described(capped(spec, brokers)) for name, spec in WANTED.items()})


def with_topic(cluster: DescribedCluster, name: str, **changes) -> DescribedCluster:
    return replace(cluster, topics={**cluster.topics, name: replace(cluster.topics[name], **changes)})


def carry_out(plan: Plan, cluster: DescribedCluster, *, repartition: bool) -> DescribedCluster:
    """What a real cluster would be after everything that is allowed was done."""
    for entry in plan.allowed(repartition=repartition):
        match entry:
            case Create(topic):
                cluster = replace(cluster, topics={**cluster.topics, topic.name: as_described(topic)})
            case AddPartitions(name, _, want):
                cluster = with_topic(cluster, name, partitions=want)
            case ChangeConfig(name, changes):
                new = {key: value for key, (_, value) in changes.items()}
                cluster = with_topic(cluster, name, config={**cluster.topics[name].config, **new})
    return cluster


@pytest.mark.parametrize(
    ("replication", "min_isr", "replicas", "expected"),
    [
        (3, "2", 1, (1, "1")),
        (3, "2", 2, (2, "1")),
        (3, "2", 3, (3, "2")),
        (3, "2", 5, (3, "2")),
        (3, "1", 2, (2, "1")),
        (2, "2", 2, (2, "2")),
        (5, "3", 3, (3, "2")),
    ],
)
def test_replication_and_min_isr_are_capped_so_that_one_lost_broker_does_not_stop_writes(
    replication, min_isr, replicas, expected
):
    spec = capped(TopicSpec("t", 1, replication, {"min.insync.replicas": min_isr}), replicas)
    assert (spec.replication, spec.config["min.insync.replicas"]) == expected


def test_capping_invents_no_min_isr():
    assert capped(TopicSpec("t", 1, 3, {}), 1) == TopicSpec("t", 1, 1, {})


def test_an_empty_cluster_needs_every_topic():
    plan = diff(CATALOGUE, DescribedCluster(3, {}))
    assert plan.entries == tuple(Create(spec) for spec in CATALOGUE.wanted_topics())
    assert plan.warnings == ()


def test_capping_is_said_once_with_numbers():
    plan = diff(CATALOGUE, DescribedCluster(1, {}))
    (warning,) = plan.warnings
    assert "replication 3 is wanted for 5 topics, but there is 1 broker: capped to 1" in warning
    assert "not for production" in warning


@pytest.mark.parametrize("brokers", [1, 2, 3, 4])
def test_a_cluster_that_was_made_from_the_catalogue_is_in_step(brokers):
    assert diff(CATALOGUE, in_step(brokers)).is_in_step


@pytest.mark.parametrize(
    ("change", "entry"),
    [
        ({"partitions": 4}, AddPartitions(RESULTS, 4, 6)),
        ({"config": {}}, ChangeConfig(RESULTS, {k: (None, v) for k, v in WANTED[RESULTS].config.items()})),
        (
            {"config": {**WANTED[RESULTS].config, "retention.ms": "1"}},
            ChangeConfig(RESULTS, {"retention.ms": ("1", "604800000")}),
        ),
    ],
)
def test_what_differs_is_planned(change, entry):
    assert diff(CATALOGUE, with_topic(in_step(), RESULTS, **change)).entries == (entry,)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"partitions": 12}, r"12 partitions where 6 are wanted; Kafka cannot remove any"),
        (
            {"replication": 2, "config": {**WANTED[RESULTS].config, "min.insync.replicas": "1"}},
            r"replication 2 where 3",
        ),
        ({"replication": 5}, r"replication 5 where 3 is wanted; move it with kafka-reassign-partitions\.sh"),
    ],
)
def test_what_kafka_cannot_do_in_place_is_for_a_person(change, reason):
    plan = diff(CATALOGUE, with_topic(in_step(), RESULTS, **change))
    (entry,) = plan.entries
    assert isinstance(entry, Unfixable)
    assert re.match(reason, entry.reason)
    assert plan.allowed(repartition=True) == ()


@pytest.mark.parametrize(
    "same",
    [
        {"cleanup.policy": "delete, compact"},
        {"min.cleanable.dirty.ratio": "0.50"},
        {"retention.bytes": "-1"},
    ],
)
def test_what_kafka_takes_for_the_same_or_nobody_wished_for_is_no_drift(same):
    config = {**WANTED["digits.answers"].config, **same}
    assert diff(CATALOGUE, with_topic(in_step(), "digits.answers", config=config)).is_in_step


def test_a_broker_that_is_down_for_a_while_loosens_nothing():
    assert diff(CATALOGUE, replace(in_step(3), brokers=2)).is_in_step


def test_a_topic_with_one_replica_is_not_asked_for_two_in_sync_when_brokers_arrive():
    entries = diff(CATALOGUE, replace(in_step(1), brokers=3)).entries
    assert [type(entry) for entry in entries] == [Unfixable] * len(WANTED)


def test_unknown_topics_of_a_pipeline_are_named_and_those_of_others_are_not():
    cluster = in_step()
    strangers = {
        name: as_described(TopicSpec(name, 1, 1, {})) for name in ("digits.old", "digitsx.results", "payments")
    }
    plan = diff(CATALOGUE, replace(cluster, topics={**cluster.topics, **strangers}))
    assert plan.unknown == ("digits.old",)
    assert plan.is_in_step


def test_growth_is_allowed_only_on_request():
    plan = diff(CATALOGUE, with_topic(in_step(), BATCH, partitions=1))
    assert plan.allowed(repartition=False) == ()
    assert plan.allowed(repartition=True) == (AddPartitions(BATCH, 1, 6),)


def test_classes_of_a_stage_that_would_stay_unequal_are_warned_of():
    (warning,) = diff(CATALOGUE, with_topic(in_step(), BATCH, partitions=12)).warnings
    assert "stage digits.classify have unequal partition counts" in warning
    assert "digits.classify.interactive 6, digits.classify.batch 12" in warning
    assert diff(CATALOGUE, with_topic(in_step(), BATCH, partitions=4)).warnings == ()


described = st.builds(
    DescribedTopic,
    name=st.just(""),
    partitions=st.integers(1, 9),
    replication=st.integers(1, 5),
    config=st.dictionaries(
        st.sampled_from(["retention.ms", "min.insync.replicas", "cleanup.policy", "segment.bytes"]),
        st.sampled_from(["1", "2", "604800000", "delete"]),
    ),
    overrides=st.just({}),
)


@st.composite
def clusters(draw: st.DrawFn) -> DescribedCluster:
    names = draw(st.sets(st.sampled_from([*WANTED, "digits.stray"])))
    return DescribedCluster(draw(st.integers(1, 5)), {name: replace(draw(described), name=name) for name in names})


@given(clusters(), st.booleans())
def test_after_apply_nothing_is_left_that_apply_could_do(cluster, repartition):
    plan = diff(CATALOGUE, cluster)
    after = diff(CATALOGUE, carry_out(plan, cluster, repartition=repartition))
    assert after.allowed(repartition=repartition) == ()
    assert after.entries == tuple(entry for entry in plan.entries if entry not in plan.allowed(repartition=repartition))


@given(clusters())
def test_apply_never_deletes_and_never_shrinks(cluster):
    after = carry_out(diff(CATALOGUE, cluster), cluster, repartition=True)
    assert after.topics.keys() >= cluster.topics.keys()
    assert all(after.topics[name].partitions >= topic.partitions for name, topic in cluster.topics.items())


@given(st.integers(1, 5))
def test_a_fresh_cluster_of_any_size_is_in_step_after_apply(brokers):
    empty = DescribedCluster(brokers, {})
    assert diff(CATALOGUE, carry_out(diff(CATALOGUE, empty), empty, repartition=False)).is_in_step
