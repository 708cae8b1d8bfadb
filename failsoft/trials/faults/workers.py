"""Faults of workers: killed, told to stop, frozen, coming and going, with a wrong clock, or gone until the offsets expired."""

import asyncio

from failsoft.kafka import operations
from failsoft.policy.errors import EnvironmentFailure
from failsoft.runtime.clock import SKEW_VARIABLE
from failsoft.trials.faults.site import Site, Strike

SKEW_SECONDS = 90.0
STORM_STEP_SECONDS = 0.8
EMPTY_SECONDS = 15.0
LOOK_SECONDS = 0.5


async def worker_killed(site: Site, strike: Strike) -> None:
    """SIGKILL; another is started after a while."""
    number = _anyone(site, strike)
    strike.begins(f"worker {number}")
    await site.crew.kill(number)
    await strike.lasts()
    await _back(site, number)


async def worker_stopped(site: Site, strike: Strike) -> None:
    """SIGTERM: it drains, commits, leaves; another is started after a while."""
    number = _anyone(site, strike)
    strike.begins(f"worker {number}")
    await site.crew.terminate(number)
    await strike.lasts()
    await _back(site, number)


async def worker_frozen(site: Site, strike: Strike) -> None:
    """SIGSTOP and SIGCONT, shorter or longer than the group's patience: when it wakes it may believe to own what others have."""
    number = _anyone(site, strike)
    strike.begins(f"worker {number}, for {strike.seconds:g} s")
    site.crew.freeze(number)
    try:
        await strike.lasts()
    finally:
        site.crew.thaw(number)


async def join_leave_storm(site: Site, strike: Strike) -> None:
    """Workers leave and join all the time, so that one rebalance begins in another."""
    strike.begins("all workers but one at a time")
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + strike.seconds
    while loop.time() < ends_at:
        number = strike.rng.choice(list(site.crew.workers))
        if not site.crew.workers[number].is_running:
            site.crew.launch(number)
        elif sum(worker.is_running for worker in site.crew.workers.values()) > 1:
            await site.crew.terminate(number)
        await asyncio.sleep(strike.rng.uniform(0.0, 2 * STORM_STEP_SECONDS))
    await _back(site, *site.crew.workers)


async def clock_skew(site: Site, strike: Strike) -> None:
    """A worker whose wall clock is a minute and a half ahead or behind; all that it judges deadlines by is on the broker's."""
    number = _anyone(site, strike)
    skew = strike.rng.choice([-SKEW_SECONDS, SKEW_SECONDS])
    strike.begins(f"worker {number}, by {skew:+g} s")
    await site.crew.terminate(number)
    site.crew.workers[number].extra = {SKEW_VARIABLE: f"{skew:g}"}
    await _back(site, number)
    try:
        await strike.lasts()
    finally:
        site.crew.workers[number].extra = {}
    await site.crew.terminate(number)
    await _back(site, number)


async def offsets_expired(site: Site, strike: Strike) -> None:
    """Nobody works, and the group's offset of one partition goes, as after a week away: it is read from its beginning again.

    Kafka lets a person delete offsets only while nobody reads the topic, and by itself deletes those of a group without members
    after ``offsets.retention.minutes``, of which one is the least; this is the first, with the effect of the second. It is a
    partition of the class with the fewest requests, because all of it is done again.
    """
    topic = site.topics["batch"]
    number = strike.rng.randrange(site.catalogue.topics["requests"].partitions)
    strike.begins(f"{topic}-{number}")
    await asyncio.gather(*(site.crew.terminate(number) for number in site.crew.workers))
    try:
        await _forget(site, topic, number)
        strike.forgot_offsets = True
        await strike.lasts()
    finally:
        for worker in site.crew.workers.values():
            if not worker.is_running:
                site.crew.launch(worker.number)
    await _back(site, *site.crew.workers)


async def _forget(site: Site, topic: str, number: int) -> None:
    """Delete one offset, once the group has no members: one that was killed is a member until its session ends."""
    async with asyncio.timeout(EMPTY_SECONDS):
        while True:
            try:
                return await operations.forget_offsets(site.connection, site.trial.group, [(topic, number)])
            except EnvironmentFailure:
                await asyncio.sleep(LOOK_SECONDS)


def _anyone(site: Site, strike: Strike) -> int:
    """Who is struck: somebody who works, if anybody does."""
    running = [number for number, worker in site.crew.workers.items() if worker.is_ready]
    return strike.rng.choice(running or list(site.crew.workers))


async def _back(site: Site, *numbers: int) -> None:
    for number in numbers:
        if not site.crew.workers[number].is_running:
            site.crew.launch(number)
    for number in numbers:
        await site.crew.readiness(number)
