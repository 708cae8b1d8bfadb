"""Who may do what with the topics and groups of a catalogue: the least that each role needs, as Kafka's ACLs.

==========  =================================================================================================================
role        does
==========  =================================================================================================================
producer    writes requests into the first stage of a pipeline
worker      reads requests, commits how far it is, writes ends: results, dead letters, roll-ups, replies, later stages; shares
            with other workers what it knows of endpoints, hears operators, and how later stages do
streams     reads roll-ups, writes what it makes of them, and reads that back where it takes over
reader      reads results; in no group, so that there is nothing to commit
operator    creates topics and changes what is set on them, reads dead letters, breakers and degradation, looks at groups, reads
            and writes controls and drills; a runbook that checks what is served needs the role reader besides
replayer    reads dead letters, sends what was given up into its stage once more, and looks there for what it has sent already;
            marks dead letters as handled
==========  =================================================================================================================

Nobody is given what would undo the promises: no role deletes topics or records, only a worker commits for its group, and a
producer cannot write into a later stage, nor a result. A replayer can write into every stage, and reads what was asked: nobody
needs that for anything else, so it is a role of its own. Operations imply others in Kafka: Read and Write imply Describe, Alter
implies it too, AlterConfigs implies DescribeConfigs; an idempotent producer needs no right of its own since 2.8.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from failsoft.catalogue.catalogue import Catalogue
from failsoft.catalogue.names import (
    dead_letters_topic,
    group_name,
    pipeline_prefix,
    pipeline_topic,
    results_topic,
    streams_group_name,
)

READ_MODELS = ("latency", "degradation")
"""What is made of the workers' roll-ups: the app and its topic have one name."""
_SAID_BY_WORKERS = ("results", "dead-letters", "outcomes", "answers", "breakers")
_HEARD_BY_WORKERS = ("answers", "breakers", "latency", "controls")


class Role(StrEnum):
    """What somebody does with a pipeline."""

    PRODUCER = "producer"
    WORKER = "worker"
    STREAMS = "streams"
    READER = "reader"
    OPERATOR = "operator"
    REPLAYER = "replayer"


class Resource(StrEnum):
    """What a right is about, as ``kafka-acls`` calls it."""

    TOPIC = "topic"
    GROUP = "group"


@dataclass(frozen=True, slots=True)
class Right:
    """What may be done with one resource, or with all whose names begin so.

    Attributes:
        resource: its kind.
        name: its name.
        operations: as Kafka names them.
        is_prefix: the name is the beginning of names.
    """

    resource: Resource
    name: str
    operations: tuple[str, ...]
    is_prefix: bool = False


def rights(catalogue: Catalogue, role: Role) -> tuple[Right, ...]:
    """List what a role needs, for all pipelines of a catalogue."""
    return tuple(right for pipeline in catalogue.pipelines for right in _of_pipeline(catalogue, role, pipeline))


def _of_pipeline(catalogue: Catalogue, role: Role, pipeline: str) -> Iterable[Right]:
    match role:
        case Role.PRODUCER:
            return _topics(catalogue.stage_topics(pipeline, catalogue.pipelines[pipeline][0]).values(), "Write")
        case Role.READER:
            return _topics([results_topic(pipeline)], "Read")
        case Role.WORKER:
            return _of_workers(catalogue, pipeline)
        case Role.STREAMS:
            return _of_streams(catalogue, pipeline)
        case Role.OPERATOR:
            return _of_operators(catalogue, pipeline)
        case Role.REPLAYER:
            return _of_replayers(catalogue, pipeline)


def _of_workers(catalogue: Catalogue, pipeline: str) -> Iterator[Right]:
    stages = catalogue.pipelines[pipeline]
    for position, stage in enumerate(stages):
        operations = ("Read",) if position == 0 else ("Read", "Write")
        yield from _topics(catalogue.stage_topics(pipeline, stage).values(), *operations)
        yield Right(Resource.GROUP, group_name(pipeline, stage), ("Read",))
    yield from _topics(_known(catalogue, pipeline, _SAID_BY_WORKERS), "Write")
    yield from _topics(_known(catalogue, pipeline, _HEARD_BY_WORKERS), "Read")
    if len(stages) > 1:  # one hears how the next ones do
        yield from _topics(_known(catalogue, pipeline, ("outcomes",)), "Read")
    yield from _topics(catalogue.reply_topics, "Write")


def _of_streams(catalogue: Catalogue, pipeline: str) -> Iterator[Right]:
    yield from _topics(_known(catalogue, pipeline, ("outcomes",)), "Read")
    yield from _topics(_known(catalogue, pipeline, READ_MODELS), "Read", "Write")
    for app in READ_MODELS:
        if app in catalogue.topics:
            yield Right(Resource.GROUP, streams_group_name(pipeline, app), ("Read",))


def _of_operators(catalogue: Catalogue, pipeline: str) -> Iterator[Right]:
    yield Right(Resource.TOPIC, pipeline_prefix(pipeline), ("Create", "Alter", "AlterConfigs"), is_prefix=True)
    yield Right(Resource.GROUP, group_name(pipeline, ""), ("Describe",), is_prefix=True)
    yield from _topics(_known(catalogue, pipeline, ("dead-letters", "breakers", "degradation")), "Read")
    yield from _topics(_known(catalogue, pipeline, ("controls", "drills")), "Read", "Write")


def _of_replayers(catalogue: Catalogue, pipeline: str) -> Iterator[Right]:
    yield from _topics([dead_letters_topic(pipeline)], "Read", "Write")
    for stage in catalogue.pipelines[pipeline]:
        yield from _topics(catalogue.stage_topics(pipeline, stage).values(), "Read", "Write")


def commands(wanted: Iterable[Right], principal: str) -> Iterator[str]:
    """Write rights as commands of Kafka's own tool; the shell fills in where the cluster is."""
    for right in wanted:
        operations = " ".join(f"--operation {operation}" for operation in right.operations)
        pattern = " --resource-pattern-type prefixed" if right.is_prefix else ""
        yield (
            f"kafka-acls --bootstrap-server $KAFKA_BOOTSTRAP_SERVERS --command-config $ADMIN --add "
            f"--allow-principal '{principal}' {operations} --{right.resource} {right.name}{pattern}"
        )


def _topics(names: Iterable[str], *operations: str) -> list[Right]:
    return [Right(Resource.TOPIC, name, operations) for name in names]


def _known(catalogue: Catalogue, pipeline: str, kinds: Iterable[str]) -> list[str]:
    return [pipeline_topic(pipeline, kind) for kind in kinds if kind in catalogue.topics]
