"""Replays on the broker in memory: what is sent, what stands in the way, and each letter once wherever the process is killed."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from failsoft import Constant, Pipeline
from failsoft.kafka import ResultRecord
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.outcome import Outcome
from failsoft.runtime.dead_letter_marks import put_mark
from failsoft.runtime.dead_letters import Selection
from failsoft.runtime.replay_terms import Obstacle, Terms
from failsoft.testing.memory import MemoryWorker
from failsoft.testing.virtual_time import run_in_virtual_time
from failsoft.wire import Identity, Record
from failsoft.wire.dead_letter import encode_dead_letter
from failsoft.wire.dead_letter_mark import Deed, Mark
from failsoft.wire.envelope import decode_headers
from failsoft.wire.identity import result_id
from failsoft.wire.limits import LARGE_VALUE_BYTES
from failsoft.wire.result import decode_result
from tests.runtime.dead_letter_office import BATCH, CATALOGUE, INTERACTIVE, SHELF, Office, Refusing

FAST = Terms(per_second=1e6)
COUNT = 3


def replay_of(id_: str, number: int = 1) -> str:
    return f"/replay/{result_id(Identity('/app', id_))} {number}"


def once(count: int) -> dict[tuple[str, bytes], int]:
    return {(replay_of(f"q{number}"), f"q{number}".encode()): 1 for number in range(count)}


async def deeds(office: Office) -> dict[str, Deed | None]:
    return {letter.request.id: letter.deed for letter in await office.letters(Selection(is_of_all=True))}


async def test_each_letter_goes_to_the_topic_it_came_from_and_is_open_no_more():
    office = Office()
    await office.put(office.letter("slow"), office.letter("fast", topic=INTERACTIVE))
    tally = (await office.replay(FAST)).tally
    assert (tally.replayed, tally.found, tally.obstacles) == (2, 0, {})
    assert office.sent(BATCH) == {(replay_of("slow"), b"slow"): 1}
    assert office.sent(INTERACTIVE) == {(replay_of("fast"), b"fast"): 1}
    assert await deeds(office) == {"slow": Deed.REPLAYED, "fast": Deed.REPLAYED}
    assert (await office.replay(FAST)).tally.replayed == 0


async def test_a_letter_that_stands_twice_is_replayed_once():
    office = Office()
    await office.put(office.letter("q0"), office.letter("q0"))
    await office.replay(FAST)
    assert office.sent() == once(1)


async def test_all_of_them_can_be_sent_elsewhere_within_the_pipeline():
    office = Office()
    await office.put(
        office.letter("q0", topic=INTERACTIVE), replace(office.letter("q1", offset=1), topic="shop.old.batch")
    )
    await office.replay(replace(FAST, to=BATCH))
    assert office.sent() == once(2)
    with pytest.raises(ConfigurationError, match=r"--to elsewhere: .*shop\.find\.batch"):
        await office.replay(replace(FAST, to="elsewhere"))


async def test_the_deadline_is_the_classs_or_what_is_asked_for():
    office = Office()
    await office.put(office.letter("q0"), office.letter("fast", topic=INTERACTIVE))
    await office.replay(FAST, letters=[letter for letter in await office.letters() if letter.request.id == "q0"])
    await office.replay(replace(FAST, deadline_seconds=30.0))
    [batch], [interactive] = office.records(BATCH), office.records(INTERACTIVE)
    budgets = [
        decode_headers(record.headers, topic=BATCH, partition=0, offset=0).stamp.budget_seconds
        for record in (batch, interactive)
    ]
    assert budgets == [3600.0, 30.0]


async def test_to_a_later_stage_it_is_sent_as_between_stages():
    office = Office()
    await office.put(office.letter("q0"), office.letter("later", topic="shop.answer.batch"))
    await office.replay(FAST)
    sent_at = {
        topic: decode_headers(record.headers, topic=topic, partition=0, offset=0).stamp.sent_at is not None
        for topic in (BATCH, "shop.answer.batch")
        for record in office.records(topic)
    }
    assert sent_at == {BATCH: True, "shop.answer.batch": False}


async def test_a_deadline_that_a_class_does_not_take_is_refused_before_anything_is_sent():
    office = Office()
    await office.put(office.letter("q0"), office.letter("fast", topic=INTERACTIVE))
    with pytest.raises(ConfigurationError, match="class interactive"):
        await office.replay(replace(FAST, deadline_seconds=3600.0))
    assert not office.sent()


def test_a_deadline_can_be_kept_and_one_that_has_passed_is_not_sent_to_its_end():
    async def main() -> None:
        office = Office()
        await office.put(office.letter("q0"))
        await asyncio.sleep(2)
        await office.put(office.letter("q1", offset=1))
        await asyncio.sleep(4)
        tally = (await office.replay(replace(FAST, keeps_deadline=True))).tally
        assert (tally.replayed, tally.obstacles) == (1, {Obstacle.DEADLINE_PASSED: 1})
        [record] = office.records(BATCH)
        stamp = decode_headers(record.headers, topic=BATCH, partition=0, offset=0).stamp
        assert stamp.budget_seconds == pytest.approx(1.0, abs=0.01)
        assert office.noted == [("q0", Obstacle.DEADLINE_PASSED)]
        assert await deeds(office) == {"q0": None, "q1": Deed.REPLAYED}

    run_in_virtual_time(main())


async def test_what_cannot_be_replayed_stays_open_and_is_counted_by_what_is_in_the_way():
    office = Office()
    many = {f"h{number}": "" for number in range(24)}
    await office.put(
        replace(office.letter("large"), value=bytes(LARGE_VALUE_BYTES)),
        office.letter("lost", topic="shop.gone.batch", offset=1),
        office.letter("crowded", offset=2, **many),
        office.letter("fine", offset=3),
    )
    tally = (await office.replay(FAST)).tally
    assert tally.replayed == 1
    assert sorted(office.noted) == [
        ("crowded", Obstacle.MALFORMED), ("large", Obstacle.NO_VALUE), ("lost", Obstacle.UNKNOWN_TOPIC),
    ]  # fmt: skip
    assert await deeds(office) == {"large": None, "lost": None, "crowded": None, "fine": Deed.REPLAYED}


async def test_what_its_topic_does_not_take_stays_open():
    office = Office()
    await office.put(office.letter("q0"))
    tally = (await office.replay(FAST, outbox=Refusing(office.broker, BATCH))).tally
    assert tally.obstacles == {Obstacle.TOO_LARGE: 1}
    assert (await office.letters())[0].is_open
    assert (await office.replay(FAST)).tally.replayed == 1


async def test_a_letter_whose_retention_passes_meanwhile_is_counted():
    office = Office()
    await office.put(office.letter("q0"))
    [letter] = await office.letters()
    tally = (await office.replay(FAST, letters=[replace(letter, places=((2, 7),))])).tally
    assert tally.obstacles == {Obstacle.GONE: 1}


async def test_a_request_that_comes_back_is_replayed_three_times_and_then_needs_a_person():
    office = Office()
    await office.put(office.letter("q0"))
    for number in range(1, 4):
        assert (await office.replay(FAST)).tally.replayed == 1
        [again] = [record for record in office.records(BATCH) if dict(record.headers)["ce_id"] == b"%d" % number]
        await office.put(replace(office.letter("q0"), offset=number, headers=tuple(again.headers)))
    tally = (await office.replay(FAST)).tally
    assert (tally.replayed, tally.obstacles) == (0, {Obstacle.REPLAYED_OFTEN: 1})
    assert set(office.sent()) == {(replay_of("q0", number), b"q0") for number in (1, 2, 3)}
    assert (await office.replay(replace(FAST, max_replays=4))).tally.replayed == 1


async def test_a_letter_that_was_handled_can_be_replayed_again_under_the_next_number():
    office = Office()
    await office.put(office.letter("q0"))
    await office.replay(FAST)
    await office.replay(FAST, letters=await office.letters(Selection(is_of_all=True)))
    assert office.sent() == {(replay_of("q0"), b"q0"): 1, (replay_of("q0", 2), b"q0"): 1}


async def test_a_dry_run_sends_nothing_and_counts_the_same():
    office = Office()
    await office.put(office.letter("q0"), office.letter("lost", topic="shop.gone.batch", offset=1))
    before = [log.end for log in office.broker.topic(SHELF).logs]
    tally = (await office.replay(replace(FAST, is_dry=True))).tally
    assert (tally.replayed, tally.obstacles) == (1, {Obstacle.UNKNOWN_TOPIC: 1})
    assert not office.sent()
    assert [log.end for log in office.broker.topic(SHELF).logs] == before


def test_no_more_are_sent_in_a_second_than_was_said():
    async def main() -> None:
        office = Office()
        await office.put_many(10)
        began_at = office.clock.monotonic()
        await office.replay(Terms(per_second=2.0))
        assert office.clock.monotonic() - began_at == pytest.approx(4.5)
        ends = sorted(entry.appended_at for log in office.broker.topic(BATCH).logs for entry in log.read(0, 99))
        assert all(later - earlier >= 0.499 for earlier, later in itertools.pairwise(ends))

    run_in_virtual_time(main())


@pytest.mark.parametrize("is_written", [False, True], ids=["before it is written", "before it is acknowledged"])
@pytest.mark.parametrize("dies_at", range(3 * COUNT))
async def test_each_letter_is_sent_once_wherever_the_process_is_killed_and_goes_on(dies_at, is_written):
    office = Office()
    await office.put_many(COUNT)
    assert await office.replay_until_killed(dies_at, is_written=is_written)
    await office.replay(FAST)
    assert office.sent() == once(COUNT)
    assert set((await deeds(office)).values()) == {Deed.REPLAYED}


@pytest.mark.parametrize("first", range(0, 3 * COUNT, 2))
@pytest.mark.parametrize("second", range(0, 3 * COUNT, 2))
async def test_being_killed_while_going_on_changes_nothing(first, second):
    office = Office()
    await office.put_many(COUNT)
    await office.replay_until_killed(first, is_written=True, terms=FAST)
    await office.replay_until_killed(second, is_written=True, terms=FAST)
    await office.replay(FAST)
    assert office.sent() == once(COUNT)


async def cut_off_before_the_last_mark(office: Office, terms: Terms = FAST) -> None:
    """One letter was replayed, and the process was killed before it could say so."""
    [letter] = await office.letters()
    await office.replay(terms)
    marked = office.broker.topic(SHELF).logs[letter.places[0][0]]
    marked._entries.pop()
    marked.end -= 1


async def test_what_was_sent_elsewhere_before_a_kill_is_not_sent_once_more():
    office = Office()
    await office.put(office.letter("q0", topic=INTERACTIVE))
    await cut_off_before_the_last_mark(office, replace(FAST, to=BATCH))
    assert (await office.replay(FAST)).tally.found == 1
    assert office.sent(BATCH) == once(1)
    assert not office.sent(INTERACTIVE)


async def test_a_dry_run_after_a_kill_finds_what_was_sent_and_leaves_it_to_be_found():
    office = Office()
    await office.put(office.letter("q0"))
    await cut_off_before_the_last_mark(office)
    for _ in range(2):
        tally = (await office.replay(replace(FAST, is_dry=True))).tally
        assert (tally.found, tally.replayed) == (1, 0)
    assert await deeds(office) == {"q0": Deed.SENDING}


async def test_who_looks_for_what_was_sent_reads_no_further_when_he_has_found_it():
    """Days of a busy topic may have come behind it."""
    office = Office()
    await office.put(office.letter("q0"))
    await cut_off_before_the_last_mark(office)
    [sent] = office.records(BATCH)
    foreign = (("ce_source", b"/app"), ("ce_id", b"1"))
    for _ in range(100):
        await office.outbox.send(BATCH, key=sent.key, value=b"{}", headers=foreign)
    read, passed = office.read, Counter[str]()

    async def counted(topic: str, *, since: float) -> AsyncGenerator[ResultRecord, None]:
        async for record in read(topic, since=since):
            passed[topic] += 1
            yield record

    office.read = counted  # type: ignore[method-assign]  # it looks on
    assert (await office.replay(FAST)).tally.found == 1
    assert passed[BATCH] == 1


async def test_what_may_have_been_sent_to_a_topic_that_is_gone_is_sent_again():
    office = Office()
    await office.put(office.letter("q0"))
    [letter] = await office.letters()
    await put_mark(office.outbox, SHELF, letter, Mark(letter.id, Deed.SENDING, 1, "shop.gone.batch"))
    assert (await office.replay(FAST)).tally.replayed == 1
    assert office.sent() == once(1)


def test_what_a_worker_gives_up_comes_back_under_a_new_name_and_each_time_has_a_result():
    async def main() -> None:
        office = Office()
        pipeline = Pipeline("shop")
        pipeline.stage("find").tier("large", Constant({"found": True}), level=1)
        worker = MemoryWorker(office.broker, pipeline.stages["find"], catalogue=CATALOGUE)
        await worker.start()
        headers = [("ce_source", b"/app"), ("ce_id", b"q0"), ("correlation_id", b"c")]
        await office._append(BATCH, Record(b"k", b"{no json", headers))
        for _ in range(4):
            await asyncio.sleep(5)
            await office.replay(FAST)
        await asyncio.sleep(5)
        await worker.stop()
        results = [decode_result(record.headers, record.value) for record in office.records("shop.results")]
        original = result_id(Identity("/app", "q0"))
        names = [(f"/replay/{original}", str(number)) for number in (1, 2, 3)]
        assert sorted((each.request.source, each.request.id) for each in results) == [("/app", "q0"), *names]
        assert {(each.outcome, each.correlation) for each in results} == {
            (Outcome.INVALID, (("correlation_id", b"c"),))
        }
        letters = await office.letters(Selection(is_of_all=True))
        assert [(letter.replays, letter.is_open) for letter in letters] == [
            (1, False),
            (2, False),
            (3, False),
            (3, True),
        ]
        assert office.noted == [("3", Obstacle.REPLAYED_OFTEN)]

    run_in_virtual_time(main())


async def test_two_people_who_replay_at_once_send_requests_of_the_same_names():
    office = Office()
    await office.put_many(COUNT)
    letters = await office.letters()
    await asyncio.gather(office.replay(FAST, letters=letters), office.replay(FAST, letters=letters))
    assert office.sent().keys() == once(COUNT).keys()


async def test_a_letter_in_the_way_of_decoding_is_no_letter():
    office = Office()
    record = encode_dead_letter(office.letter("q0"))
    await office._append(SHELF, record._replace(headers=[header for header in record.headers if header[0] != "reason"]))
    shelf = await office.shelf()
    assert (shelf.letters, shelf.foreign) == ([], 1)
