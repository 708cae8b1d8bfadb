"""A stage under test: what an author of a pipeline sees of it."""

import asyncio
import time
import unittest

import pytest

from failsoft import Busy, Call, Constant, OpenAICompatible, Output, Pipeline
from failsoft.pipeline import Stage
from failsoft.policy.errors import ConfigurationError, MalformedRecord
from failsoft.policy.outcome import Outcome, Reason
from failsoft.testing import Answers, Fails, Hangs, run_stage
from tests.endpoints import in_processes

BODY = {"messages": [{"role": "user", "content": "Where is my parcel?"}]}
SMALL = Answers({"by": "small"}, after="80ms")


def a_stage(**declared) -> Stage:
    """Two models somewhere in the world, and an apology."""
    stage = Pipeline("support").stage("answer", **declared)
    stage.tier("large", OpenAICompatible("llama-70b", url="http://models.test/v1"), expect="300ms")
    stage.tier("small", OpenAICompatible("llama-8b", url="http://models.test/v1"), expect="80ms")
    stage.tier("apology", Constant({"by": "apology"}))
    return stage


async def test_the_example_of_the_documentation_holds() -> None:
    stage = Pipeline("support").stage("answer")
    stage.tier("large", OpenAICompatible("llama-70b", url="http://models.test/v1"))
    stage.tier("small", OpenAICompatible("llama-8b", url="http://models.test/v1"))
    async with run_stage(stage, endpoints={"large": Fails(500), "small": SMALL}) as running:
        result = await running.send(BODY, deadline="2s", request_class="interactive")
        assert (result.tier, result.reason) == ("small", "endpoint_error")


async def test_the_example_of_the_readme_holds():
    pipeline = Pipeline("shop")
    answer = pipeline.stage("answer", floor={"batch": 2})

    async def model(_: Call) -> Output:
        raise AssertionError("a double takes its place")

    answer.tier("large", limit=8)(model)
    answer.tier("small", limit=32)(model)
    answer.tier("apology", Constant({"content": "Please ask again in a minute."}))
    small = Answers({"content": "…"}, after="80ms")
    async with run_stage(answer, endpoints={"large": Fails(500), "small": small}) as stage:
        result = await stage.send({"messages": []}, deadline="2s", request_class="interactive")
        assert (result.tier, result.reason) == ("small", "endpoint_error")
        stage.replace("small", Hangs())
        result = await stage.send({"messages": []}, deadline="2s", request_class="interactive")
        assert result.tier == "apology"


def test_it_runs_under_asyncio_run():
    asyncio.run(test_the_example_of_the_documentation_holds())


def test_it_runs_under_unittest():
    class Case(unittest.IsolatedAsyncioTestCase):
        async def test_it(self):
            await test_the_example_of_the_documentation_holds()

    result = unittest.TestResult()
    Case("test_it").run(result)
    assert result.wasSuccessful()
    assert result.testsRun == 1


@pytest.mark.parametrize(
    ("large", "tier", "reason"),
    [
        (Answers({"by": "large"}, after="200ms"), "large", Reason.NONE),
        (Fails(500), "small", Reason.ENDPOINT_ERROR),
        (Fails(401), "small", Reason.ENDPOINT_ERROR),
        (Fails(ConnectionResetError()), "small", Reason.ENDPOINT_ERROR),
        (Fails(429), "small", Reason.ENDPOINT_BACKPRESSURE),
        (Fails(Busy()), "small", Reason.ENDPOINT_BACKPRESSURE),
        (Hangs(), "small", Reason.ENDPOINT_TIMEOUT),
    ],
)
async def test_a_failing_tier_hands_over_for_a_reason(large, tier, reason):
    async with run_stage(a_stage(), endpoints={"large": large, "small": SMALL}) as stage:
        result = await stage.send(BODY, deadline="3s", request_class="interactive")
    assert (result.outcome, result.tier, result.reason) == (Outcome.OK, tier, reason)
    assert result.body == {"by": tier}
    assert result.slack_seconds > 0


async def test_the_requests_own_fault_ends_it_with_the_models_status():
    async with run_stage(a_stage(), endpoints={"large": Fails(422), "small": SMALL}) as stage:
        result = await stage.send(BODY, deadline="3s", request_class="interactive")
        assert (result.outcome, result.reason, result.status_code) == (Outcome.INVALID, Reason.REQUEST_REFUSED, 422)
        assert [call.tier for call in stage.calls] == ["large"]


async def test_a_busy_server_that_says_when_to_come_back_is_waited_for():
    async with run_stage(a_stage(), endpoints={"large": Fails(429, retry_after="200ms"), "small": SMALL}) as stage:
        sending = asyncio.ensure_future(stage.send(BODY, deadline="50s", request_class="standard"))
        await stage.pass_time("100ms")
        stage.replace("large", Answers({"by": "large"}))
        result = await sending
        assert (result.tier, result.executions) == ("large", 2)
        assert stage.now == pytest.approx(0.2, abs=0.05)


async def test_no_model_at_all_leaves_the_constant_or_what_the_floor_says():
    async with run_stage(a_stage(floor={"batch": 2}), endpoints={"large": Hangs(), "small": Fails(503)}) as stage:
        urgent = await stage.send(BODY, deadline="2s", request_class="interactive")
        bulk = await stage.send(BODY, deadline="20s", request_class="batch")
    assert (urgent.tier, urgent.level) == ("apology", 3)
    assert bulk.outcome in {Outcome.UNAVAILABLE, Outcome.FAILED, Outcome.EXPIRED}
    assert bulk.tier is None


