"""Dead letters as people name them: each once, with what was done about it, and the filters."""

from dataclasses import replace

import pytest

from failsoft.policy.errors import ConfigurationError
from failsoft.policy.outcome import Reason
from failsoft.runtime.dead_letter_marks import drop, put_mark
from failsoft.runtime.dead_letters import Selection, read_whole
from failsoft.wire import Record
from failsoft.wire.dead_letter import encode_dead_letter
from failsoft.wire.dead_letter_mark import Deed, Mark
from failsoft.wire.identity import result_id
from failsoft.wire.limits import LARGE_VALUE_BYTES
from tests.runtime.dead_letter_office import BATCH, INTERACTIVE, SHELF, Office


async def test_letters_are_read_without_what_they_hold_and_what_is_foreign_is_counted():
    office = Office()
    await office.put(office.letter("q1"))
    await office._append(SHELF, Record(b"k", b"v", (("type", b"of somebody else"),)))
    shelf = await office.shelf()
    [letter] = shelf.letters
    assert (letter.request.id, letter.reason, letter.size_bytes, letter.is_whole, letter.is_open) == (
        "q1", Reason.POISON, 2, True, True,
    )  # fmt: skip
    assert shelf.foreign == 1
    assert not any(isinstance(getattr(letter, name), bytes) for name in type(letter).__slots__)


async def test_a_letter_that_was_written_again_after_a_crash_is_one_with_two_places():
    office = Office()
    await office.put(office.letter("q1"), office.letter("q1"), office.letter("q2", offset=1))
    assert sorted(len(letter.places) for letter in await office.letters()) == [1, 2]


async def test_a_request_that_was_sent_again_and_given_up_again_is_another_letter():
    office = Office()
    await office.put(office.letter("q1"), office.letter("q1", offset=1))
    first, second = await office.letters()
    assert first.result_id == second.result_id
    assert first.id != second.id


async def test_of_several_marks_the_one_that_knows_best_counts_wherever_they_stand():
    office = Office()
    await office.put(office.letter("q1"))
    [letter] = await office.letters()
    for deed in (Deed.REPLAYED, Deed.SENDING):
        for partition in range(3):
            await put_mark(
                office.outbox, SHELF, replace(letter, places=((partition, 0),)), Mark(letter.id, deed, 1, BATCH)
            )
    [letter] = await office.letters(Selection(is_of_all=True))
    assert (letter.deed, letter.replays, letter.is_open) == (Deed.REPLAYED, 1, False)


async def test_marks_stand_in_every_partition_in_which_their_letter_does_so_that_it_goes_before_them():
    office = Office()
    record = encode_dead_letter(office.letter("q1"))
    for partition in (0, 2, 2):
        await office._append(SHELF, record, partition)
    await drop(office.outbox, SHELF, await office.letters(), lambda _: None)
    logs = office.broker.topic(SHELF).logs
    assert [log.end for log in logs] == [2, 0, 3]


async def test_a_dropped_letter_is_open_no_more_and_still_there():
    office = Office()
    await office.put_many(3)
    dropped: list[str] = []
    await drop(office.outbox, SHELF, (await office.letters())[:2], lambda letter: dropped.append(letter.request.id))
    assert sorted(dropped) == ["q0", "q1"]
    assert [letter.request.id for letter in await office.letters()] == ["q2"]
    assert len(await office.letters(Selection(is_of_all=True))) == 3


async def selected(office: Office, **selection) -> list[str]:
    return sorted(letter.request.id for letter in await office.letters(Selection(**selection)))


async def test_filters_choose_and_all_of_them_have_to_fit():
    office = Office()
    malformed = replace(office.letter("bad", topic="shop.answer.batch"), reason=Reason.MALFORMED)
    await office.put(malformed, office.letter("mine", ce_tenant="acme"), office.letter("fast", topic=INTERACTIVE))
    by_id = {letter.request.id: letter for letter in await office.letters()}
    assert await selected(office) == ["bad", "fast", "mine"]
    assert await selected(office, reasons=frozenset({Reason.MALFORMED})) == ["bad"]
    assert await selected(office, stage="find") == ["fast", "mine"]
    assert await selected(office, stage="shop.answer") == ["bad"]
    assert await selected(office, tenant="acme") == ["mine"]
    assert await selected(office, tenant="acme", stage="answer") == []
    assert await selected(office, id="fast") == ["fast"]
    assert await selected(office, id=by_id["mine"].result_id) == ["mine"]
    assert await selected(office, id=by_id["mine"].result_id[:8].upper()) == ["mine"]
    assert await selected(office, id=by_id["mine"].result_id[:7]) == []


async def test_since_is_with_its_instant_and_until_without():
    office = Office()
    await office.put(office.letter("q1"))
    [letter] = await office.letters()
    at = letter.appended_at
    assert await selected(office, since_at=at) == ["q1"]
    assert await selected(office, since_at=at + 0.001) == []
    assert await selected(office, until_at=at) == []
    assert await selected(office, until_at=at + 0.001) == ["q1"]


async def test_one_letter_is_read_whole_from_its_place():
    office = Office()
    await office.put_many(3)
    [letter] = await office.letters(Selection(id="q1"))
    assert (await read_whole(office.read, SHELF, letter)).value == b"q1"
    with pytest.raises(ConfigurationError, match="retention"):
        await read_whole(office.read, SHELF, replace(letter, places=((0, 99),)))


async def test_of_a_value_too_large_to_keep_its_size_is_known():
    office = Office()
    await office.put(replace(office.letter("q1"), value=bytes(LARGE_VALUE_BYTES)))
    [letter] = await office.letters()
    assert (letter.is_whole, letter.size_bytes) == (False, LARGE_VALUE_BYTES)
    assert letter.result_id == result_id(letter.request)
