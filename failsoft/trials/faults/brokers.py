"""Faults of brokers: killed as leader, killed as controller, restarted one by one, frozen, out of disk.

Each is over when the broker is back and every replica is in sync again, so that the next one does not find two of three down.
With one broker each of them is an outage.
"""

import asyncio
import contextlib
from pathlib import Path

from failsoft.kafka import operations
from failsoft.policy.errors import EnvironmentFailure
from failsoft.trials.faults.site import NotHere, Site, Strike, persist

FILLER = "filler"
PIECE = b"\0" * (1 << 20)


async def leader_killed(site: Site, strike: Strike) -> None:
    """SIGKILL for whoever leads a partition that matters now: of requests, of results, of the group's offsets."""
    topics = [*site.all_topics, "__consumer_offsets"]
    found = await persist(lambda: operations.leaders(site.connection, topics))
    led = {place: node for place, node in found.items() if node > 0}
    if not led:
        raise EnvironmentFailure("no partition has a leader")
    topic = strike.rng.choice(sorted({topic for topic, _ in led}))
    place = strike.rng.choice(sorted(place for place in led if place[0] == topic))
    strike.begins(f"node {led[place]}, leader of {place[0]}-{place[1]}")
    await _down(site, strike, led[place])


async def controller_killed(site: Site, strike: Strike) -> None:
    """SIGKILL for the node that leads the controllers; it is a broker too."""
    node = site.ensemble.active_controller() or strike.rng.choice(list(site.ensemble.nodes))
    strike.begins(f"node {node}")
    await _down(site, strike, node)


async def _down(site: Site, strike: Strike, node: int) -> None:
    await site.ensemble.kill(node)
    try:
        await strike.lasts()
    finally:
        await site.ensemble.start(node)
    await site.in_sync()


async def rolling_restart(site: Site, strike: Strike) -> None:
    """Stop and start one after another in order, as an upgrade does."""
    strike.begins("all nodes")
    for node in site.ensemble.nodes:
        await site.ensemble.stop(node)
        await site.ensemble.start(node)
        await site.in_sync()


async def broker_frozen(site: Site, strike: Strike) -> None:
    """SIGSTOP: connections stay open and silent, the others elect new leaders, and then it wakes and believes it leads."""
    node = strike.rng.choice(list(site.ensemble.nodes))
    strike.begins(f"node {node}")
    site.ensemble.freeze(node)
    try:
        await strike.lasts()
    finally:
        site.ensemble.thaw(node)
    await site.in_sync()


async def disk_full(site: Site, strike: Strike) -> None:
    """Fill the disk of one node: it cannot write, and gives up. Then there is room again, and it is started again."""
    if site.small_disk is None:
        raise NotHere("no node's records live on a small disk of their own, which takes three brokers, Linux and root")
    node, folder = site.small_disk
    strike.begins(f"node {node}")
    filler = folder / FILLER
    try:
        await asyncio.to_thread(_fill, filler)
        await strike.lasts()
    finally:
        filler.unlink(missing_ok=True)
        await site.ensemble.kill(node)
        await site.ensemble.start(node)
    await site.in_sync()


def _fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(PIECE):
            pass
