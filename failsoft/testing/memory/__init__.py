"""A broker in memory: the interfaces of :mod:`failsoft.kafka` on the simulator's Kafka, for stages in virtual time.

=========  =====================================================================================
module     holds
=========  =====================================================================================
broker     topics as logs, the groups, and the way to them
inbox      the records of one stage, and the offsets back
outbox     sends until acknowledged
results    results, each visible once
raw        a topic as it stands in the log
view       a topic that is compacted elsewhere, all of it and what comes
worker     the production runner between them
=========  =====================================================================================

What Kafka does is decided in :mod:`failsoft.simulation` (logs, generations, fenced commits, keeping over a rebalance), once for
the simulator and for this; here is only the asyncio face of it. It stands in for Kafka where a stage is the thing under test.
What Kafka itself does is tested on a real one, and what both must do alike is one suite that runs on both (tests/conformance).

Out of its scope, on purpose: a topic that does not exist is an error here, and waited for there. Records without a key go to
partition 0, and keys to other numbers than Kafka's hash gives them. Nothing expires and nothing is compacted. There is one
broker, which forgets nothing while it lives, and no clock but its own, so no clock offset is measured.
"""

from failsoft.testing.memory.broker import MemoryBroker, MemoryLink
from failsoft.testing.memory.inbox import MemoryInbox
from failsoft.testing.memory.outbox import MemoryOutbox
from failsoft.testing.memory.raw import memory_records
from failsoft.testing.memory.results import MemoryResultReader
from failsoft.testing.memory.view import MemoryView
from failsoft.testing.memory.worker import MemoryWorker

__all__ = [
    "MemoryBroker",
    "MemoryInbox",
    "MemoryLink",
    "MemoryOutbox",
    "MemoryResultReader",
    "MemoryView",
    "MemoryWorker",
    "memory_records",
]
