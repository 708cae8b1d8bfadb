"""What the fields of a catalogue must not say together: else a promise would fail long after the deploy.

* A class's deadline is at most its maximum.
* Requests are retained for twice the longest deadline, results for the longest deadline and a day: whoever asks may
  wait until the deadline and still has to read. Both must be *said*; a broker's own default cannot be checked here.
* Neither they nor dead letters are compacted: two requests may have one key.
* Every topic is stamped by the broker (LogAppendTime): its clock is the one that all hosts share.
* Answers have as many partitions as requests: whoever owns a partition of requests reads the answers with its number.
* min.insync.replicas is at most the replication, else no acknowledged write can succeed.
* A reply topic is none of our own: a reply read as a request would answer itself for ever.
"""

from collections.abc import Iterator, Mapping

from failsoft.catalogue.declaration import CatalogueShape
from failsoft.catalogue.document import Problem
from failsoft.catalogue.names import pipeline_prefix
from failsoft.policy.durations import UNIT_SECONDS

DAY_SECONDS = UNIT_SECONDS["d"]
FOREVER = -1

UNCOMPACTED = ("requests", "results", "dead-letters")


def broken_rules(shape: CatalogueShape, settings: Mapping[str, tuple[int, Mapping[str, str]]]) -> Iterator[Problem]:
    """Find what does not go together.

    Args:
        shape: the catalogue as written.
        settings: replication and full configuration by kind of topic, defaults included.
    """
    yield from _deadlines(shape)
    longest = max(each.deadline_max for each in shape.classes.values())
    configs = {kind: config for kind, (_, config) in settings.items()}
    yield from _retention(configs, "requests", 2 * longest, f"twice the longest deadline_max ({longest:g} s)")
    yield from _retention(
        configs, "results", longest + DAY_SECONDS, f"the longest deadline_max ({longest:g} s) and a day"
    )
    yield from _compaction(configs)
    yield from _clock(configs)
    yield from _answers(shape)
    yield from _replicas(settings)
    yield from _replies(shape)


def _deadlines(shape: CatalogueShape) -> Iterator[Problem]:
    for name, each in shape.classes.items():
        if each.deadline > each.deadline_max:
            yield Problem(
                ("classes", name, "deadline"),
                f"{each.deadline:g} s is more than deadline_max ({each.deadline_max:g} s); shorten it or raise that",
            )


def _retention(configs: Mapping[str, Mapping[str, str]], kind: str, least: float, reason: str) -> Iterator[Problem]:
    field = ("topics", kind, "config", "retention.ms")
    written = configs[kind].get("retention.ms")
    if written is None:
        yield Problem(field, f"is missing; say at least {least:g}s: {reason}")
    elif int(written) != FOREVER and int(written) < least * 1000:
        yield Problem(field, f"{int(written) / 1000:g} s is too short; keep at least {least:g}s: {reason}")


def _compaction(configs: Mapping[str, Mapping[str, str]]) -> Iterator[Problem]:
    for kind in UNCOMPACTED:
        if "compact" in configs[kind].get("cleanup.policy", "delete"):
            yield Problem(("topics", kind, "config", "cleanup.policy"), "compaction would drop records; use delete")


def _clock(configs: Mapping[str, Mapping[str, str]]) -> Iterator[Problem]:
    for kind, config in configs.items():
        if config.get("message.timestamp.type") != "LogAppendTime":
            yield Problem(
                ("topics", kind, "config", "message.timestamp.type"),
                "deadlines are counted on the broker's clock; set LogAppendTime, best in defaults.config",
            )


def _answers(shape: CatalogueShape) -> Iterator[Problem]:
    topics, usual = shape.topics, shape.defaults.partitions
    wanted = topics.requests.partitions or usual
    if topics.answers is not None and (topics.answers.partitions or usual) != wanted:
        yield Problem(
            ("topics", "answers", "partitions"),
            f"requests have {wanted} partitions, and whoever owns one reads its answers; use {wanted} here too",
        )


def _replicas(settings: Mapping[str, tuple[int, Mapping[str, str]]]) -> Iterator[Problem]:
    for kind, (replication, config) in settings.items():
        written = config.get("min.insync.replicas", "1")
        if not written.isdecimal() or not 1 <= int(written) <= replication:
            yield Problem(
                ("topics", kind, "config", "min.insync.replicas"),
                f"{written} cannot be met with replication {replication}; use 1 to {replication}",
            )


def _replies(shape: CatalogueShape) -> Iterator[Problem]:
    for index, topic in enumerate(shape.reply_topics):
        for pipeline in shape.pipelines:
            if topic.startswith(pipeline_prefix(pipeline)):
                yield Problem(("reply_topics", index), f"{topic} belongs to the pipeline {pipeline}; reply elsewhere")
