"""The topic catalogue: what ``topics.yaml`` says, and how far a cluster is from it.

Pure but for reading the file; who talks to the cluster is :mod:`failsoft.kafka.admin`.
"""

from failsoft.catalogue.catalogue import Catalogue, ClassSettings, TopicSettings, TopicSpec, catalogue_text, load, parse
from failsoft.catalogue.names import (
    dead_letters_topic,
    pipeline_prefix,
    pipeline_topic,
    requests_topic,
    results_topic,
    streams_group_name,
)
from failsoft.catalogue.plan import (
    AddPartitions,
    ChangeConfig,
    Create,
    DescribedCluster,
    DescribedTopic,
    Entry,
    Plan,
    Unfixable,
    capped,
    diff,
)
from failsoft.catalogue.rights import Resource, Right, Role, commands, rights

__all__ = [
    "AddPartitions",
    "Catalogue",
    "ChangeConfig",
    "ClassSettings",
    "Create",
    "DescribedCluster",
    "DescribedTopic",
    "Entry",
    "Plan",
    "Resource",
    "Right",
    "Role",
    "TopicSettings",
    "TopicSpec",
    "Unfixable",
    "capped",
    "catalogue_text",
    "commands",
    "dead_letters_topic",
    "diff",
    "load",
    "parse",
    "pipeline_prefix",
    "pipeline_topic",
    "requests_topic",
    "results_topic",
    "rights",
    "streams_group_name",
]
