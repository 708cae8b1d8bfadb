"""What happens to a request, on a real broker, from its topic to its result."""

import asyncio

import pytest

from failsoft import Busy, Call, Constant, Output, Pipeline, RequestRefused
from failsoft.policy.outcome import Outcome, Reason
from failsoft.wire.dead_letter import decode_dead_letter
from failsoft.wire.identity import Identity, result_id
from tests.acceptance.harness import Cluster, until

pytestmark = pytest.mark.kafka


class Recorder:
    """A pipeline of two models and a constant, which notes what it was called with."""

    def __init__(self, name: str, *, large_expects: str | None = None, limit: int = 8) -> None:
        self.calls: list[tuple[str, str]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.pipeline = Pipeline(name)
        stage = self.pipeline.stage("work")

        async def large(call: Call) -> Output:
            return await self.answer("large", call)

        async def small(call: Call) -> Output:
            return await self.answer("small", call)

        stage.tier("large", limit=limit, expect=large_expects)(large)
        stage.tier("small", limit=limit)(small)
        stage.tier("sorry", Constant({"content": "sorry"}))

    async def answer(self, tier: str, call: Call) -> Output:
        self.calls.append((tier, call.body["prompt"]))
        await self.open.wait()
        return Output({"content": call.body["prompt"], "by": tier})


async def test_a_request_comes_back_with_its_answer_and_how_it_was_served(cluster: Cluster):
    recorder = Recorder(cluster.pipeline)
    async with cluster.worker(recorder.pipeline):
        id_ = await cluster.send("interactive", "one")
        result = (await cluster.results_of([id_]))[id_]
    assert result.body == {"content": "one", "by": "large"}
    assert (result.outcome, result.reason, result.tier, result.level) == (Outcome.OK, Reason.NONE, "large", 1)
    assert (result.custom_id, result.request, result.status_code) == ("one", Identity("/test", "one"), 200)
    assert result.executions == 1
    assert result.slack_seconds > 0


async def test_a_request_past_its_deadline_on_arrival_is_never_executed_and_gets_its_expired_result(cluster: Cluster):
    recorder = Recorder(cluster.pipeline)
    late = await cluster.send("interactive", "late", budget_seconds=0.2)
    await asyncio.sleep(0.5)  # the log is where it waits; no worker is there yet
    async with cluster.worker(recorder.pipeline):
        fresh = await cluster.send("interactive", "fresh")
        results = await cluster.results_of([late, fresh])
    assert (results[late].outcome, results[late].reason) == (Outcome.EXPIRED, Reason.DEADLINE_PASSED)
    assert results[late].status_code == 504
    assert "late" not in [prompt for _, prompt in recorder.calls]


async def test_a_request_that_does_not_fit_the_full_tier_is_served_by_the_next_with_the_reason(cluster: Cluster):
    recorder = Recorder(cluster.pipeline, large_expects="20s")
    async with cluster.worker(recorder.pipeline):
        id_ = await cluster.send("interactive", "short", budget_seconds=3.0)
        result = (await cluster.results_of([id_]))[id_]
    assert (result.tier, result.level, result.wanted_level) == ("small", 2, 1)
    assert result.reason is Reason.DEADLINE_SHORT
    assert recorder.calls == [("small", "short")]


async def test_an_undecodable_record_gets_its_result_and_a_dead_letter_and_blocks_nothing(cluster: Cluster):
    recorder = Recorder(cluster.pipeline)
    async with cluster.worker(recorder.pipeline) as runner:
        bad = await cluster.send_raw("standard", "bad", b"{not json", [("ce_id", b"7"), ("ce_source", b"/foreign")])
        request_class, partition, offset = cluster.sent[bad]
        after = [await cluster.send(request_class, f"after-{n}") for n in range(20)]
        named = result_id(Identity("/foreign", "7"))
        results = await cluster.results_of([named, *after])
        letters = await cluster.dead_letters()
        await until(lambda: runner.machine.waiting == dict.fromkeys(runner.machine.waiting, 0))
    assert (results[named].outcome, results[named].reason) == (Outcome.INVALID, Reason.MALFORMED)
    error = results[named].error
    assert error is not None
    assert "value" in error["message"]
    assert [decode_dead_letter(r.key, r.value, r.headers).value for r in letters] == [b"{not json"]
    letter = decode_dead_letter(letters[0].key, letters[0].value, letters[0].headers)
    assert (letter.partition, letter.offset) == (partition, offset)
    assert {results[id_].outcome for id_ in after} == {Outcome.OK}


async def test_an_invalid_record_without_identity_has_the_result_of_its_place_in_the_log(cluster: Cluster):
    recorder = Recorder(cluster.pipeline)
    async with cluster.worker(recorder.pipeline):
        bad = await cluster.send_raw("batch", "bad", b"[]", [])
        request_class, partition, offset = cluster.sent[bad]
        topic = f"{cluster.pipeline}.work.{request_class}"
        named = result_id(Identity(f"/kafka/{topic}", f"{partition}-{offset}"))
        results = await cluster.results_of([named])
    assert results[named].outcome is Outcome.INVALID


async def test_a_flood_of_batch_does_not_delay_interactive(cluster: Cluster):
    """Ordering, not time: an interactive request overtakes all of the flood but what was already running."""
    recorder = Recorder(cluster.pipeline, limit=4)
    recorder.open.clear()
    flood = await asyncio.gather(*(cluster.send("batch", f"batch-{n}") for n in range(3_000)))
    async with cluster.worker(recorder.pipeline):
        await until(lambda: len(recorder.calls) >= 4)
        started = len(recorder.calls)
        urgent = [await cluster.send("interactive", f"urgent-{n}", budget_seconds=60.0) for n in range(4)]
        await asyncio.sleep(0.5)  # fetched, and waiting for a permit
        recorder.open.set()
        await cluster.results_of([*urgent, *flood])
    order = [prompt for _, prompt in recorder.calls]
    last_urgent = max(order.index(f"urgent-{n}") for n in range(4))
    assert last_urgent < started + 2 * 8, "interactive waited behind the flood"


async def test_each_failure_of_a_model_leads_to_the_next_tier_with_its_reason(cluster: Cluster):
    failures = {
        "busy": Busy(),
        "reset": ConnectionResetError(),
        "bug": KeyError("nothing"),
    }
    pipeline = Pipeline(cluster.pipeline)
    stage = pipeline.stage("work")

    @stage.tier("large")
    async def large(call: Call) -> Output:
        raise failures[call.body["prompt"]]

    @stage.tier("small")
    async def small(call: Call) -> Output:
        return Output({"by": "small", "execution": call.execution})

    async with cluster.worker(pipeline):
        ids = {prompt: await cluster.send("standard", prompt) for prompt in failures}
        results = await cluster.results_of(list(ids.values()))
    reasons = {prompt: results[id_].reason for prompt, id_ in ids.items()}
    assert reasons == {
        "busy": Reason.ENDPOINT_BACKPRESSURE,
        "reset": Reason.ENDPOINT_ERROR,
        "bug": Reason.ENDPOINT_ERROR,
    }
    assert {results[id_].tier for id_ in ids.values()} == {"small"}
    assert all(2 <= results[id_].body["execution"] <= 3 for id_ in ids.values())  # one may have been tried again first


async def test_a_request_that_the_model_refuses_ends_as_invalid_with_the_models_words(cluster: Cluster):
    pipeline = Pipeline(cluster.pipeline)

    @pipeline.stage("work").tier("large")
    async def large(_: Call) -> Output:
        raise RequestRefused("max_tokens is too large", status_code=422)

    async with cluster.worker(pipeline):
        id_ = await cluster.send("standard", "greedy")
        result = (await cluster.results_of([id_]))[id_]
    assert (result.outcome, result.reason, result.status_code) == (Outcome.INVALID, Reason.REQUEST_REFUSED, 422)
    assert result.error is not None
    assert "max_tokens is too large" in result.error["message"]


async def test_an_answer_that_fits_no_result_ends_as_failed(cluster: Cluster):
    pipeline = Pipeline(cluster.pipeline)

    @pipeline.stage("work").tier("large")
    async def large(_: Call) -> Output:
        return Output({"content": "x" * 5_000_000})

    async with cluster.worker(pipeline):
        id_ = await cluster.send("standard", "large")
        result = (await cluster.results_of([id_]))[id_]
    assert (result.outcome, result.reason) == (Outcome.FAILED, Reason.ANSWER_UNUSABLE)


async def test_a_thread_that_overruns_its_window_holds_its_permit_while_the_request_moves_on(cluster: Cluster):
    pipeline = Pipeline(cluster.pipeline)
    stage = pipeline.stage("work")
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    @stage.tier("large", limit=1, runs_in="thread", expect="50ms")
    async def large(_: Call) -> Output:
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result()
        return Output({"by": "large"})

    @stage.tier("small", expect="10ms")
    async def small(_: Call) -> Output:
        return Output({"by": "small"})

    async with cluster.worker(pipeline) as runner:
        id_ = await cluster.send("interactive", "slow")
        result = (await cluster.results_of([id_]))[id_]
        held = runner.machine.permits["large"]
        release.set()
        await until(lambda: runner.machine.permits["large"] == (0, 1))
    assert (result.tier, result.reason) == ("small", Reason.ENDPOINT_TIMEOUT)
    assert held == (1, 1)
