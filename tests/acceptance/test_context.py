"""Each part of the context damaged in each way: no answer passes for level 1, none fails where a tier could answer.

The stage runs as a worker runs it, in virtual time: the damaged part crosses the wire as its sender would send it.
"""

from collections.abc import Mapping
from typing import Any

import pytest

from failsoft import (
    CachedAnswer,
    Call,
    Constant,
    Context,
    ContextPart,
    Output,
    PartState,
    Pipeline,
    at_least,
    nonempty,
    vector,
)
from failsoft.pipeline import Stage
from failsoft.policy.errors import ConfigurationError
from failsoft.testing import Answers, Fails, run_stage

EPOCH = 1_800_000_000.0
ASKED = {"messages": [{"role": "user", "content": "why?"}], "temperature": 0}
DIMENSION = 4
WHOLE: Mapping[str, Any] = {
    "documents": ["a page", "another page"],
    "embedding": [0.1, -0.2, 0.3, 0.0],
    "history": "what was said before",
}
CONTEXT = Context(
    required={"documents": at_least(1), "embedding": vector(DIMENSION)},
    optional={"history": nonempty()},
    max_age={"documents": "1h", "embedding": "1h", "history": "1h"},
)
CORRUPTED = {
    "documents": ["", None, {}],
    "embedding": [0.1, None, 0.3, 0.0],  # a NaN, as JSON has it
    "history": {"turns": [" ", None]},
}
DAMAGES = {
    "dropped": "missing",
    "said to be missing": "missing",
    "emptied": "empty",
    "null": "empty",
    "aged": "stale",
    "of unknown age": "stale",
    "said to be stale": "stale",
    "truncated": "truncated",
    "corrupted": "empty",
}


def a_stage(*, coalesce: Any = "deterministic") -> Stage:
    stage = Pipeline("support").stage("answer", context=CONTEXT, coalesce=coalesce)
    stage.tier("large", limit=2, needs={"documents", "embedding"}, expect="200ms")(model)
    stage.tier("chatty", limit=2, level=2, needs={"history"}, expect="100ms")(model)
    stage.tier("small", limit=2, expect="50ms")(model)
    stage.tier("known", CachedAnswer(max_stale="24h"))
    stage.tier("apology", Constant({"content": "sorry"}))
    return stage


async def model(call: Call) -> Output:
    return Output({"tier": call.tier, "seen": sorted(call.context)})


def replacement(part: str, damage: str, now: float) -> ContextPart | None:
    value = WHOLE[part]
    match damage:
        case "dropped":
            return None
        case "said to be missing":
            return ContextPart(None, PartState.MISSING, now)
        case "emptied":
            return ContextPart(type(value)(), PartState.PRESENT, now)
        case "null":
            return ContextPart(None, PartState.PRESENT, now)
        case "aged":
            return ContextPart(value, PartState.PRESENT, now - 3_601)
        case "of unknown age":
            return ContextPart(value, PartState.PRESENT, None)
        case "said to be stale":
            return ContextPart(value, PartState.STALE, now)
        case "truncated":
            return ContextPart(value, PartState.TRUNCATED, now)
        case "corrupted":
            return ContextPart(CORRUPTED[part], PartState.PRESENT, now)
    raise AssertionError(damage)


def damaged(part: str, damage: str, now: float) -> dict[str, Any]:
    parts = {name: ContextPart(value, produced_at=now) for name, value in WHOLE.items() if name != part}
    other = replacement(part, damage, now)
    return parts if other is None else {**parts, part: other}


async def test_a_whole_context_is_level_1_and_every_part_reaches_the_model():
    async with run_stage(a_stage()) as stage:
        result = await stage.send(ASKED, context=WHOLE, request_class="interactive")
    assert (result.tier, result.level, result.reason, result.context_state) == ("large", 1, "none", "complete")
    assert result.body["seen"] == sorted(WHOLE)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("part", WHOLE)
@pytest.mark.parametrize("request_class", ["interactive", "batch"])
@pytest.mark.parametrize("warm", [False, True], ids=["first", "after a whole one"])
async def test_a_damaged_part_never_passes_for_level_1_and_never_fails_where_a_tier_can_answer(
    part, damage, request_class, warm
):
    is_usable = DAMAGES[damage] in {"stale", "truncated"}
    async with run_stage(a_stage()) as stage:
        if warm:  # an answer to the whole context must not serve one that is less
            await stage.send(ASKED, context=WHOLE, request_class=request_class)
        result = await stage.send(ASKED, context=damaged(part, damage, stage.wall_now), request_class=request_class)
        again = await stage.send(ASKED, context=damaged(part, damage, stage.wall_now), request_class=request_class)
    assert result.is_ok
    assert result.context_state == f"{part}={DAMAGES[damage]}"
    if part == "history":
        assert (result.tier, result.level, result.reason) == ("large", 1, "none")
    else:
        assert (result.tier, result.level) == ("large" if is_usable else "chatty", 2)
        assert (result.reason, result.wanted_level) == ("context_incomplete", 1)
    assert result.body["seen"] == sorted(name for name in WHOLE if name != part or is_usable)
    assert (again.tier, again.level, again.reason) == (result.tier, result.level, result.reason)


