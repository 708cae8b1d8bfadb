"""Every way in which a model server fails: what the request gets instead, and why, and what the server sees of it.

A real server over HTTP with the fault switched on for the large model only; the shell is real, Kafka is not needed for it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from failsoft import Constant, OpenAICompatible, Pipeline
from failsoft.policy.outcome import Outcome, Reason
from failsoft.testing import Faults, ModelServer, ModelSettings, RateLimit
from failsoft.wire import Result
from tests.runtime.fakes import Stand

MODELS = {
    "large": ModelSettings(slots=2, queue=0, median_seconds=0.02, sigma=0.0),
    "small": ModelSettings(slots=8, queue=8, median_seconds=0.01, sigma=0.0),
}
CHAT = "/v1/chat/completions"


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer(MODELS) as served:
        yield served


def pipeline_of(server: ModelServer, *, large: str | None = None, key: str | None = None) -> Pipeline:
    pipeline = Pipeline("demo")
    stage = pipeline.stage("work")
    url = server.url if large is None else large
    stage.tier("large", OpenAICompatible("large", url=url, api_key=key, limit=2), expect="300ms")
    stage.tier("small", OpenAICompatible("small", url=server.url, limit=8), expect="20ms")
    stage.tier("sorry", Constant({"by": "constant"}))
    return pipeline


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20.0):
        while not condition():
            await asyncio.sleep(0.01)


async def result_of(stand: Stand, **said: object) -> Result:
    before = len(stand.outbox.results())
    stand.send(**{"budget_seconds": 3.0, "url": CHAT, **said})  # type: ignore[arg-type]  # keywords of the table
    await until(lambda: len(stand.outbox.results()) > before)
    return stand.outbox.results()[-1]


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        pytest.param(Faults(error_rate=1), Reason.ENDPOINT_ERROR, id="error 500"),
        pytest.param(Faults(reset=1), Reason.ENDPOINT_ERROR, id="connection reset"),
        pytest.param(Faults(outage=True), Reason.ENDPOINT_ERROR, id="outage"),
        pytest.param(Faults(garbage=1), Reason.ENDPOINT_ERROR, id="garbage"),
        pytest.param(Faults(overload=1), Reason.ENDPOINT_BACKPRESSURE, id="overload 503"),
        pytest.param(
            Faults(rate_limit=RateLimit(share=1, retry_after_seconds=60)),
            Reason.ENDPOINT_BACKPRESSURE,
            id="429, come back late",
        ),
        pytest.param(Faults(hang=True), Reason.ENDPOINT_TIMEOUT, id="hang"),
        pytest.param(Faults(slow=500), Reason.ENDPOINT_TIMEOUT, id="slow x 500"),
    ],
)
async def test_a_failure_of_the_large_model_is_answered_by_the_small_one_with_the_reason(
    server: ModelServer, faults: Faults, reason: Reason
):
    stand = await Stand.of(pipeline_of(server))
    server.models["large"].faults = faults
    result = await result_of(stand)
    assert (result.outcome, result.tier, result.level, result.reason) == (Outcome.OK, "small", 2, reason)
    assert result.executions >= 2
    assert result.slack_seconds > 0
    await stand.runner.close()


async def test_a_model_that_widens_answers_as_long_as_its_window_holds(server: ModelServer):
    stand = await Stand.of(pipeline_of(server))
    server.models["large"].faults = Faults(widen=2)
    result = await result_of(stand)
    assert (result.tier, result.reason) == ("large", Reason.NONE)
    await stand.runner.close()


async def test_a_429_that_says_soon_is_waited_for(server: ModelServer):
    stand = await Stand.of(pipeline_of(server))
    server.models["large"].faults = Faults(rate_limit=RateLimit(share=1, retry_after_seconds=1))
    stand.send("batch", budget_seconds=3_000.0, url=CHAT)
    await until(lambda: server.stats()["large"]["calls"] == 1)
    server.models["large"].faults = Faults()
    await until(stand.outbox.results)
    result = stand.outbox.results()[-1]
    assert (result.tier, result.level, result.executions) == ("large", 1, 2)
    await stand.runner.close()


async def test_a_queue_that_is_full_is_backpressure_and_not_a_failure(server: ModelServer):
    stand = await Stand.of(pipeline_of(server))
    server.models["large"].faults = Faults(hang=True)
    for _ in range(2):
        stand.send("batch", budget_seconds=3_000.0, url=CHAT)
    await until(lambda: server.stats()["large"]["in_service"] == 2)
    other = await Stand.of(pipeline_of(server))
    result = await result_of(other)
    assert (result.tier, result.reason) == ("small", Reason.ENDPOINT_BACKPRESSURE)
    await stand.runner.close()
    await other.runner.close()


async def test_a_call_that_is_cut_at_its_window_frees_its_slot_at_the_server(server: ModelServer):
    stand = await Stand.of(pipeline_of(server))
    server.models["large"].faults = Faults(hang=True)
    result = await result_of(stand)
    assert result.reason is Reason.ENDPOINT_TIMEOUT
    await until(lambda: server.stats()["large"]["in_service"] == 0)
    assert server.stats()["large"]["cancelled"] >= 1
    await until(lambda: stand.runner.machine.permits["large"][0] == 0)
    await stand.runner.close()


async def test_a_server_that_is_not_there_is_passed_over(server: ModelServer):
    stand = await Stand.of(pipeline_of(server, large="http://127.0.0.1:1/v1"))
    result = await result_of(stand)
    assert (result.tier, result.reason) == ("small", Reason.ENDPOINT_ERROR)
    await stand.runner.close()


async def test_when_every_model_fails_there_is_the_constant(server: ModelServer):
    stand = await Stand.of(pipeline_of(server))
    server.models["large"].faults = server.models["small"].faults = Faults(garbage=1)
    result = await result_of(stand)
    assert (result.outcome, result.tier, result.level) == (Outcome.OK, "sorry", 3)
    assert result.reason is Reason.ENDPOINT_ERROR
    await stand.runner.close()


async def test_a_url_that_no_model_serves_ends_as_invalid(server: ModelServer):
    stand = await Stand.of(pipeline_of(server))
    result = await result_of(stand, url="/v1/paintings")
    assert (result.outcome, result.reason, result.status_code) == (Outcome.INVALID, Reason.REQUEST_REFUSED, 404)
    await stand.runner.close()
