"""The shell, with an inbox and an outbox of the test's own, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from failsoft import Call, Constant, Output, Pipeline
from failsoft.kafka import RecordRefused
from failsoft.policy.errors import IllegalTransition
from failsoft.policy.events import CallFinished, Verdict
from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.progress import Progress
from failsoft.policy.request import Partition
from failsoft.testing.virtual_time import run_in_virtual_time
from failsoft.wire import Identity, RequestLine
from failsoft.wire.body import encode_request
from tests.runtime.fakes import Stand

HEAD = Partition("interactive", 0)


def in_virtual_time(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        async def main() -> None:
            await test()

        run_in_virtual_time(main())

    run.__name__ = test.__name__
    return run


def a_pipeline(large: Callable[[Call], Awaitable[Output]], *, floor: int = 3) -> Pipeline:
    pipeline = Pipeline("demo")
    stage = pipeline.stage("work", floor={"interactive": floor})
    stage.tier("large", limit=2, expect="1s")(large)

    async def small(_: Call) -> Output:
        await asyncio.sleep(0.1)
        return Output({"by": "small"})

    stage.tier("small", limit=2, expect="100ms")(small)
    stage.tier("sorry", Constant({"by": "constant"}))
    return pipeline


async def answers(_: Call) -> Output:
    await asyncio.sleep(1.0)
    return Output({"by": "large"})


async def hangs(_: Call) -> Output:
    await asyncio.Event().wait()
    raise AssertionError


@in_virtual_time
async def test_a_record_becomes_a_result_and_then_a_commit():
    stand = await Stand.of(a_pipeline(answers))
    stand.send()
    await stand.settle(1.5)
    assert [(r.outcome, r.tier, r.body) for r in stand.outbox.results()] == [(Outcome.OK, "large", {"by": "large"})]
    await stand.settle(1.5)
    assert stand.inbox.committed == [{HEAD: (1, 1)}]
    assert "interactive" in stand.inbox.woken
    await stand.runner.close()


@in_virtual_time
async def test_nothing_is_committed_before_its_result_is_acknowledged():
    stand = await Stand.of(a_pipeline(answers))
    stand.outbox.gate.clear()
    stand.send()
    await stand.settle(30.0)
    assert len(stand.outbox.sent) == 1
    assert stand.inbox.committed == []
    stand.outbox.gate.set()
    await stand.settle(2.0)
    assert stand.inbox.committed == [{HEAD: (1, 1)}]
    await stand.runner.close()


@in_virtual_time
async def test_a_commit_that_the_group_did_not_take_is_tried_again():
    stand = await Stand.of(a_pipeline(answers))
    stand.inbox.takes = False
    stand.send()
    await stand.settle(5.0)
    assert len(stand.inbox.committed) >= 2
    stand.inbox.takes = True
    await stand.settle(2.0)
    count = len(stand.inbox.committed)
    await stand.settle(5.0)
    assert len(stand.inbox.committed) == count
    await stand.runner.close()


@in_virtual_time
async def test_a_call_is_cut_at_its_window_and_the_next_tier_answers_in_time():
    stand = await Stand.of(a_pipeline(hangs))
    stand.send(budget_seconds=5.0)
    await stand.settle(5.0)
    (result,) = stand.outbox.results()
    assert (result.tier, result.reason) == ("small", Reason.ENDPOINT_TIMEOUT)
    assert result.executions == 2
    assert result.slack_seconds > 0
    assert stand.runner.machine.permits["large"] == (0, 2)
    await stand.runner.close()


@in_virtual_time
async def test_a_malformed_record_is_a_dead_letter_first_and_a_result_then():
    stand = await Stand.of(a_pipeline(answers))
    stand.send(value=b"{")
    await stand.settle()
    assert [topic for topic, *_ in stand.outbox.sent] == ["demo.dead-letters", "demo.results"]
    await stand.settle(2.0)
    assert stand.inbox.committed == [{HEAD: (1, 1)}]
    await stand.runner.close()


@in_virtual_time
async def test_a_dead_letter_that_the_topic_refuses_is_tried_again_and_nothing_of_its_record_goes_on_before():
    stand = await Stand.of(a_pipeline(answers))
    stand.outbox.refuse = [RecordRefused("the topic takes nothing") for _ in range(3)]
    stand.send(value=b"{")
    await stand.settle(1.0)
    assert stand.outbox.sent == []
    assert stand.inbox.committed == []
    await stand.settle(60.0)
    assert [topic for topic, *_ in stand.outbox.sent] == ["demo.dead-letters", "demo.results"]
    assert stand.inbox.committed == [{HEAD: (1, 1)}]
    assert stand.refused("dead_letter") == 3
    await stand.runner.close()


@in_virtual_time
async def test_a_result_that_the_topic_refuses_at_any_size_is_tried_again():
    stand = await Stand.of(a_pipeline(answers))
    stand.outbox.refuse = [RecordRefused("the topic takes nothing") for _ in range(4)]
    stand.send()
    await stand.settle(60.0)
    assert [(r.outcome, r.reason) for r in stand.outbox.results()] == [(Outcome.FAILED, Reason.ANSWER_UNUSABLE)]
    assert stand.inbox.committed == [{HEAD: (1, 1)}]
    assert stand.refused("result") == 3
    await stand.runner.close()


@in_virtual_time
async def test_an_answer_that_the_broker_refuses_ends_as_failed():
    stand = await Stand.of(a_pipeline(answers))
    stand.outbox.refuse = [RecordRefused("too large")]
    stand.send()
    await stand.settle(2.0)
    assert [(r.outcome, r.reason) for r in stand.outbox.results()] == [(Outcome.FAILED, Reason.ANSWER_UNUSABLE)]
    assert stand.refused("result") == 0
    await stand.runner.close()


@in_virtual_time
async def test_a_reply_goes_only_to_topics_that_the_catalogue_allows():
    stand = await Stand.of(a_pipeline(answers))
    stand.send(reply_to="answers-for-app")
    stand.send(reply_to="somebody-elses")
    await stand.settle(2.0)
    topics = [topic for topic, *_ in stand.outbox.sent]
    assert topics.count("answers-for-app") == 1
    assert topics.count("demo.results") == 2
    assert "somebody-elses" not in topics
    await stand.runner.close()


@in_virtual_time
async def test_lost_partitions_cancel_their_calls_and_publish_nothing():
    cancelled = asyncio.Event()

    async def notes_cancellation(_: Call) -> Output:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        raise AssertionError

    stand = await Stand.of(a_pipeline(notes_cancellation))
    stand.send()
    await stand.settle(0.1)
    stand.runner.revoked(frozenset({HEAD}), 0.5)
    await stand.settle(30.0)
    assert cancelled.is_set()
    assert stand.outbox.sent == []
    assert stand.inbox.committed == []
    await stand.runner.close()


@in_virtual_time
async def test_a_record_that_comes_back_while_its_old_result_is_still_being_published_is_served_again():
    stand = await Stand.of(a_pipeline(answers))
    stand.outbox.gate.clear()
    stand.send()
    await stand.settle(1.5)
    assert len(stand.outbox.sent) == 1
    stand.runner.revoked(frozenset({HEAD}), 0.5)
    stand.runner.assigned({HEAD: Progress(0)}, 2, 1.0)
    stand.offset = 0
    stand.send()
    stand.outbox.gate.set()
    await stand.settle(4.0)
    assert [result.tier for result in stand.outbox.results()] == ["large", "large"]
    assert stand.inbox.committed == [{HEAD: (2, 1)}]
    await stand.runner.close()


@in_virtual_time
async def test_another_record_in_the_place_of_one_in_hand_does_not_take_it_over():
    """Its topic was made anew, and nobody has noticed yet."""
    may_end = asyncio.Event()

    async def echoes(call: Call) -> Output:
        await may_end.wait()
        return Output({"asked": call.body["n"]})

    def send(identity: str) -> None:
        stand.offset = 0
        stand.send("batch", budget_seconds=3_000.0, identity=identity)

    stand = await Stand.of(a_pipeline(echoes))
    send("old")
    send("new")
    may_end.set()
    await stand.settle(2.0)
    assert [(r.request, r.body) for r in stand.outbox.results()] == [(Identity("/test", "old"), {"asked": "old"})]
    stand.runner.revoked(frozenset({Partition("batch", 0)}), 0.5)
    stand.runner.assigned({Partition("batch", 0): Progress(0, log="bbbbbbbb")}, 2, 1.0)
    send("new")
    await stand.settle(2.0)
    assert (stand.outbox.results()[-1].request.id, stand.outbox.results()[-1].body) == ("new", {"asked": "new"})
    await stand.runner.close()


@pytest.mark.parametrize("is_shared", [False, True], ids=["alone", "shared"])
def test_a_body_that_others_need_and_that_of_another_record_in_its_place_are_told_apart(is_shared: bool):
    run_in_virtual_time(two_bodies_of_one_place(is_shared=is_shared))


async def two_bodies_of_one_place(*, is_shared: bool) -> None:
    """An interactive request shares the call of a batch one, whose topic is made anew; then that call fails."""
    may_fail, may_end = asyncio.Event(), asyncio.Event()
    pipeline = Pipeline("demo")
    stage = pipeline.stage("work")
    calls: list[str] = []

    async def large(call: Call) -> Output:
        calls.append(call.body["n"])
        if len(calls) == 1:
            await may_fail.wait()
            raise RuntimeError
        await may_end.wait()
        return Output({"asked": call.body["n"]})

    async def small(call: Call) -> Output:
        return Output({"asked": call.body["n"]})

    stage.tier("large", limit=2, expect="1s")(large)
    stage.tier("small", limit=2, expect="100ms")(small)

    def send(request_class: str, name: str, *, assignment: int = 1, is_shared: bool = True) -> None:
        stand.offset = 0
        body = {"n": name, "messages": [{"role": "user", "content": name}], "temperature": 0 if is_shared else 1}
        value = encode_request(RequestLine("1", "/v1/x", body))
        name = f"{request_class}-{name}"
        stand.send(request_class, budget_seconds=60.0, value=value, identity=name, assignment=assignment)

    stand = await Stand.of(pipeline)
    send("batch", "old")
    send("interactive", "old")
    await stand.settle(0.1)
    remade = Partition("batch", 0)
    stand.runner.revoked(frozenset({remade}), 0.5)
    stand.runner.assigned({remade: Progress(0, log="bbbbbbbb")}, 2, 1.0)
    send("batch", "new", assignment=2, is_shared=is_shared)
    await stand.settle(0.1)
    may_fail.set()
    await stand.settle(5.0)
    may_end.set()
    await stand.settle(5.0)
    assert calls[:2] == ["old", "new"]
    assert {r.request.id: r.body for r in stand.outbox.results()} == {
        "interactive-old": {"asked": "old"},
        "batch-new": {"asked": "new"},
    }
    assert stand.runner._held == {}
    await stand.runner.close()


@in_virtual_time
async def test_draining_finishes_what_runs_leaves_what_waits_and_commits_last():
    stand = await Stand.of(a_pipeline(answers))
    for _ in range(6):
        stand.send("batch", budget_seconds=3_000.0)
    await stand.settle(0.1)
    is_drained = await stand.runner.drain(20.0)
    assert is_drained
    assert len(stand.outbox.results()) == 2
    assert stand.runner.room("batch") == 0
    assert stand.inbox.committed[-1] == {Partition("batch", 0): (1, 2)}
    await stand.runner.close()
    assert stand.inbox.is_stopped


@in_virtual_time
async def test_draining_that_takes_longer_than_its_budget_says_so():
    stand = await Stand.of(a_pipeline(hangs))
    stand.send("batch", budget_seconds=3_000.0)
    await stand.settle(0.1)
    assert not await stand.runner.drain(0.5)
    await stand.runner.close()


@in_virtual_time
async def test_draining_waits_a_second_for_the_last_commit_and_no_longer():
    stand = await Stand.of(a_pipeline(answers))
    stand.inbox.answers.clear()
    stand.send()
    await stand.settle(0.5)
    began_at = stand.clock.monotonic()
    assert await stand.runner.drain(5.0)
    assert stand.clock.monotonic() - began_at == pytest.approx(0.5 + 1.0)
    await stand.runner.close()


@in_virtual_time
async def test_a_bug_in_the_machine_ends_the_runner_instead_of_hiding():
    stand = await Stand.of(a_pipeline(answers))
    failed = asyncio.ensure_future(stand.runner.failed())
    await stand.settle()
    with pytest.raises(IllegalTransition):
        stand.runner.feed(CallFinished(99, Verdict.OK))
    with pytest.raises(IllegalTransition):
        await failed
    await stand.runner.close()


@in_virtual_time
async def test_a_body_that_two_calls_need_goes_with_the_last_of_them():
    """Its partition went while another's request waited for its call, and came back with a request that cannot wait for that."""
    ends = [asyncio.Event(), asyncio.Event()]
    calls = iter(ends)

    async def large(call: Call) -> Output:
        await next(calls).wait()
        return Output(call.body)

    def send(request_class: str, offset: int, budget_seconds: float) -> None:
        stand.offset = offset
        body = {"messages": [{"role": "user", "content": "hello"}], "temperature": 0}
        stand.send(request_class, budget_seconds=budget_seconds, value=encode_request(RequestLine("1", "/v1/x", body)))

    stand = await Stand.of(a_pipeline(large))
    send("interactive", 0, 5.0)
    send("batch", 0, 60.0)
    stand.runner.revoked(frozenset({HEAD}), 0.5)
    await stand.settle(2.5)
    stand.runner.assigned({HEAD: Progress(0)}, 2, 1.0)
    send("interactive", 0, 1.9)
    assert len(stand.runner._started) == 2
    for ended in ends:
        ended.set()
        await stand.settle(0.1)
    assert len(stand.outbox.results()) == 2
    assert stand.runner._held == {}
    assert stand.runner._lent == {}
    await stand.runner.close()
