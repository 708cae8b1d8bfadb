"""Kafka as pure values: logs with offsets and append times, a group with generations, results of which the first is visible.

Instants come in as ``now``, and nothing here knows an engine or a loop: the simulator drives it in virtual time, and an
in-memory broker can put an asyncio face on the same model. Only what the runtime relies on is modelled (research/kafka.md):
eager rebalances, session timeouts, commits fenced by generation and member, compaction. One broker, which never loses what it
has acknowledged.
"""

from failsoft.simulation.world.group import Answer, Group, Membership
from failsoft.simulation.world.log import Entry, Log
from failsoft.simulation.world.visible import VisibleOnce

__all__ = ["Answer", "Entry", "Group", "Log", "Membership", "VisibleOnce"]
