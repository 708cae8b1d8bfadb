"""Equal requests through the worker's own code: one call for all, answers of the past, and who is shed."""

import asyncio
from datetime import timedelta
from typing import Any

from failsoft import AdmissionConfig, CachedAnswer, Call, Constant, Output, Pipeline
from failsoft.pipeline import Stage
from failsoft.policy.outcome import Outcome, Reason
from failsoft.testing import Hangs, run_stage

BODY = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "temperature": 0}


class Counting:
    """A model that counts its calls and takes 200 ms."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, _: Call) -> Output:
        self.calls += 1
        await asyncio.sleep(0.2)
        return Output({"call": self.calls})


def a_stage(*, keeps_answers: bool = False, limit: int = 4, **declared: Any) -> tuple[Stage, Counting]:
    stage, model = Pipeline("support").stage("answer", **declared), Counting()
    stage.tier("large", limit=limit, expect="200ms")(model.__call__)
    if keeps_answers:
        stage.tier("known", CachedAnswer(ttl="1s", revalidate="10s", max_stale="1h"))
    stage.tier("sorry", Constant({"call": None}))
    return stage, model


async def test_equal_requests_are_computed_once_and_each_result_says_whose_call_it_shared():
    stage, model = a_stage()
    async with run_stage(stage) as running:
        results = await asyncio.gather(
            *(running.send(BODY, request_class=name) for name in ("interactive", "standard", "batch") for _ in range(5))
        )
    assert model.calls == 1
    assert {result.body["call"] for result in results} == {1}
    (leader,) = (result for result in results if result.coalesced_with is None)
    assert {result.coalesced_with for result in results if result is not leader} == {leader.id}


async def test_requests_that_would_not_get_the_same_answer_again_share_nothing():
    stage, model = a_stage()
    async with run_stage(stage) as running:
        body = {**BODY, "temperature": 1}
        await asyncio.gather(*(running.send(body, request_class="batch") for _ in range(3)))
    assert model.calls == 3


async def test_tenants_share_nothing():
    stage, model = a_stage()
    async with run_stage(stage) as running:
        await asyncio.gather(*(running.send(BODY, request_class="batch", tenant=name) for name in ("a", "b")))
    assert model.calls == 2


async def test_a_fresh_answer_serves_at_once_and_a_stale_one_while_the_model_is_asked_again():
    stage, model = a_stage(keeps_answers=True)
    async with run_stage(stage) as running:
        await running.send(BODY, request_class="interactive")
        fresh = await running.send(BODY, request_class="interactive")
        await running.pass_time("5s")
        stale = await running.send(BODY, request_class="interactive")
        await running.pass_time("500ms")
        renewed = await running.send(BODY, request_class="interactive")
    assert (fresh.tier, fresh.level, fresh.executions, fresh.is_stale) == ("large", 1, 0, False)
    assert (stale.body["call"], stale.is_stale) == (1, True)
    assert stale.age_seconds is not None
    assert 5 <= stale.age_seconds < 6
    assert (renewed.body["call"], renewed.is_stale) == (2, False)
    assert model.calls == 2


async def test_a_known_answer_is_the_last_resort():
    stage, _ = a_stage(keeps_answers=True)
    async with run_stage(stage) as running:
        await running.send(BODY, request_class="interactive")
        await running.pass_time("60s")
        running.replace("large", Hangs())
        known = await running.send(BODY, request_class="interactive", deadline="2s")
        unknown = await running.send({**BODY, "seed": 7}, request_class="interactive", deadline="2s")
    assert (known.tier, known.level, known.body["call"], known.is_stale) == ("known", 3, 1, True)
    assert unknown.tier == "sorry"


async def test_a_request_may_tolerate_less_than_the_stage_does():
    stage, model = a_stage(keeps_answers=True)
    async with run_stage(stage) as running:
        await running.send(BODY, request_class="interactive")
        await running.pass_time("5s")
        new = await running.send(BODY, request_class="interactive", max_stale="2s")
    assert (new.body["call"], new.is_stale) == (2, False)
    assert model.calls == 2


async def test_an_answer_that_no_result_can_carry_is_not_remembered():
    stage = Pipeline("support").stage("answer")
    answers = [b'{"call": 1, "call": 2}', {"call": {1, 2}}, b'{"call": 3}']

    @stage.tier("large", expect="200ms")
    async def large(_: Call) -> Output:
        return Output(answers.pop(0))  # type: ignore[arg-type] # a set has no form in JSON: a mistake of its author's

    stage.tier("known", CachedAnswer())
    async with run_stage(stage) as running:
        results = [await running.send(BODY, request_class="interactive") for _ in range(4)]
    assert [result.outcome for result in results] == [Outcome.FAILED, Outcome.FAILED, Outcome.OK, Outcome.OK]
    assert results[3].body == {"call": 3}
    assert answers == []


async def test_whom_nothing_could_serve_in_time_is_told_when_to_come_back():
    stage, _ = a_stage(limit=1, floor={"interactive": 1}, admission=AdmissionConfig(shed_from=0.1, shed_all=0.2))
    async with run_stage(stage) as running:

        async def later(number: int) -> Any:
            await running.pass_time(timedelta(seconds=number / 100))
            return await running.send({"messages": [], "user": str(number)}, request_class="interactive", deadline="2s")

        results = await asyncio.gather(*(later(number) for number in range(400)))
    shed = [result for result in results if result.outcome is Outcome.SHED]
    assert shed
    assert {(result.reason, result.status_code) for result in shed} == {(Reason.OVERLOADED, 429)}
    assert all(1 <= (result.retry_after_seconds or 0) <= 61 for result in shed)
