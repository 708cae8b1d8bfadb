from typing import Any
from uuid import UUID

import pytest
from hypothesis import given

from failsoft.wire.attributes import Attributes
from failsoft.wire.identity import Identity, result_id
from tests.wire.strategies import identities

PLACE: dict[str, Any] = {"topic": "digits.classify.batch", "partition": 3, "offset": 1207}


@pytest.mark.parametrize(
    ("headers", "identity"),
    [
        ([("ce_source", b"/shop"), ("ce_id", b"7")], Identity("/shop", "7")),
        ([("ce_id", b"7")], Identity("/kafka/digits.classify.batch", "7")),
        ([], Identity("/kafka/digits.classify.batch", "3-1207")),
        ([("ce_source", b"/shop")], Identity("/kafka/digits.classify.batch", "3-1207")),
    ],
)
def test_a_record_is_named_by_its_headers_or_by_its_place(headers, identity):
    assert Identity.said(Attributes(headers), **PLACE) == identity


def test_a_line_of_a_batch_is_named_by_the_file_and_its_number():
    assert Identity.of_batch_line("9f86", 12) == Identity("/batch/9f86", "12")


def test_a_result_id_is_the_same_for_ever():
    assert result_id(Identity("/shop/assistant", "a7c3")) == "94b1327a-e945-5b74-83cd-f463c7b1f610"


@given(identities, identities)
def test_two_requests_never_share_a_result(one, other):
    assert (result_id(one) == result_id(other)) == (one == other)
    assert UUID(result_id(one)).version == 5


def test_source_and_id_do_not_run_into_each_other():
    assert result_id(Identity("/a", "bc")) != result_id(Identity("/ab", "c"))
