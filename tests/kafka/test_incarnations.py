"""A topic that an operator has deleted and made anew is another log, and what was said of the old one is void."""

import asyncio
import logging

import pytest

from failsoft.kafka import operations
from failsoft.kafka.clients import close_consumer, connected_consumer
from failsoft.kafka.connection import Connection
from failsoft.kafka.incarnations import Incarnations, log_name
from failsoft.policy.progress import Mark, Progress
from failsoft.policy.request import Partition

from .conftest import Listener, Stage, until
from .mock_cluster import Api, mock_cluster

BATCH = Partition("batch", 0)
ELSEWHERE = Partition("interactive", 0)


class Witness(Listener):
    """Keeps what each assignment has brought."""

    def records_of(self, assignment: int) -> list[bytes | None]:
        return [fetched.value for fetched in self.taken if fetched.assignment == assignment]


async def fill(outbox, topic, *values: bytes) -> None:
    for value in values:
        await outbox.send(topic, key=None, value=value, partition=0)


async def made_anew(stage, topic: str) -> None:
    await operations.delete_topic(stage.connection, topic)
    await stage.create()


def test_the_name_of_a_log_is_the_beginning_of_its_topics_id():
    assert log_name(bytes(range(16))) == "00010203"


def test_a_log_that_was_left_is_not_believed_in_again_when_a_broker_still_tells_of_it():
    incarnations = Incarnations(["t", "u"])
    assert incarnations.log_of("t") == ""
    incarnations.heard({"t": "aaaaaaaa", "u": "bbbbbbbb"})
    incarnations.heard({"t": "cccccccc"})
    incarnations.heard({"t": "aaaaaaaa", "u": "bbbbbbbb"})
    assert (incarnations.log_of("t"), incarnations.log_of("u")) == ("cccccccc", "bbbbbbbb")


@pytest.mark.kafka
async def test_a_log_that_has_outgrown_the_old_one_before_anybody_looks_is_begun_at_its_beginning(new_stage, outbox):
    stage, listener = await new_stage(1), Witness(rooms={"batch": 2})
    inbox = await stage.join(listener)
    await until(lambda: listener.owned.keys() == stage.everything)
    await fill(outbox, stage.topics["batch"], b"old-0", b"old-1")
    await until(lambda: len(listener.taken) == 2)
    old, kept = listener.owned[BATCH], listener.owned[ELSEWHERE]
    await made_anew(stage, stage.topics["batch"])
    values = [b"new-%d" % n for n in range(5)]
    await fill(outbox, stage.topics["batch"], *values)
    await until(lambda: listener.owned.get(BATCH, old) != old)
    assert await inbox.commit({BATCH: Mark(old, Progress(2))}) == frozenset()
    listener.rooms["batch"] = 100
    inbox.wake("batch")
    await until(lambda: listener.records_of(listener.owned[BATCH]) == values)
    assert listener.owned[ELSEWHERE] == kept, "its topic is the same"
    assert (await stage.committed())[BATCH] == 0, "only that it was begun"


@pytest.mark.kafka
async def test_an_empty_log_in_place_of_the_old_one_is_noticed_before_its_first_record(new_stage, outbox):
    stage, listener = await new_stage(1), Witness()
    await stage.join(listener)
    await until(lambda: listener.owned.keys() == stage.everything)
    await fill(outbox, stage.topics["batch"], b"old-0", b"old-1")
    await until(lambda: len(listener.taken) == 2)
    old = listener.owned[BATCH]
    await made_anew(stage, stage.topics["batch"])
    await until(lambda: listener.owned.get(BATCH, old) != old)
    await fill(outbox, stage.topics["batch"], b"new-0")
    await until(lambda: listener.records_of(listener.owned[BATCH]) == [b"new-0"])


@pytest.mark.kafka
async def test_a_commit_that_names_another_log_is_void_also_where_its_offset_exists(new_stage, outbox):
    stage, first, second = await new_stage(1), Witness(), Witness()
    await fill(outbox, stage.topics["batch"], *(b"%d" % n for n in range(5)))
    inbox = await stage.join(first)
    await until(lambda: first.owned.keys() == stage.everything)
    mark = Progress(3, frozenset({4}), 4, newest_at=2e9, is_clean=False, crashes=2, log="0ddba11d")
    assert await inbox.commit({BATCH: Mark(first.owned[BATCH], mark)}) == {BATCH}
    await inbox.stop()
    await stage.join(second)
    await until(lambda: len(second.taken) == 5)
    assert second.positions[BATCH] == 0


@pytest.mark.kafka
async def test_a_commit_of_the_same_log_holds_and_names_it(new_stage, outbox):
    stage, first, second = await new_stage(1), Witness(), Witness()
    await fill(outbox, stage.topics["batch"], *(b"%d" % n for n in range(5)))
    inbox = await stage.join(first)
    await until(lambda: first.owned.keys() == stage.everything)
    named = {place: said.metadata.split(";")[6] for place, said in (await group_of(stage)).items()}
    assert len(set(named.values()) - {""}) == 2, "each topic has an id of its own"
    mark = Progress(3, log=named[stage.topics["batch"], 0])
    assert await inbox.commit({BATCH: Mark(first.owned[BATCH], mark)}) == {BATCH}
    await inbox.stop()
    await stage.join(second)
    await until(lambda: len(second.taken) == 2)
    assert second.positions[BATCH] == 3


async def group_of(stage: Stage) -> dict[operations.Place, operations.Committed]:
    return await operations.committed(stage.connection, f"failsoft.{stage.pipeline}.stage")


async def test_brokers_that_tell_no_ids_change_nothing_and_that_is_said_once(caplog):
    incarnations = Incarnations(["t"])
    with mock_cluster() as cluster, caplog.at_level(logging.WARNING, "failsoft.kafka.incarnations"):
        cluster.create("t")
        cluster.speak(Api.METADATA, newest_version=9)
        consumer = await connected_consumer(Connection(cluster.bootstrap_servers))
        try:
            for _ in range(3):
                async with asyncio.timeout(10):
                    await incarnations.look(consumer)
        finally:
            await close_consumer(consumer)
    assert incarnations.log_of("t") == ""
    assert [record.getMessage() for record in caplog.records] == [
        "the brokers tell no topic ids: a topic made anew is noticed only when an offset goes back"
    ]