@pytest.mark.parametrize("part", ["documents", "embedding"])
@pytest.mark.parametrize("damage", DAMAGES)
async def test_when_the_tiers_that_are_left_fail_too_the_answer_without_a_call_serves(part, damage):
    down = dict.fromkeys(["large", "chatty", "small"], Fails(500))
    async with run_stage(a_stage(), endpoints=down) as stage:
        result = await stage.send(ASKED, context=damaged(part, damage, stage.wall_now), request_class="interactive")
        called = {call.tier for call in stage.calls}
    assert (result.outcome, result.tier, result.level) == ("ok", "apology", 3)
    assert ("large" in called) == (DAMAGES[damage] in {"stale", "truncated"})


async def test_several_parts_that_are_gone_leave_what_needs_none_of_them():
    async with run_stage(a_stage()) as stage:
        result = await stage.send(ASKED, request_class="interactive")
    assert (result.tier, result.level) == ("small", 2)
    assert result.context_state == "documents=missing embedding=missing history=missing"
    assert result.body["seen"] == []


async def test_who_accepts_level_1_only_is_told_at_once_what_is_missing():
    async with run_stage(a_stage()) as stage:
        result = await stage.send(ASKED, context={**WHOLE, "documents": []}, floor=1, request_class="interactive")
        assert stage.now < 0.1
        assert not stage.calls
    assert (result.outcome, result.reason) == ("unavailable", "context_incomplete")
    assert result.error is not None
    assert "documents=empty" in result.error["message"]


async def test_the_same_documents_when_they_are_old_share_no_call_with_those_that_are_new():
    async with run_stage(a_stage(coalesce="always"), endpoints={"large": Answers({}, after="100ms")}) as stage:
        whole = await stage.send(ASKED, context=WHOLE, request_class="interactive")
        old = damaged("documents", "aged", stage.wall_now)
        aged = await stage.send(ASKED, context=old, request_class="interactive")
    assert (whole.level, aged.level) == (1, 2)
    assert aged.executions == 1


async def test_documents_that_become_too_old_while_they_wait_are_found_stale_in_the_result():
    async with run_stage(a_stage(), endpoints={"large": Answers({}, after="200ms")}) as stage:
        parts = {**WHOLE, "documents": ContextPart(WHOLE["documents"], produced_at=stage.wall_now - 3_599.9)}
        result = await stage.send(ASKED, context=parts, request_class="batch")
    assert (result.tier, result.level, result.reason) == ("large", 2, "context_incomplete")
    assert result.context_state == "documents=stale"


async def test_what_nobody_has_declared_is_handed_on_unless_it_is_missing():
    stage = Pipeline("support").stage("answer")
    stage.tier("large")(model)
    parts = {"notes": "read", "gone": ContextPart(None, PartState.MISSING)}
    async with run_stage(stage) as running:
        result = await running.send(ASKED, context=parts, request_class="interactive")
    assert (result.level, result.context_state, result.body["seen"]) == (1, None, ["notes"])


def test_a_check_that_raises_has_found_the_part_wrong():
    context = Context(required={"documents": lambda value: value["pages"] and None})
    found = context.examine({"documents": ContextPart(7)}, wall_now=EPOCH)
    assert str(found) == "documents=empty"
    assert found.problems == {"documents": "its check failed: TypeError"}


@pytest.mark.parametrize(
    ("needs", "named"),
    [
        (
            {"papers"},
            "stage support.answer, tier large: context: needs names the part 'papers'; declared are: documents",
        ),
        ("documents", "write a set of names"),
    ],
)
def test_needs_that_cannot_be_met_are_refused_where_they_are_declared(needs, named):
    stage = Pipeline("support").stage("answer", context=CONTEXT)
    with pytest.raises(ConfigurationError, match=named):
        stage.tier("large", needs=needs)


def test_a_tier_that_looks_at_no_context_needs_none_of_it():
    stage = Pipeline("support").stage("answer", context=CONTEXT)
    with pytest.raises(ConfigurationError, match="tier apology: tier apology: it takes no call"):
        stage.tier("apology", Constant({}), needs={"documents"})
