import math
from dataclasses import dataclass
from typing import Any

import pytest

from failsoft.policy.context import Completeness, Context, Found, at_least, nonempty, vector
from failsoft.policy.errors import ConfigurationError
from failsoft.wire.body import ContextPart, PartState

HOUR = 3_600.0
NOW = 1_800_000_000.0


@dataclass(frozen=True)
class Tier:
    level: int
    needs: frozenset[str]


SUPPORT = Context(
    required={"documents": at_least(1), "question": nonempty()},
    optional={"history": nonempty()},
    max_age={"documents": "1h"},
)
LARGE = Tier(1, frozenset({"documents"}))
SMALL = Tier(2, frozenset())
TEMPLATE = Tier(3, frozenset())


def part(value: Any = ("some text",), state: PartState = PartState.PRESENT, age: float = 60.0) -> ContextPart:
    return ContextPart(list(value) if isinstance(value, tuple) else value, state, NOW - age)


def whole() -> dict[str, ContextPart]:
    return {"documents": part(), "question": part("what?"), "history": part()}


def examine(**changes: ContextPart | None) -> Completeness:
    parts = {name: found for name, found in {**whole(), **changes}.items() if found is not None}
    return SUPPORT.examine(parts, wall_now=NOW)


def levels(found: Completeness) -> list[int | None]:
    return [found.level(tier.level) if found.allows(tier.needs) else None for tier in (LARGE, SMALL, TEMPLATE)]


def test_a_context_with_every_part_is_complete_and_every_tier_runs_at_its_own_level():
    found = examine()
    assert found.is_complete
    assert levels(found) == [1, 2, 3]
    assert str(found) == "complete"


@pytest.mark.parametrize(
    ("dropped", "is_complete", "expected"),
    [("documents", False, [None, 2, 3]), ("question", False, [2, 2, 3]), ("history", True, [1, 2, 3])],
)
def test_each_part_that_is_dropped_takes_away_what_cannot_do_without_it(dropped, is_complete, expected):
    for absent in (None, part(None, PartState.MISSING)):
        found = examine(**{dropped: absent})
        assert found.names(Found.MISSING) == (dropped,)
        assert found.is_complete == is_complete
        assert levels(found) == expected
        assert str(found) == f"{dropped}=missing"


@pytest.mark.parametrize(
    ("documents", "state"),
    [
        (part(age=HOUR + 1), Found.STALE),
        (part(state=PartState.STALE), Found.STALE),
        (part(state=PartState.TRUNCATED), Found.TRUNCATED),
        (part(state=PartState.TRUNCATED, age=HOUR + 1), Found.TRUNCATED),
        (ContextPart(["some text"], PartState.PRESENT, None), Found.STALE),
    ],
)
def test_what_is_stale_or_truncated_can_be_used_but_nobody_calls_the_answer_level_1(documents, state):
    found = examine(documents=documents)
    assert found.names(state) == ("documents",)
    assert levels(found) == [2, 2, 3]


def test_a_part_is_too_old_only_past_its_age_and_a_clock_that_runs_ahead_makes_none_old():
    for age in (HOUR, 0.0, -5 * HOUR):
        assert examine(documents=part(age=age)).is_complete
    assert examine(history=part(age=10_000 * HOUR)).is_complete


@pytest.mark.parametrize("value", [[], [""], ["  \n"], None, [None, {}], "text and no list"])
def test_a_part_said_to_be_there_with_nothing_in_it_is_found_out(value):
    for state in (PartState.PRESENT, PartState.STALE, PartState.TRUNCATED):
        found = examine(documents=part(value, state))
        assert found.names(Found.EMPTY) == ("documents",)
        assert set(found.problems) == {"documents"}
        assert levels(found) == [None, 2, 3]