async def test_an_hour_takes_no_time_of_the_test():
    began = time.monotonic()
    async with run_stage(a_stage(), endpoints={"large": Hangs(), "small": SMALL}) as stage:
        result = await stage.send(BODY, request_class="standard")
        assert result.reason == "endpoint_timeout"
        await stage.pass_time("10m")
        assert stage.now > 600
    assert time.monotonic() - began < 5


async def test_requests_that_are_sent_at_once_compete_for_the_permits():
    stage = Pipeline("support").stage("answer")
    running = most = 0

    @stage.tier("large", limit=2, expect="1s")
    async def large(call: Call) -> Output:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(1)
        running -= 1
        return Output({"n": call.body["n"]})

    async with run_stage(stage) as under_test:
        results = await asyncio.gather(*(under_test.send({"n": n}, request_class="standard") for n in range(6)))
        assert [result.body["n"] for result in results] == list(range(6))
        assert most == 2
        assert under_test.now == pytest.approx(3, abs=0.1)
        assert len(under_test.results) == 6


async def test_a_tier_that_runs_in_a_thread_is_run_as_if_computing_took_no_time():
    stage = Pipeline("support").stage("answer")

    @stage.tier("large", runs_in="thread", expect="100ms")
    async def large(_: Call) -> Output:
        return Output({"sum": sum(range(100_000))})

    async with run_stage(stage) as under_test:
        result = await under_test.send(BODY, request_class="interactive")
    assert (result.tier, result.call_seconds) == ("large", 0)


async def test_a_tier_that_runs_in_a_process_is_run_here_once_it_is_warm():
    stage = Pipeline("support").stage("answer")
    stage.tier("large", runs_in="process", warm_up=in_processes.model, expect="100ms")(in_processes.count)
    in_processes.model.cache_clear()
    async with run_stage(stage) as under_test:
        result = await under_test.send(BODY, request_class="interactive")
        assert (result.tier, result.body) == ("large", {"calls": 1, "was_loaded": True})


async def test_a_double_of_a_tier_that_runs_in_a_process_needs_no_warm_up():
    stage = Pipeline("support").stage("answer")
    stage.tier("large", runs_in="process", warm_up=in_processes.cannot_warm_up)(in_processes.obey)
    async with run_stage(stage, endpoints={"large": SMALL}) as under_test:
        result = await under_test.send(BODY, request_class="interactive")
        assert result.body == {"by": "small"}


async def test_every_run_is_the_same():
    async def once() -> tuple[list[tuple[object, ...]], float]:
        async with run_stage(a_stage(), endpoints={"large": Fails(500, after="10ms"), "small": SMALL}) as stage:
            results = await asyncio.gather(
                *(stage.send(BODY, deadline="2s", request_class="interactive") for _ in range(30))
            )
            return [(r.tier, r.reason, r.executions, r.queue_seconds, r.call_seconds) for r in results], stage.now

    first, second = await once(), await once()
    assert first == second


async def test_the_calls_tell_what_was_asked_of_which_tier():
    async with run_stage(a_stage(), endpoints={"large": Fails(401), "small": SMALL}) as stage:
        await stage.send(BODY, deadline="3s", request_class="interactive", tenant="acme")
        assert [(call.tier, call.execution, call.tenant, call.body) for call in stage.calls] == [
            ("large", 1, "acme", BODY),
            ("small", 2, "acme", BODY),
        ]


async def test_a_request_may_ask_for_a_higher_floor():
    async with run_stage(a_stage(), endpoints={"large": Fails(401), "small": SMALL}) as stage:
        result = await stage.send(BODY, deadline="3s", request_class="interactive", floor=1)
    assert (result.tier, result.outcome) == (None, Outcome.UNAVAILABLE)


async def test_the_declared_stage_is_left_as_it_was():
    stage = a_stage()
    before = list(stage.tiers)
    async with run_stage(stage, endpoints={"large": Hangs(), "small": SMALL}) as running:
        await running.send(BODY, deadline="2s", request_class="interactive")
    assert stage.tiers == before


@pytest.mark.parametrize(
    ("endpoints", "problem"),
    [
        ({"large": SMALL}, "tier small: it speaks to the world; give it a double"),
        ({"large": SMALL, "smal": SMALL}, "no tier 'smal' that calls something; it has large, small"),
        ({"large": SMALL, "small": SMALL, "apology": SMALL}, "no tier 'apology' that calls something"),
    ],
)
async def test_a_missing_or_wrong_double_is_told_before_anything_runs(endpoints, problem):
    with pytest.raises(ConfigurationError, match=problem):
        async with run_stage(a_stage(), endpoints=endpoints):
            raise AssertionError


async def test_what_cannot_be_sent_is_refused_where_it_is_written():
    async with run_stage(a_stage(), endpoints={"large": SMALL, "small": SMALL}) as stage:
        with pytest.raises(ConfigurationError, match="no class 'urgent'"):
            await stage.send(BODY, request_class="urgent")
        with pytest.raises(ConfigurationError, match="at most 60 s"):
            await stage.send(BODY, request_class="interactive", deadline="2h")
        with pytest.raises(MalformedRecord):
            await stage.send({"n": object()}, request_class="interactive")


@pytest.mark.parametrize(
    "double", [lambda: Answers({}, after="soon"), lambda: Fails(500, after=-1), lambda: Fails(429, retry_after="x")]
)
def test_a_double_refuses_what_is_no_duration(double):
    with pytest.raises(ConfigurationError):
        double()


async def test_a_failing_test_fails_with_its_own_error_and_leaves_nothing_behind():
    async def fails_with_a_request_under_way() -> None:
        async with run_stage(a_stage(), endpoints={"large": Hangs(), "small": SMALL}) as stage:
            asyncio.ensure_future(stage.send(BODY, request_class="standard")).cancel()
            await stage.pass_time("1s")
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await fails_with_a_request_under_way()
