"""One served model in virtual time: what its account says to the millisecond."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import wraps

import pytest

from failsoft.testing.model_server import Failure, Faults, ModelSettings, RateLimit, ServedModel
from failsoft.testing.model_server.faults import draw, service_seconds
from failsoft.testing.virtual_time import run_in_virtual_time


def in_virtual_time(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    @wraps(test)
    def run() -> None:
        async def main() -> None:
            await test()

        run_in_virtual_time(main())

    return run


def model(*, slots: int = 1, queue: int = 10, sigma: float = 0.0, seed: int = 0) -> ServedModel:
    return ServedModel("m", ModelSettings(slots=slots, queue=queue, median_seconds=1.0, sigma=sigma), seed=seed)


def begin(served: ServedModel, count: int) -> list["asyncio.Task[Failure | None]"]:
    return [asyncio.create_task(served.serve()) for _ in range(count)]


async def settle() -> None:
    """Let everything happen that needs no time."""
    await asyncio.sleep(1e-9)


def said(served: ServedModel, *names: str) -> list[object]:
    stats = served.stats()
    failed = sum(stats["failed"].values())
    assert stats["calls"] == stats["answered"] + failed + stats["cancelled"] + stats["in_service"] + stats["queued"]
    return [stats[name] for name in names]


@in_virtual_time
async def test_as_many_calls_as_there_are_slots_run_at_once_and_the_others_wait_their_turn():
    served = model(slots=2)
    calls = begin(served, 5)
    await settle()
    assert said(served, "in_service", "queued") == [2, 3]
    assert await asyncio.gather(*calls) == [None] * 5
    assert asyncio.get_running_loop().time() == pytest.approx(3.0)
    assert said(served, "calls", "answered", "in_service", "queued") == [5, 5, 0, 0]
    assert served.stats()["busy_seconds"] == pytest.approx(5.0)


@in_virtual_time
async def test_a_call_beyond_the_queue_is_refused_at_once():
    served = model(slots=2, queue=3)
    calls = begin(served, 7)
    await settle()
    assert [call.result() for call in calls[5:]] == [Failure.QUEUE_FULL] * 2
    assert await asyncio.gather(*calls[:5]) == [None] * 5
    assert served.stats()["failed"][Failure.QUEUE_FULL] == 2


@in_virtual_time
async def test_without_a_queue_there_are_only_slots():
    served = model(slots=1, queue=0)
    assert await asyncio.gather(*begin(served, 2)) == [None, Failure.QUEUE_FULL]


@in_virtual_time
async def test_a_client_that_goes_frees_its_slot_for_the_next_at_once():
    served = model()
    first, second = begin(served, 2)
    await asyncio.sleep(0.25)
    first.cancel()
    await settle()
    assert said(served, "cancelled", "in_service", "queued") == [1, 1, 0]
    assert await second is None
    assert asyncio.get_running_loop().time() == pytest.approx(1.25)
    assert served.stats()["busy_seconds"] == pytest.approx(1.25)
    assert served.stats()["wasted_seconds"] == pytest.approx(0.25)


@in_virtual_time
async def test_a_client_that_goes_while_it_waits_leaves_the_queue():
    served = model()
    first, second, third = begin(served, 3)
    await settle()
    second.cancel()
    await settle()
    assert said(served, "cancelled", "in_service", "queued") == [1, 1, 1]
    assert [await first, await third] == [None, None]
    assert asyncio.get_running_loop().time() == pytest.approx(2.0)


@in_virtual_time
async def test_service_times_are_those_that_the_seed_draws():
    served = model(sigma=0.35, seed=7)
    rng = random.Random("7/m")
    for _ in range(5):
        expected = service_seconds(draw(rng), served.settings, Faults())
        begun_at = asyncio.get_running_loop().time()
        await served.serve()
        assert asyncio.get_running_loop().time() - begun_at == pytest.approx(expected)


@in_virtual_time
async def test_a_fault_moves_no_service_time_of_the_calls_after_it():
    async def third_call(faults: Faults) -> float:
        served = model(sigma=0.35, seed=7)
        served.faults = faults
        for _ in range(2):
            await served.serve()
        served.faults = Faults()
        begun_at = asyncio.get_running_loop().time()
        await served.serve()
        return asyncio.get_running_loop().time() - begun_at

    undisturbed = await third_call(Faults())
    for faults in (Faults(overload=1), Faults(outage=True), Faults(reset=1), Faults(rate_limit=RateLimit(share=1))):
        assert await third_call(faults) == pytest.approx(undisturbed)


@in_virtual_time
async def test_a_hang_keeps_every_call_until_it_is_lifted():
    served = model(slots=2)
    calls = begin(served, 3)
    await asyncio.sleep(0.5)
    served.faults = Faults(hang=True)
    await asyncio.sleep(100)
    assert said(served, "answered", "in_service", "queued") == [0, 2, 1]
    served.faults = Faults()
    assert await asyncio.gather(*calls) == [None] * 3
    assert asyncio.get_running_loop().time() == pytest.approx(101.5)
    assert served.stats()["busy_seconds"] == pytest.approx(202.0)


@in_virtual_time
async def test_a_hung_call_whose_client_goes_is_cancelled():
    served = model()
    served.faults = Faults(hang=True)
    (call,) = begin(served, 1)
    await asyncio.sleep(100)
    call.cancel()
    await settle()
    assert said(served, "cancelled", "in_service") == [1, 0]


@in_virtual_time
async def test_an_outage_breaks_off_what_runs_and_what_waits_and_lets_nobody_in():
    served = model()
    calls = begin(served, 3)
    await asyncio.sleep(0.5)
    served.faults = Faults(outage=True)
    served.faults = Faults(outage=True, slow=2)
    assert await asyncio.gather(*calls) == [Failure.OUTAGE] * 3
    assert await served.serve() == Failure.OUTAGE
    assert asyncio.get_running_loop().time() == pytest.approx(0.5)
    served.faults = Faults()
    assert await served.serve() is None
    assert said(served, "answered", "in_service", "queued") == [1, 0, 0]
    assert served.stats()["failed"][Failure.OUTAGE] == 4


@in_virtual_time
async def test_a_hang_that_becomes_an_outage_answers_nobody():
    served = model()
    served.faults = Faults(hang=True)
    (call,) = begin(served, 1)
    await asyncio.sleep(100)
    served.faults = Faults(outage=True)
    assert await call == Failure.OUTAGE


@pytest.mark.parametrize(
    ("faults", "failure", "seconds"),
    [
        (Faults(error_rate=1), Failure.ERROR, 1.0),
        (Faults(garbage=1), Failure.GARBAGE, 1.0),
        (Faults(reset=1), Failure.RESET, 1.0),
        (Faults(overload=1), Failure.OVERLOAD, 0.0),
        (Faults(rate_limit=RateLimit(share=1)), Failure.RATE_LIMIT, 0.0),
        (Faults(slow=2.5), None, 2.5),
        (Faults(slow=2, error_rate=1), Failure.ERROR, 2.0),
    ],
)
def test_refusals_take_no_time_and_failures_take_as_long_as_answers(faults, failure, seconds):
    async def main() -> None:
        served = model()
        served.faults = faults
        assert await served.serve() == failure
        assert asyncio.get_running_loop().time() == pytest.approx(seconds)
        assert served.stats()["busy_seconds"] == pytest.approx(seconds)

    run_in_virtual_time(main())


@in_virtual_time
async def test_a_reset_account_counts_what_is_under_way_as_new():
    served = model()
    calls = begin(served, 2)
    await asyncio.sleep(1.5)
    served.reset_stats()
    assert said(served, "calls", "answered", "in_service", "busy_seconds") == [1, 0, 1, 0.0]
    await asyncio.gather(*calls)
    assert said(served, "calls", "answered") == [1, 1]
    assert served.stats()["busy_seconds"] == pytest.approx(0.5)


@in_virtual_time
async def test_models_draw_each_by_itself():
    settings = ModelSettings(slots=1, queue=0, median_seconds=1.0, sigma=0.35)
    one, other = (ServedModel(name, settings, seed=0) for name in ("one", "other"))
    times = []
    for served in (one, other):
        begun_at = asyncio.get_running_loop().time()
        await served.serve()
        times.append(asyncio.get_running_loop().time() - begun_at)
    assert times[0] != pytest.approx(times[1])


@in_virtual_time
async def test_a_call_may_take_a_multiple_of_the_usual_time():
    served = model()
    await served.serve("long", work=2.5)
    assert asyncio.get_running_loop().time() == pytest.approx(2.5)


@in_virtual_time
async def test_what_was_asked_before_counts_as_repeated_and_what_has_no_prompt_never_does():
    served = model()
    for prompt in ("a", "b", "a", "a", None, None):
        await served.serve(prompt)
    assert served.stats()["repeated"] == 2
    served.reset_stats()
    await served.serve("a")
    assert served.stats()["repeated"] == 0
