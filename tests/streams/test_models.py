"""The models of the apps, from record to record, without Faust and without a broker."""

from typing import cast

import pytest

from failsoft.kafka import ViewRecord
from failsoft.policy.errors import MalformedRecord
from failsoft.policy.profile import Profile
from failsoft.policy.rollup import Kind, Place, RollUp
from failsoft.wire import Record
from failsoft.wire.degradation import decode_cell
from failsoft.wire.profile import decode_fleet_profile
from streams.degradation import DegradationModel
from streams.latency import LatencyModel
from tests.streams.site import EXPIRED, SERVED

NOON = 1_799_999_940.0
PLACE = Place("work", "large", "eu")


def ended(*kinds: Kind) -> RollUp:
    return RollUp("work", dict.fromkeys(kinds, 1), {})


def took(*seconds: float) -> RollUp:
    profile = Profile()
    for each in seconds:
        profile.answers.add(each)
    return RollUp("work", {}, {PLACE: profile})


def stands(record: Record, *, appended_at: float = NOON, offset: int = 0) -> ViewRecord:
    """A record as it is read back."""
    headers = tuple((name, value or b"") for name, value in record.headers)
    return ViewRecord(0, offset, record.key, record.value, headers, appended_at, 0.0)


def test_the_ledger_goes_on_from_what_stands_in_its_topic():
    first, second = DegradationModel(), DegradationModel()
    first.fold(ended(SERVED, EXPIRED), partition=0, offset=7, appended_at=NOON)
    for record in first.take_changed():
        second.restore(stands(record), frozenset({0}))
    assert second.take_changed() == []
    second.fold(ended(SERVED), partition=0, offset=7, appended_at=NOON)
    assert second.take_changed() == [], "it is in already"
    second.fold(ended(SERVED), partition=0, offset=8, appended_at=NOON)
    [record] = second.take_changed()
    assert [sum(count.endings.values()) for count in [decode_cell(record.value)[1]]] == [2]


def test_cells_of_partitions_that_others_read_are_left_to_them():
    first, second = DegradationModel(), DegradationModel()
    first.fold(ended(SERVED), partition=0, offset=7, appended_at=NOON)
    for record in first.take_changed():
        second.restore(stands(record), frozenset({1}))
    assert second.open() == []


def test_what_is_open_is_said_again_and_a_deleted_cell_is_none():
    model = DegradationModel()
    model.fold(ended(SERVED), partition=0, offset=7, appended_at=NOON)
    [record] = model.take_changed()
    assert model.open() == [record]
    model.restore(stands(record)._replace(value=None), frozenset({0}))
    assert model.open() == [record]


def test_the_fleets_latency_goes_on_from_the_last_profile_of_each_endpoint():
    first, second = LatencyModel(), LatencyModel()
    for number in range(3):
        first.fold(took(0.2), partition=0, offset=number, appended_at=NOON + number)
        [record] = first.take_changed()
        second.restore(stands(record, appended_at=NOON + number), frozenset({0}))
    second.fold(took(0.2), partition=0, offset=3, appended_at=NOON + 3)
    [record] = second.take_changed()
    place, profile = decode_fleet_profile(record.value)
    assert (place, profile.samples) == (PLACE, 4)


@pytest.mark.parametrize("model", [DegradationModel, LatencyModel])
def test_what_cannot_be_read_back_is_refused_at_once(model):
    record = ViewRecord(0, 0, b"k", b"{", (), NOON, 0.0)
    with pytest.raises(MalformedRecord):
        cast("DegradationModel", model()).restore(record, frozenset({0}))
