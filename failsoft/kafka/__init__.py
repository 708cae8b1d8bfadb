"""Kafka, and the only package that imports aiokafka.

===========  =====================================================================================
module       holds
===========  =====================================================================================
connection   where the cluster is
inbox        the records of one stage, and the offsets back
membership   which partitions are ours; fenced commits; keeping work over a rebalance
assignor     who gets which partition numbers
fetcher      one class's records, at the pace of whoever takes them
outbox       sends until acknowledged; replaces a producer that cannot heal
missing      a topic to send to that is not there: an outage, or a mistake
results      results, each visible once
view         a compacted topic, all of it and what comes
raw          a topic as it stands in the log, repeats and all
admin        topics: describe, plan, apply
duty         what a watchdog looks at
private      every touch of aiokafka's private parts
===========  =====================================================================================
"""

from failsoft.kafka.clients import equal_partitions, partition_counts
from failsoft.kafka.connection import Connection
from failsoft.kafka.duty import Duty, DutyKind
from failsoft.kafka.inbox import Inbox
from failsoft.kafka.listener import Fetched, InboxListener
from failsoft.kafka.outbox import Acknowledged, Outbox, OutboxClosed, RecordRefused
from failsoft.kafka.probe import cluster_is_whole
from failsoft.kafka.results import ResultReader, ResultRecord
from failsoft.kafka.view import View, ViewRecord

__all__ = [
    "Acknowledged",
    "Connection",
    "Duty",
    "DutyKind",
    "Fetched",
    "Inbox",
    "InboxListener",
    "Outbox",
    "OutboxClosed",
    "RecordRefused",
    "ResultReader",
    "ResultRecord",
    "View",
    "ViewRecord",
    "cluster_is_whole",
    "equal_partitions",
    "partition_counts",
]
