"""The rights of each role, as values and as commands. That they suffice, and are no more, is shown on a broker: tests/kafka."""

import shlex

import pytest

from failsoft.catalogue import Catalogue, Resource, Role, commands, load, parse, rights

CATALOGUE: Catalogue = parse("""
version: 1
defaults: {partitions: 1, replication: 1, config: {message.timestamp.type: LogAppendTime}}
classes:
  interactive: {weight: 8, deadline: 5s, deadline_max: 60s}
  batch:       {weight: 1, deadline: 1h, deadline_max: 2h}
pipelines: {shop: [find, answer], other: [only]}
topics:
  requests:     {config: {retention.ms: 7d}}
  results:      {config: {retention.ms: 7d}}
  dead-letters: {config: {retention.ms: 14d}}
  outcomes:     {config: {retention.ms: 1h}}
  answers:      {config: {cleanup.policy: compact}}
  breakers:     {config: {cleanup.policy: compact}}
  latency:      {config: {cleanup.policy: compact}}
  degradation:  {config: {cleanup.policy: compact}}
  controls:     {config: {cleanup.policy: compact}}
  drills:       {config: {cleanup.policy: compact}}
reply_topics: [for-app]
""")


def said(role: Role) -> set[str]:
    return {
        f"{operation} {right.name}{'*' * right.is_prefix}"
        for right in rights(CATALOGUE, role)
        for operation in right.operations
        if "shop" in right.name or right.name == "for-app"
    }


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        (Role.PRODUCER, {"Write shop.find.interactive", "Write shop.find.batch"}),
        (Role.READER, {"Read shop.results"}),
        (
            Role.WORKER,
            {
                "Read shop.find.interactive", "Read shop.find.batch", "Read failsoft.shop.find",
                "Read shop.answer.interactive", "Read shop.answer.batch", "Read failsoft.shop.answer",
                "Write shop.answer.interactive", "Write shop.answer.batch",
                "Write shop.results", "Write shop.dead-letters", "Write shop.outcomes", "Read shop.outcomes", "Write for-app",
                "Read shop.answers", "Write shop.answers", "Read shop.breakers", "Write shop.breakers",
                "Read shop.controls", "Read shop.latency",
            },
        ),
        (
            Role.STREAMS,
            {
                "Read shop.outcomes", "Read failsoft.shop.streams.latency", "Read failsoft.shop.streams.degradation",
                "Read shop.latency", "Write shop.latency", "Read shop.degradation", "Write shop.degradation",
            },
        ),
        (
            Role.REPLAYER,
            {
                f"{operation} shop.{topic}"
                for operation in ("Read", "Write")
                for topic in ("find.interactive", "find.batch", "answer.interactive", "answer.batch", "dead-letters")
            },
        ),
        (
            Role.OPERATOR,
            {
                "Create shop.*", "Alter shop.*", "AlterConfigs shop.*", "Describe failsoft.shop.*",
                "Read shop.dead-letters", "Read shop.breakers", "Read shop.degradation",
                "Read shop.controls", "Write shop.controls", "Read shop.drills", "Write shop.drills",
            },
        ),
    ],
)  # fmt: skip
def test_a_role_has_what_it_needs_and_no_more(role, expected):
    assert said(role) == expected


@pytest.mark.parametrize("role", Role)
def test_no_role_may_delete_or_change_rights(role):
    assert not {operation for right in rights(CATALOGUE, role) for operation in right.operations} & {"Delete", "All"}
    assert {right.resource for right in rights(CATALOGUE, role)} <= {Resource.TOPIC, Resource.GROUP}


def test_every_pipeline_has_its_own():
    assert {right.name for right in rights(CATALOGUE, Role.READER)} == {"shop.results", "other.results"}


def test_a_command_is_what_the_tool_of_kafka_takes():
    [command] = [
        line
        for line in commands(rights(CATALOGUE, Role.OPERATOR), "User:ops")
        if " --operation Create" in line and "shop" in line
    ]
    assert shlex.split(command)[-12:] == [
        "--allow-principal", "User:ops", "--operation", "Create", "--operation", "Alter", "--operation", "AlterConfigs",
        "--topic", "shop.", "--resource-pattern-type", "prefixed",
    ]  # fmt: skip


def test_the_reference_catalogue_has_rights_for_everybody():
    assert all(rights(load(), role) for role in Role)
