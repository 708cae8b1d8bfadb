"""Faults of the network: cut, black hole, delay, reset, throttle.

Who is hit is drawn: all workers but one on their way to one broker, one worker on its way to all of them, or the callers on their
way to one. Brokers always reach each other, as within a rack, so that these are the faults of clients and not of replication.
"""

from collections.abc import Sequence

from failsoft.testing.proxy import BLACK_HOLE, CUT, PASS, Behaviour, Proxy
from failsoft.trials.faults.site import Site, Strike

WORKERS, ALONE, CALLERS = "workers", "alone", "callers"
GROUPS = (WORKERS, ALONE, CALLERS)
DELAY = Behaviour(delay_seconds=0.25)
THROTTLE = Behaviour(bytes_per_second=20_000.0)
"""About half of what the load needs on one connection, so that queues build up."""


async def network_cut(site: Site, strike: Strike) -> None:
    """Connections are reset, new ones refused."""
    await _behave(site, strike, CUT)


async def network_black_hole(site: Site, strike: Strike) -> None:
    """Nothing goes through, and nobody is told."""
    await _behave(site, strike, BLACK_HOLE)


async def network_delay(site: Site, strike: Strike) -> None:
    """Each piece waits a quarter of a second, both ways."""
    await _behave(site, strike, DELAY)


async def network_throttle(site: Site, strike: Strike) -> None:
    """So many bytes a second."""
    await _behave(site, strike, THROTTLE)


async def network_reset(site: Site, strike: Strike) -> None:
    """Every open connection is reset once."""
    target, proxies = _target(site, strike)
    strike.begins(target)
    for proxy in proxies:
        proxy.reset()
    await strike.lasts()


async def _behave(site: Site, strike: Strike, behaviour: Behaviour) -> None:
    target, proxies = _target(site, strike)
    strike.begins(target)
    try:
        for proxy in proxies:
            await proxy.behave(behaviour)
        await strike.lasts()
    finally:
        for proxy in proxies:
            await proxy.behave(PASS)


def _target(site: Site, strike: Strike) -> tuple[str, Sequence[Proxy]]:
    group = strike.rng.choice(GROUPS)
    proxies = site.ensemble.gates[group].proxies
    if group == ALONE:
        return "worker 1 and all nodes", proxies
    node = strike.rng.randrange(len(proxies))
    return f"{group} and node {node + 1}", [proxies[node]]
