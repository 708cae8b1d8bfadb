"""The difference between the topics that are wanted and those that are there.

Replication is capped by the brokers there are, and ``min.insync.replicas`` by ``max(1, replicas - 1)``, so that one
lost broker does not stop writes; a plan compares with the capped wish, and is clean after it was applied. A topic that
exists is held to the replicas that *it* has: one broker that is down for a while must not loosen its
``min.insync.replicas``, and brokers that come later must not ask of a single replica to be two.

Nothing here deletes or shrinks. What Kafka cannot do in place (fewer partitions, other replication) is reported for
people; topics with the prefix of a pipeline that nobody asked for are named and left alone.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from failsoft.catalogue.catalogue import Catalogue, TopicSpec
from failsoft.catalogue.config import changed
from failsoft.catalogue.names import pipeline_prefix

_MIN_ISR = "min.insync.replicas"


@dataclass(frozen=True, slots=True)
class DescribedTopic:
    """A topic as the cluster has it.

    Attributes:
        config: every value in force, defaults of the broker included.
        overrides: those that were set on this topic.
    """

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]
    overrides: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DescribedCluster:
    """How many brokers there are, and the topics that have a pipeline's prefix."""

    brokers: int
    topics: Mapping[str, DescribedTopic]


@dataclass(frozen=True, slots=True)
class Create:
    """The topic is missing; this is what it becomes, capped."""

    topic: TopicSpec


@dataclass(frozen=True, slots=True)
class AddPartitions:
    """The topic has too few partitions. Keys move to other partitions, so somebody must allow it."""

    name: str
    have: int
    want: int


@dataclass(frozen=True, slots=True)
class ChangeConfig:
    """Values in force that differ: (old, new) by key, old None where the broker does not know the key."""

    name: str
    changes: Mapping[str, tuple[str | None, str]]


@dataclass(frozen=True, slots=True)
class Unfixable:
    """A difference that only people can settle, and how."""

    name: str
    reason: str


Entry = Create | AddPartitions | ChangeConfig | Unfixable


@dataclass(frozen=True, slots=True)
class Plan:
    """What would have to be done.

    Attributes:
        brokers: how many there are.
        entries: every difference, in the order of the catalogue.
        unknown: topics with the prefix of a pipeline that the catalogue does not name.
        warnings: what is not drift but should be known.
    """

    brokers: int
    entries: tuple[Entry, ...]
    unknown: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def is_in_step(self) -> bool:
        """Whether the cluster is as the catalogue wants it."""
        return not self.entries

    def allowed(self, *, repartition: bool) -> tuple[Entry, ...]:
        """List what may be done without a person: all but the unfixable, and growth only where it was allowed."""
        never: tuple[type[Entry], ...] = (Unfixable,) if repartition else (Unfixable, AddPartitions)
        return tuple(entry for entry in self.entries if not isinstance(entry, never))


def diff(catalogue: Catalogue, cluster: DescribedCluster) -> Plan:
    """Compare what is wanted with what is there."""
    wanted = catalogue.wanted_topics()
    names = {spec.name for spec in wanted}
    prefixes = tuple(pipeline_prefix(pipeline) for pipeline in catalogue.pipelines)
    return Plan(
        brokers=cluster.brokers,
        entries=tuple(entry for spec in wanted for entry in _entries(spec, cluster)),
        unknown=tuple(sorted(name for name in cluster.topics if name.startswith(prefixes) and name not in names)),
        warnings=(*_capping(wanted, cluster), *_unequal(catalogue, wanted, cluster)),
    )


def capped(spec: TopicSpec, replicas: int) -> TopicSpec:
    """Ask for no more than so many replicas can give."""
    if replicas >= spec.replication:
        return spec
    config = dict(spec.config)
    if _MIN_ISR in config:
        config[_MIN_ISR] = str(min(int(config[_MIN_ISR]), max(1, replicas - 1)))
    return replace(spec, replication=replicas, config=config)


def _entries(spec: TopicSpec, cluster: DescribedCluster) -> Iterator[Entry]:
    have = cluster.topics.get(spec.name)
    if have is None:
        yield Create(capped(spec, cluster.brokers))
        return
    if have.partitions < spec.partitions:
        yield AddPartitions(spec.name, have.partitions, spec.partitions)
    if changes := changed(have.config, capped(spec, have.replication).config):
        yield ChangeConfig(spec.name, changes)
    if have.partitions > spec.partitions:
        yield Unfixable(
            spec.name,
            f"{have.partitions} partitions where {spec.partitions} are wanted; Kafka cannot remove any: raise the "
            "catalogue, or drain, delete and create it anew",
        )
    if not min(spec.replication, cluster.brokers) <= have.replication <= spec.replication:
        yield Unfixable(
            spec.name,
            f"replication {have.replication} where {min(spec.replication, cluster.brokers)} is wanted; "
            "move it with kafka-reassign-partitions.sh, or correct the catalogue",
        )


def _capping(wanted: Sequence[TopicSpec], cluster: DescribedCluster) -> Iterator[str]:
    """Say once, with numbers, that the cluster is too small for the catalogue."""
    short = [spec for spec in wanted if spec.replication > cluster.brokers and _lacks_replicas(spec, cluster)]
    for replication in sorted({spec.replication for spec in short}):
        count = sum(spec.replication == replication for spec in short)
        replicas = cluster.brokers
        yield (
            f"replication {replication} is wanted for {_counted(count, 'topic')}, but there "
            f"{'is 1 broker' if replicas == 1 else f'are {replicas} brokers'}: capped to {replicas}, "
            f"with min.insync.replicas at most {max(1, replicas - 1)}. "
            "A broker that is lost can take acknowledged requests with it; not for production."
        )


def _lacks_replicas(spec: TopicSpec, cluster: DescribedCluster) -> bool:
    have = cluster.topics.get(spec.name)
    return have is None or have.replication < spec.replication


def _unequal(catalogue: Catalogue, wanted: Iterable[TopicSpec], cluster: DescribedCluster) -> Iterator[str]:
    """Name the stages whose classes would not have equal partition counts even after the plan was carried out."""
    wish = {spec.name: spec.partitions for spec in wanted}
    for pipeline, stages in catalogue.pipelines.items():
        for stage in stages:
            topics = catalogue.stage_topics(pipeline, stage).values()
            counts = {name: max(wish[name], _partitions(cluster, name)) for name in topics}
            if len(set(counts.values())) > 1:
                listed = ", ".join(f"{name} {count}" for name, count in counts.items())
                yield (
                    f"the topics of stage {pipeline}.{stage} have unequal partition counts ({listed}): "
                    "equal numbers of all classes must be able to live on one worker, and workers will not start"
                )


def _partitions(cluster: DescribedCluster, name: str) -> int:
    return cluster.topics[name].partitions if name in cluster.topics else 0


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
