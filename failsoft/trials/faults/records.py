"""Poison, and what operators do to topics.

A poisonous record is sent under the headers of a request, so that it has a name, and everybody can see that it gets a result:
it is invalid, or, where it kills the process that works on it, failed after three crashes.
"""

import asyncio
from collections.abc import Mapping

from failsoft.catalogue import DescribedTopic, TopicSpec, dead_letters_topic
from failsoft.kafka import operations
from failsoft.kafka.admin import Admin
from failsoft.policy.request import ClassName
from failsoft.trials.faults.names import KILLER
from failsoft.trials.faults.names import NAME as PIPELINE
from failsoft.trials.faults.site import NotHere, Site, Strike, persist
from failsoft.trials.history import Unreadable

OVERSIZED_BYTES = 1_100_000
"""Above what a worker reads (1,000,000), below what the topic takes (1.25 MiB)."""
DEPTH = 5_000
KILLS_SECONDS = 180.0
"""Three times a process dies, is started again, and waits out the session of the dead one; other faults set that back."""
LOOK_SECONDS = 0.2
LIMIT = "max.message.bytes"


async def poison_undecodable(site: Site, strike: Strike) -> None:
    """Bytes that are no JSON, no text."""
    await _poison(site, strike, strike.rng.randbytes(200))


async def poison_oversized(site: Site, strike: Strike) -> None:
    """A value that is larger than a worker reads."""
    await _poison(site, strike, b'{"custom_id": "' + b"x" * OVERSIZED_BYTES + b'"}')


async def poison_nested(site: Site, strike: Strike) -> None:
    """Brackets so deep that a recursive reader falls over."""
    await _poison(site, strike, b"[" * DEPTH + b"]" * DEPTH)


async def _poison(site: Site, strike: Strike, value: bytes) -> None:
    request_class = _any_class(site, strike)
    strike.begins(site.topics[request_class])
    site.callers.poison(request_class, value)
    await strike.lasts()


async def poison_killer(site: Site, strike: Strike) -> None:
    """A prompt that kills the process that calls a model with it. Over when it has been given up, after three crashes."""
    if not site.gives_killers_up:
        raise NotHere("this build does not give up a record that kills its worker")
    strike.begins(site.topics["batch"])
    id_ = site.callers.ask_poisonously("batch", KILLER)
    async with asyncio.timeout(KILLS_SECONDS):
        while id_ not in site.shown():  # noqa: ASYNC110 - what we wait for is in other processes
            await asyncio.sleep(LOOK_SECONDS)
    for number in site.crew.workers:
        await site.crew.readiness(number)


async def dead_letters_unwritable(site: Site, strike: Strike) -> None:
    """The topic of dead letters takes nothing (its limit is set to one byte) while a poisonous record comes.

    The record has to wait: given up without a dead letter it would be lost for those who look into them.
    """
    topic = dead_letters_topic(PIPELINE)
    before = (await persist(lambda: _described(site, topic))).overrides
    strike.begins(topic)
    try:
        await persist(lambda: _set(site, topic, {**before, LIMIT: "1"}))
        site.callers.poison(_any_class(site, strike), strike.rng.randbytes(200))
        await strike.lasts()
    finally:
        await persist(lambda: _set(site, topic, before))


async def _described(site: Site, topic: str) -> DescribedTopic:
    async with Admin(site.connection) as admin:
        return (await admin.describe([topic])).topics[topic]


async def _set(site: Site, topic: str, config: Mapping[str, str]) -> None:
    async with Admin(site.connection) as admin:
        await admin.set_config({topic: config})


async def topic_recreated(site: Site, strike: Strike) -> None:
    """An operator deletes a topic of requests and makes it anew; callers were told and wait, workers were not.

    What had not been served is gone, by the operator's hand; it is written down before. What comes after must be served, though
    its offsets have all been seen.
    """
    topic = site.topics["batch"]
    strike.begins(topic)
    spec = next(each for each in site.catalogue.wanted_topics() if each.name == topic)
    site.callers.hold(topic)
    try:
        await site.callers.flush(topic)
        await _write_down(site, strike, topic)
        await persist(lambda: operations.delete_topic(site.connection, topic))
        await strike.lasts()
    finally:
        await persist(lambda: _create(site, spec))
        strike.recreated = [topic]
        site.incarnations[topic] = site.incarnations.get(topic, 0) + 1
        site.callers.release(topic)


async def _create(site: Site, spec: TopicSpec) -> None:
    async with Admin(site.connection) as admin:
        await admin.create([spec])


async def _write_down(site: Site, strike: Strike, topic: str) -> None:
    """Dump the topic, and say what of it may never be read: all from where the group has got to."""
    incarnation = site.incarnations.get(topic, 0)
    await site.dump(topic)
    committed = await persist(lambda: operations.committed(site.connection, site.trial.group))
    strike.unreadable = [
        Unreadable(
            topic, number, committed[topic, number].offset if (topic, number) in committed else 0, None, incarnation
        )
        for number in range(site.catalogue.topics["requests"].partitions)
    ]


def _any_class(site: Site, strike: Strike) -> ClassName:
    return strike.rng.choice(list(site.topics))