def test_a_problem_says_what_is_wrong_without_the_senders_data():
    checks = {"text": nonempty(), "several": at_least(3), "embedding": vector(3)}
    context = Context(checks)
    values: dict[str, Any] = {"text": " ", "several": ["secret", ""], "embedding": [1.0, 2.0]}
    found = context.examine({name: part(value) for name, value in values.items()}, wall_now=NOW)
    assert found.problems == {
        "text": "nothing in it",
        "several": "1 members, at least 3 are needed",
        "embedding": "2 numbers, 3 are needed",
    }


def test_what_is_not_declared_is_not_looked_at():
    found = examine(weather=part(None))
    assert "weather" not in found.parts
    assert found.is_complete


def test_several_parts_are_told_in_the_order_of_declaration():
    found = examine(documents=part([]), question=None, history=part(state=PartState.TRUNCATED))
    assert str(found) == "documents=empty question=missing history=truncated"


def test_a_stage_that_declares_nothing_is_always_complete():
    found = Context().examine({}, wall_now=NOW)
    assert found.is_complete
    assert found.allows(())
    assert found.level(1) == 1


@pytest.mark.parametrize("value", ["text", ["", "text"], {"a": "text"}, 0, False, 0.0, [0], {"a": {"b": [False]}}])
def test_nonempty_takes_whatever_has_something_in_it(value):
    assert nonempty()(value) is None


@pytest.mark.parametrize("value", [None, "", " \t\n", [], {}, [[], [""]], {"a": None, "b": {"c": " "}}])
def test_nonempty_finds_what_only_looks_like_something(value):
    assert nonempty()(value) is not None


@pytest.mark.parametrize(
    ("value", "is_right"),
    [
        ([1, 2], True),
        ({"a": 1, "b": 2}, True),
        ([1, 2, ""], True),
        ([1, ""], False),
        ({"a": 1, "b": None}, False),
        ("two", False),
        (2, False),
        (None, False),
    ],
)
def test_at_least_counts_the_members_that_are_not_blank(value, is_right):
    assert (at_least(2)(value) is None) == is_right


@pytest.mark.parametrize(
    ("value", "is_right"),
    [
        ([0.1, -0.2, 0], True),
        ([1, 0, 0], True),
        ((0.1, 0.2, 0.3), True),
        ([0.0, 0, -0.0], False),
        ([0.1, math.nan, 0.3], False),
        ([0.1, math.inf, 0.3], False),
        ([0.1, 0.2], False),
        ([0.1, 0.2, 0.3, 0.4], False),
        ([True, False, True], False),
        (["0.1", "0.2", "0.3"], False),
        ("abc", False),
        ([], False),
        (None, False),
    ],
)
def test_a_vector_has_its_dimension_is_finite_and_not_all_zeros(value, is_right):
    assert (vector(3)(value) is None) == is_right


@pytest.mark.parametrize(
    ("declare", "named"),
    [
        (lambda: Context(required={"a": nonempty()}, optional={"a": nonempty()}), "'a' is declared both"),
        (lambda: Context(required={"a": nonempty()}, max_age={"b": "1h"}), "max_age names the part 'b'"),
        (lambda: Context(required={"a": nonempty()}, max_age={"a": "1 hour"}), "max_age of a"),
        (lambda: Context(required={"a": "nonempty"}), "check of part 'a'"),  # type: ignore[dict-item]  # that is the mistake
        (lambda: SUPPORT.check_needs({"documents", "papers"}), "needs names the part 'papers'"),
        (lambda: SUPPORT.check_needs("documents"), "write a set"),
        (lambda: at_least(0), "use 1 or more"),
        (lambda: vector(0), "no dimension"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused_with_the_part_and_the_fix(declare, named):
    with pytest.raises(ConfigurationError, match=named):
        declare()


def test_needs_that_are_declared_are_fine():
    SUPPORT.check_needs({"documents", "history"})
    assert SUPPORT.names == ("documents", "question", "history")


def test_every_state_on_the_wire_is_a_word_here():
    assert {state.value for state in PartState} | {"empty"} == {found.value for found in Found}
