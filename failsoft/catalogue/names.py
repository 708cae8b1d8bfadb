"""What topics are called.

``<pipeline>.<stage>.<class>`` for requests, ``<pipeline>.<kind>`` for all that a pipeline has once. Names have no dots,
so that the two forms cannot meet and an operator can grant rights by prefix; they have no underscores either, because
Kafka's own metrics cannot tell those from dots.
"""

import re

from failsoft.policy.request import ClassName

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
"""Of pipelines, stages and classes. 63 as in DNS labels: three of them fit well into Kafka's 249."""

TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)
"""What Kafka itself accepts."""


def requests_topic(pipeline: str, stage: str, request_class: ClassName) -> str:
    """Name the topic from which one stage takes the requests of one class."""
    return f"{pipeline}.{stage}.{request_class}"


def results_topic(pipeline: str) -> str:
    """Name the topic in which every request of a pipeline ends."""
    return pipeline_topic(pipeline, "results")


def dead_letters_topic(pipeline: str) -> str:
    """Name the topic that keeps, for people, what could not be served."""
    return pipeline_topic(pipeline, "dead-letters")


def pipeline_topic(pipeline: str, kind: str) -> str:
    """Name a topic that a pipeline has once."""
    return f"{pipeline}.{kind}"


def pipeline_prefix(pipeline: str) -> str:
    """Everything that begins with this belongs to the pipeline."""
    return f"{pipeline}."


def group_name(pipeline: str, stage: str) -> str:
    """Name the group of a stage; without a stage the beginning of the names of all groups of a pipeline."""
    return f"failsoft.{pipeline}.{stage}"


def streams_group_name(pipeline: str, app: str) -> str:
    """Name the group of one of the apps that add up roll-ups. With a dot more than that of any stage."""
    return group_name(pipeline, f"streams.{app}")
