from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.wire.body import ContextPart, PartState, RequestLine
from failsoft.wire.content_key import DELIVERY_MEMBERS, content_key
from tests.wire.strategies import lines, words

LINE = RequestLine("1", "/v1/chat/completions", {"messages": ["hi"], "temperature": 0})


def key(line: RequestLine = LINE, **said: Any) -> str | None:
    return content_key(line, **({"tenant": "t", "stage": "support.answer"} | said))


def with_body(**members: Any) -> RequestLine:
    return replace(LINE, body=LINE.body | members)


@pytest.mark.parametrize(
    ("rule", "body", "is_shared"),
    [
        ("deterministic", {"temperature": 0}, True),
        ("deterministic", {"temperature": 0.0}, True),
        ("deterministic", {"temperature": -0.0}, True),
        ("deterministic", {"temperature": 0.7, "seed": 7}, True),
        ("deterministic", {"temperature": 0.7, "seed": 0}, True),
        ("deterministic", {"temperature": 0.7}, False),
        ("deterministic", {"temperature": 0.7, "seed": None}, False),
        ("deterministic", {"temperature": False}, False),
        ("deterministic", {}, False),
        ("always", {"temperature": 0.7}, True),
        ("off", {"temperature": 0}, False),
    ],
)
def test_only_what_would_be_answered_alike_is_shared(rule, body, is_shared):
    assert (key(replace(LINE, body=body), coalesce=rule) is not None) == is_shared


def test_a_sender_may_name_what_it_asks():
    one, other = with_body(temperature=1, messages=["hi"]), with_body(temperature=1, messages=["hello"])
    assert key(one, coalesce_key="greeting") == key(other, coalesce_key="greeting") is not None
    assert key(one, coalesce_key="greeting") != key(one, coalesce_key="farewell")
    assert key(one, coalesce_key="greeting", coalesce="off") is None


@given(lines(), words, words, st.none() | words)
def test_tenants_never_share_a_key(line, one, other, coalesce_key):
    said = {"coalesce": "always", "coalesce_key": coalesce_key}
    assert (key(line, tenant=one, **said) == key(line, tenant=other, **said)) == (one == other)
    assert key(line, tenant=one, **said) != key(line, tenant=None, **said)


@given(lines(), words, words, words, words)
def test_tenant_and_stage_do_not_run_into_each_other(line, tenant, stage, other_tenant, other_stage):
    one = key(line, tenant=tenant, stage=stage, coalesce="always")
    other = key(line, tenant=other_tenant, stage=other_stage, coalesce="always")
    assert (one == other) == ((tenant, stage) == (other_tenant, other_stage))


def test_a_coalesce_key_is_never_taken_for_content():
    assert key(coalesce_key="k") != key(replace(LINE, body={"k": "k"}), coalesce="always")


@pytest.mark.parametrize(
    "other",
    [
        with_body(temperature=0.0),
        replace(LINE, body=dict(reversed(LINE.body.items()))),
        replace(LINE, custom_id="2"),
        *(with_body(**{name: "x"}) for name in sorted(DELIVERY_MEMBERS)),
    ],
)
def test_the_same_question_has_the_same_key(other):
    assert key(other) == key()


@pytest.mark.parametrize(
    "other",
    [
        with_body(messages=["hello"]),
        with_body(model="small"),
        with_body(tools=[]),
        with_body(max_tokens=1),
        with_body(a_member_of_next_year=1),
        with_body(temperature=0, seed=1),
        replace(LINE, url="/v1/completions"),
        replace(LINE, context={"documents": ContextPart(["d"])}),
    ],
)
def test_another_question_has_another_key(other):
    assert key(other) != key()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("where is order 1234", "where is order 1243"),
        ("approve the loan", "do not approve the loan"),
        ("flights from boston to denver", "flights from denver to boston"),
        ("is 5 mg safe", "is 50 mg safe"),
        ("summarise this", "Summarise this"),
        ("summarise this", "summarise this "),
        ("caf\u00e9", "cafe\u0301"),
    ],
)
def test_what_only_looks_alike_is_never_merged(one, other):
    """By trigrams such pairs are closer to each other than the same question in other words is."""
    assert key(with_body(messages=[one])) != key(with_body(messages=[other]))


def test_context_counts_by_value_and_state_and_not_by_its_age():
    def with_part(*part: Any) -> str | None:
        return key(replace(LINE, context={"documents": ContextPart(*part)}))

    assert with_part([1], PartState.PRESENT, 5.0) == with_part([1.0], PartState.PRESENT, 6.0)
    assert with_part([1]) != with_part([2])
    assert with_part([1]) != with_part([1], PartState.STALE)


@pytest.mark.parametrize("coalesce_key", [None, "what I ask"])
def test_what_the_context_lacks_counts_even_where_the_sender_names_what_it_asks(coalesce_key):
    found = [None, "documents=stale", "documents=empty", "documents=stale history=missing"]
    keys = [key(coalesce_key=coalesce_key, lacking=lacking) for lacking in found]
    assert len(set(keys)) == len(found)
    assert keys[0] == key(coalesce_key=coalesce_key)


def test_numbers_are_compared_as_numbers_wherever_they_stand():
    assert key(with_body(x=[{"y": 1e3}])) == key(with_body(x=[{"y": 1000}]))
    assert key(with_body(x=1)) != key(with_body(x=True))
    assert key(with_body(x=1)) != key(with_body(x="1"))
    assert key(with_body(x=2**53)) != key(with_body(x=2**53 + 1))
    assert key(with_body(x=1e300)) != key(with_body(x=1e301))


def test_a_projection_says_what_counts():
    asked = key(projection=("messages",))
    assert key(with_body(max_tokens=5), projection=("messages",)) == asked
    assert key(with_body(messages=["hello"]), projection=("messages",)) != asked


def test_new_data_makes_new_keys():
    assert key(data_version="2026-01-31") != key(data_version="2026-02-01")


def test_the_scheme_stays():
    assert key() == "d3f03ff2ec6a0b6ca26f74aed7f66324492cbc8ecf3d190adb25f37249346bab"
