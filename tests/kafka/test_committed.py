"""What a group has committed is read behind all that it was told is committed, also where replicas lag."""

import asyncio
import uuid
from contextlib import suppress
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import GroupLoadInProgressError, KafkaError, NotCoordinatorForGroupError

from failsoft.kafka import private
from failsoft.kafka.clients import close_consumer, connected_consumer
from failsoft.kafka.committed import committed
from failsoft.kafka.connection import Connection
from failsoft.testing.ensemble import Ensemble
from tests.kafka.conftest import create_topics

NOBODY = private.Fence(-1, "")
GROUP_LOADS, NOT_COORDINATOR = 14, 16


class Coordinator:
    """Stands for a consumer whose coordinator answers what it is told to."""

    group_id = "group"
    coordinator_id = 1

    def __init__(self, *, code: int = 0, part_code: int = 0) -> None:
        self._coordinator = self._client = self
        self.code, self.part_code = code, part_code
        self.asked: list[Any] = []
        self.is_dead = False

    async def ensure_coordinator_known(self) -> None: ...

    def coordinator_dead(self) -> None:
        self.is_dead = True

    async def send(self, node: int, request: Any) -> Any:
        asked = request.prepare({9: (1, 9)})
        self.asked.append(asked)
        parts: list[tuple[object, ...]] = [(0, 7, -1, "seven", self.part_code, {}), (1, -1, -1, None, 0, {})]
        return asked.RESPONSE_TYPE(0, [("topic", parts, {})], self.code, {})


async def committing(consumer: Any, place: TopicPartition, offset: int) -> None:
    """Commit, and again until it is taken: in a cluster that has just begun the coordinator is made and moves."""
    async with asyncio.timeout(30):
        while True:
            await consumer._coordinator.ensure_coordinator_known()
            with suppress(KafkaError):
                if await private.fenced_commit(consumer, NOBODY, {place: (offset, "beside")}) == {place: None}:
                    return
            await asyncio.sleep(0.1)


PARTITIONS = [TopicPartition("topic", 0), TopicPartition("topic", 1)]


async def test_only_stable_offsets_are_asked_for() -> None:
    coordinator = Coordinator()
    assert await committed(coordinator, PARTITIONS) == {PARTITIONS[0]: (7, "seven")}
    (asked,) = coordinator.asked
    assert (asked.API_VERSION, asked.group_id, asked.require_stable) == (7, "group", True)
    assert asked.topics == [("topic", [0, 1], {})]


@pytest.mark.parametrize("where", ["code", "part_code"])
async def test_who_is_not_the_coordinator_any_more_has_said_nothing(where) -> None:
    coordinator = Coordinator(**{where: NOT_COORDINATOR})
    with pytest.raises(NotCoordinatorForGroupError):
        await committed(coordinator, PARTITIONS)
    assert coordinator.is_dead


async def test_a_coordinator_that_still_reads_has_said_nothing() -> None:
    with pytest.raises(GroupLoadInProgressError):
        await committed(Coordinator(code=GROUP_LOADS), PARTITIONS)


@pytest.mark.kafka
async def test_what_a_group_has_committed_comes_back_with_what_stands_beside_it(kafka_bootstrap) -> None:
    topic, connection = f"committed-{uuid.uuid4().hex}", Connection(kafka_bootstrap)
    await create_topics(kafka_bootstrap, {topic: 2})
    consumer = await connected_consumer(connection, group_id=topic)
    try:
        place, other = TopicPartition(topic, 0), TopicPartition(topic, 1)
        await committing(consumer, place, 5)
        assert await committed(consumer, [place, other]) == {place: (5, "beside")}
    finally:
        await close_consumer(consumer)


@pytest.mark.kafka
async def test_an_answer_waits_for_replicas_that_lag_where_a_plain_one_is_old() -> None:
    async with Ensemble(3) as ensemble:
        await create_topics(ensemble.direct, {"topic": 1})
        consumer = await connected_consumer(Connection(ensemble.direct), group_id="group")
        try:
            place = PARTITIONS[0]
            await committing(consumer, place, 5)
            others = {1, 2, 3} - {consumer._coordinator.coordinator_id}
            for number in others:
                ensemble.freeze(number)
            commit = asyncio.create_task(private.fenced_commit(consumer, NOBODY, {place: (9, "")}))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(commit), 0.5)  # written, and shared with nobody
            assert await private.fetch_committed(consumer, [place]) == {place: (5, "beside")}
            answer = asyncio.create_task(committed(consumer, [place]))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(answer), 0.5)
            for number in others:
                ensemble.thaw(number)
            assert await answer == {place: (9, "")}
            assert await commit == {place: None}
        finally:
            await close_consumer(consumer)
