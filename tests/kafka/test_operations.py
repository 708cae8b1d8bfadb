"""What an operator may do to a running cluster."""

from collections.abc import Awaitable, Callable

import pytest

from failsoft.kafka import operations
from failsoft.kafka.outbox import Outbox
from failsoft.policy.errors import EnvironmentFailure
from failsoft.policy.request import Partition

from .conftest import Listener, Stage, marks, until

NewStage = Callable[[int], Awaitable[Stage]]

pytestmark = pytest.mark.kafka


async def test_offsets_are_forgotten_for_the_partitions_named_and_only_while_nobody_reads_them(
    new_stage: NewStage, outbox: Outbox
):
    stage = await new_stage(2)
    topic, listener = stage.topics["batch"], Listener()
    group = f"failsoft.{stage.pipeline}.stage"
    for number in range(4):
        await outbox.send(topic, key=b"k", value=b"v", partition=number % 2)
    inbox = await stage.join(listener)
    places = [Partition("batch", number) for number in range(2)]
    await until(lambda: set(places) <= set(listener.owned))
    await until(lambda: len(listener.taken) == 4)
    assert await inbox.commit(marks({place: (listener.owned[place], 2) for place in places})) == set(places)
    with pytest.raises(EnvironmentFailure, match="members of it read"):
        await operations.forget_offsets(stage.connection, group, [(topic, 0)])
    await inbox.stop()
    await operations.forget_offsets(stage.connection, group, [(topic, 0)])
    left = await operations.committed(stage.connection, group)
    assert {place: found.offset for place, found in left.items() if place[0] == topic} == {(topic, 1): 2}
    assert await operations.log_bounds(stage.connection, {topic: 2}) == {(topic, 0): (0, 2), (topic, 1): (0, 2)}


async def test_a_deleted_topic_is_gone_when_that_returns_and_may_be_made_anew(new_stage: NewStage):
    stage = await new_stage(2)
    topic = stage.topics["batch"]
    assert set(await operations.leaders(stage.connection, [topic])) == {(topic, 0), (topic, 1)}
    await operations.delete_topic(stage.connection, topic)
    assert await operations.leaders(stage.connection, [topic]) == {}
    await stage.create()
    assert set(await operations.leaders(stage.connection, [topic])) == {(topic, 0), (topic, 1)}
