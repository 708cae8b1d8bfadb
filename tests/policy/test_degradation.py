"""The ledger of degradation: exact whatever is read twice, whoever takes over, and in whatever pieces it was published."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.degradation import CELL_SECONDS, KEPT_SECONDS, Cell, Count, Ledger
from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.rollup import Kind, RollUp

SERVED = Kind("interactive", 1, Reason.NONE, Outcome.OK)
LOWER = Kind("interactive", 2, Reason.QUEUE_LONG, Outcome.OK)
EXPIRED = Kind("batch", None, Reason.DEADLINE_PASSED, Outcome.EXPIRED)
FAILED = Kind("batch", None, Reason.DEADLINE_PASSED, Outcome.FAILED)
NOON = 1_800_000_000 // CELL_SECONDS * CELL_SECONDS


def told(*kinds: Kind, stage: str = "answer") -> RollUp:
    return RollUp(stage, Counter(kinds), {})


def folded(*rollups: tuple[int, RollUp], ledger: Ledger | None = None) -> Ledger:
    """One a second, of partition 0; each with its offset."""
    ledger = ledger or Ledger()
    for offset, rollup in rollups:
        ledger.fold(rollup, partition=0, offset=offset, appended_at=NOON + offset)
    return ledger


def cell(kind: Kind, *, begins_at: int = NOON, partition: int = 0) -> Cell:
    return Cell(begins_at, "answer", kind.request_class, kind.level or 0, kind.reason, partition)


def test_requests_of_a_minute_are_counted_by_class_level_and_reason():
    found = folded((0, told(SERVED, SERVED, LOWER)), (1, told(SERVED, EXPIRED, FAILED))).take_changed()
    assert found == {
        cell(SERVED): Count({Outcome.OK: 3}, 1),
        cell(LOWER): Count({Outcome.OK: 1}, 0),
        cell(EXPIRED): Count({Outcome.EXPIRED: 1, Outcome.FAILED: 1}, 1),
    }


def test_the_minute_is_that_of_the_broker():
    found = folded((59, told(SERVED)), (60, told(SERVED))).take_changed()
    assert [each.begins_at for each in found] == [NOON, NOON + CELL_SECONDS]


def test_partitions_and_stages_are_counted_apart():
    ledger = folded((0, told(SERVED)), (1, told(SERVED, stage="find")))
    ledger.fold(told(SERVED), partition=1, offset=0, appended_at=NOON)
    assert len(ledger.take_changed()) == 3


def test_only_what_has_changed_is_told():
    ledger = folded((0, told(SERVED)))
    assert ledger.take_changed()
    assert ledger.take_changed() == {}
    assert folded((1, told(LOWER)), ledger=ledger).take_changed().keys() == {cell(LOWER)}
    assert folded((1, told(LOWER)), ledger=ledger).take_changed() == {}, "it is in already"
    ledger.restore(cell(SERVED), Count({Outcome.OK: 3}, 5))
    assert ledger.take_changed() == {}, "it stands in the log already"


def test_the_last_three_minutes_can_be_told_again():
    ledger = folded(*((offset, told(SERVED)) for offset in (0, 60, 120, 180)))
    assert [each.begins_at for each in ledger.latest()] == [NOON + 60, NOON + 120, NOON + 180]


def test_of_what_was_read_back_too_and_what_is_too_old_is_not_kept():
    ledger = Ledger()
    for minute in (0, 200, 201, 202, 203):
        ledger.restore(cell(SERVED, begins_at=NOON + minute * CELL_SECONDS), Count({Outcome.OK: 1}, minute))
    assert [each.begins_at for each in ledger.latest()] == [NOON + minute * CELL_SECONDS for minute in (201, 202, 203)]
    assert len(ledger._cells) == 4


def test_what_comes_late_does_not_turn_time_back():
    ledger = folded(*((offset, told(SERVED)) for offset in (0, 60, 120, 180)))
    ledger.fold(told(SERVED), partition=1, offset=0, appended_at=NOON)
    assert [each.begins_at for each in ledger.latest()] == [NOON + 60, NOON + 120, NOON + 180]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_what_was_written_of_a_cell_that_holds_which_counts_furthest_and_not_the_last(order):
    counts = [Count({Outcome.OK: 3}, 5), Count({Outcome.OK: 7}, 9)]
    ledger = Ledger()
    for which in order:
        ledger.restore(cell(SERVED), counts[which])
    assert ledger.latest() == {cell(SERVED): counts[1]}


def test_what_no_rollup_can_change_any_more_is_forgotten():
    ledger = folded((0, told(SERVED)))
    assert cell(SERVED) in ledger.take_changed()
    late = folded((KEPT_SECONDS + CELL_SECONDS, told(SERVED)), ledger=ledger)
    assert len(late._cells) == 1


def test_what_is_forgotten_before_it_was_told_is_not_told():
    late = KEPT_SECONDS + CELL_SECONDS
    found = folded((0, told(SERVED)), (late, told(SERVED))).take_changed()
    assert found.keys() == {cell(SERVED, begins_at=NOON + late)}


kinds = st.sampled_from([SERVED, LOWER, EXPIRED, FAILED])


@given(
    rollups=st.lists(st.lists(kinds, min_size=1, max_size=4), min_size=1, max_size=12),
    data=st.data(),
)
def test_whoever_takes_over_at_any_point_with_any_part_published_comes_to_the_same(rollups, data):
    log = [(20 * number, told(*each)) for number, each in enumerate(rollups)]
    published: dict[Cell, Count] = {}
    committed = 0
    for _ in range(data.draw(st.integers(0, 3), "crashes")):
        ledger = Ledger()
        for known in published.items():
            ledger.restore(*known)
        reads = data.draw(st.integers(committed, len(log)), "reads up to")
        changed = list(folded(*log[committed:reads], ledger=ledger).take_changed().items())
        arrive = data.draw(st.integers(0, len(changed)), "cells that arrive")
        published |= dict(data.draw(st.permutations(changed))[:arrive])
        if arrive == len(changed) and data.draw(st.booleans(), "commits"):
            committed = reads
    last = Ledger()
    for known in published.items():
        last.restore(*known)
    published |= folded(*log[committed:], ledger=last).take_changed()
    assert published == folded(*log).take_changed()
