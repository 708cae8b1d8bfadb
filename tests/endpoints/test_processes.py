"""Functions in child processes: real ones, that hang, crash and are killed."""

import asyncio
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog

from failsoft import (
    Busy,
    Call,
    ContextPart,
    EndpointBroken,
    EndpointFailed,
    Output,
    PartState,
    Pipeline,
    RequestRefused,
)
from failsoft.endpoints import EndpointUnreachable, ProcessEndpoint, Running
from failsoft.endpoints.child_process import ChildProcess, ProcessDied
from failsoft.policy.errors import ConfigurationError
from tests.endpoints import in_processes

CRASHES = 100 if os.environ.get("FAILSOFT_FAULTS") == "whole" else 10


def a_call(**body: Any) -> Call:
    clock = asyncio.get_running_loop().time
    return Call(
        body=body,
        url="/v1/chat/completions",
        request_class="batch",
        tier="large",
        execution=2,
        tenant="acme",
        headers={"traceparent": "00-1"},
        window_ends_at=clock() + 60.0,
        clock=clock,
    )


@asynccontextmanager
async def opened(function: Any = in_processes.obey, **said: Any) -> AsyncIterator[ProcessEndpoint]:
    endpoint = ProcessEndpoint(function, **{"limit": 1} | said)
    await endpoint.open()
    try:
        yield endpoint
    finally:
        await endpoint.close()


async def answer_of(running: Running) -> dict[str, Any]:
    output = await running.answer
    assert isinstance(output.body, bytes)
    return dict(orjson.loads(output.body))


async def process_of(endpoint: ProcessEndpoint) -> int:
    """Which process serves now."""
    return int((await answer_of(endpoint.start(a_call(do="answer"))))["process"])


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the one that lists them is closed again at once


def next_descriptor() -> int:
    """The number that whoever opens something gets."""
    number = os.dup(0)
    os.close(number)
    return number


async def gone(pid: int) -> None:
    """Wait until a process has ended, if it is still there."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(watched, ended.set)
    try:
        async with asyncio.timeout(10.0):
            await ended.wait()
    finally:
        loop.remove_reader(watched)
        os.close(watched)


async def test_a_call_crosses_with_all_that_it_says_and_so_does_its_answer():
    async with opened(in_processes.echo) as endpoint:
        running = endpoint.start(a_call(messages=["Grüße", 1.5, None]))
        answer = await answer_of(running)
        assert (await running.answer).region == "here"
    remaining, process = answer.pop("remaining_seconds"), answer.pop("process")
    assert 0.0 < remaining <= 60.0
    assert process != os.getpid()
    assert answer == {
        "body": {"messages": ["Grüße", 1.5, None]},
        "url": "/v1/chat/completions",
        "class": "batch",
        "tier": "large",
        "execution": 2,
        "tenant": "acme",
        "headers": {"traceparent": "00-1"},
        "read": "",
    }


async def test_what_was_gathered_crosses_both_ways_with_what_is_known_of_it():
    async with opened(in_processes.gather) as endpoint:
        call = replace(a_call(), context={"documents": ["a page"]})
        output = await endpoint.start(call).answer
    assert output.context == {
        "documents": ContextPart(["a page"], PartState.TRUNCATED, 1_800_000_000.5),
        "score": {"value": 1},
    }


async def test_a_body_larger_than_any_pipe_crosses():
    async with opened(in_processes.echo) as endpoint:
        answer = await answer_of(endpoint.start(a_call(text="x" * 900_000)))
    assert len(answer["body"]["text"]) == 900_000


async def test_as_many_calls_run_at_once_as_there_are_permits():
    async with opened(limit=2) as endpoint:
        hanging = endpoint.start(a_call(do="loop"))
        assert await process_of(endpoint) == await process_of(endpoint)
        assert not hanging.answer.done()
        hanging.answer.cancel()


@pytest.mark.parametrize("how", ["hang in native code", "loop"])
async def test_a_call_that_never_returns_is_killed_when_it_is_cut_and_its_slot_serves_again(how: str):
    async with opened() as endpoint:
        before = await process_of(endpoint)
        running = endpoint.start(a_call(do=how))
        done, _ = await asyncio.wait({running.answer}, timeout=0.1)
        assert not done
        running.answer.cancel()
        assert not running.over.done()
        async with asyncio.timeout(30.0):
            await running.over
        await gone(before)
        assert await process_of(endpoint) != before


async def test_a_slot_is_not_free_before_its_new_process_is_warm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = tmp_path / "model.bin"
    model.write_text("weights")
    monkeypatch.setenv("TEST_MODEL_FILE", str(model))
    async with opened(warm_up=in_processes.warm_up_if_there) as endpoint:
        model.unlink()
        running = endpoint.start(a_call(do="crash"))
        with pytest.raises(ProcessDied):
            await running.answer
        waiting = endpoint.start(a_call(do="answer"))
        await asyncio.wait({waiting.answer}, timeout=1.0)
        assert not running.over.done()
        assert not waiting.answer.done()
        model.write_text("weights")
        async with asyncio.timeout(30.0):
            await running.over
            await waiting.answer


async def test_a_slot_outlives_a_time_in_which_no_process_can_be_started():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with opened() as endpoint:
        before = descriptors()
        with structlog.testing.capture_logs() as logs:
            resource.setrlimit(resource.RLIMIT_NOFILE, (next_descriptor(), hard))
            try:
                running = endpoint.start(a_call(do="crash"))
                with pytest.raises(ProcessDied):
                    await running.answer
                async with asyncio.timeout(30.0):
                    while not any(line["event"] == "process_not_ready" for line in logs):
                        await asyncio.sleep(0.01)
                assert not running.over.done()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            async with asyncio.timeout(60.0):
                await running.over
        await process_of(endpoint)
        assert descriptors() == before


@pytest.mark.parametrize(("how", "said"), [("crash", "SIGABRT"), ("exit", "exit code 3")])
async def test_a_process_that_ends_over_a_call_fails_that_call_and_no_other(how: str, said: str):
    async with opened(limit=2) as endpoint:
        served = [endpoint.start(a_call(do="answer")), endpoint.start(a_call(do=how))]
        with pytest.raises(ProcessDied, match=said):
            await served[1].answer
        await served[0].answer
        async with asyncio.timeout(30.0):
            await served[1].over
        assert len({await process_of(endpoint), await process_of(endpoint)}) == 2


async def test_a_process_that_dies_while_it_waits_is_replaced_before_anybody_calls():
    async with opened() as endpoint:
        pid = await process_of(endpoint)
        (child,) = endpoint._children
        os.kill(pid, signal.SIGKILL)
        await child.exited
        async with asyncio.timeout(30.0):
            assert await process_of(endpoint) != pid


@pytest.mark.timeout(240)
async def test_many_crashes_in_a_row_leave_no_process_and_no_descriptor():
    before = descriptors()
    async with opened(limit=2) as endpoint:
        while_open = descriptors()

        async def crash(times: int) -> None:
            for _ in range(times):
                running = endpoint.start(a_call(do="crash"))
                with pytest.raises(ProcessDied):
                    await running.answer
                await running.over

        await asyncio.gather(crash(CRASHES // 2), crash(CRASHES // 2))
        await process_of(endpoint)
        assert descriptors() == while_open
        assert len(children()) == 2
    assert descriptors() == before
    assert children() == []


def children() -> list[int]:
    """Child processes of this one that serve calls, dead ones that nobody has waited for too."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = stat.read_text().rpartition(")")[2].split()
            command = (stat.parent / "cmdline").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(after_name[1]) == os.getpid() and ("failsoft.endpoints.child" in command or after_name[0] == "Z"):
            found.append(int(stat.parent.name))
    return found


WORKER = """
import asyncio, sys
from failsoft.endpoints import Call, ProcessEndpoint
from tests.endpoints import in_processes

async def main():
    endpoint = ProcessEndpoint(in_processes.obey, limit=2)
    await endpoint.open()
    clock = asyncio.get_running_loop().time
    body = {"do": "start another", "file": sys.argv[1]}
    call = Call(body, "/v1", "batch", "large", 1, None, {}, clock() + 60.0, clock)
    running = endpoint.start(call)
    print(*(child.pid for child in endpoint._children), flush=True)
    await running.answer

asyncio.run(main())
"""


async def test_a_killed_worker_leaves_no_child_nor_what_a_child_has_started(tmp_path: Path):
    told = tmp_path / "pids"
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, str(told), stdout=asyncio.subprocess.PIPE, cwd=Path.cwd()
    )
    assert worker.stdout is not None
    pids = {int(pid) for pid in (await worker.stdout.readline()).split()}
    async with asyncio.timeout(30.0):
        while not told.exists() or len(told.read_text().split()) < 2:
            await asyncio.sleep(0.01)
    pids |= {int(pid) for pid in told.read_text().split()}
    assert len(pids) == 3
    worker.kill()
    await worker.wait()
    await asyncio.gather(*(gone(pid) for pid in pids))


async def test_a_cut_call_ends_what_its_process_has_started(tmp_path: Path):
    told = tmp_path / "pids"
    async with opened() as endpoint:
        running = endpoint.start(a_call(do="start another", file=str(told)))
        async with asyncio.timeout(30.0):
            while not told.exists() or len(told.read_text().split()) < 2:
                await asyncio.sleep(0.01)
        running.answer.cancel()
        await asyncio.gather(*(gone(int(pid)) for pid in told.read_text().split()))


async def test_signals_that_are_for_the_worker_do_not_end_a_process():
    async with opened() as endpoint:
        pid = await process_of(endpoint)
        assert os.getsid(pid) != os.getsid(0), "the terminal's Ctrl-C would reach it"
        running = endpoint.start(a_call(do="be told to end"))
        assert (await answer_of(running))["process"] == pid


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("Busy", Busy),
        ("RequestRefused", RequestRefused),
        ("EndpointBroken", EndpointBroken),
        ("EndpointFailed", EndpointFailed),
        ("ConnectionRefusedError", EndpointUnreachable),
        ("TimeoutError", TimeoutError),
        ("ZeroDivisionError", EndpointFailed),
    ],
)
async def test_what_a_function_raises_means_the_same_as_on_the_loop(name: str, type_: type[Exception]):
    async with opened(in_processes.fail) as endpoint:
        running = endpoint.start(a_call(name=name))
        with pytest.raises(type_) as raised:
            await running.answer
        assert running.over.done()
    assert type(raised.value) is type_
    assert str(in_processes.ENDS[name]) in str(raised.value)
    match raised.value:
        case Busy():
            assert raised.value.retry_after_seconds == 3.0
        case RequestRefused():
            assert raised.value.status_code == 413


@pytest.mark.parametrize("how", ["return nothing", "answer no JSON"])
async def test_an_answer_that_is_none_breaks_the_endpoint_and_not_the_process(how: str):
    async with opened() as endpoint:
        pid = await process_of(endpoint)
        with pytest.raises(EndpointBroken):
            await endpoint.start(a_call(do=how)).answer
        assert await process_of(endpoint) == pid


async def test_a_process_is_warm_before_its_first_call_and_stays_so():
    async with opened(in_processes.count, warm_up=in_processes.model) as endpoint:
        first = await answer_of(endpoint.start(a_call()))
        second = await answer_of(endpoint.start(a_call()))
    assert (first, second) == ({"calls": 1, "was_loaded": True}, {"calls": 2, "was_loaded": True})


@pytest.mark.parametrize(
    ("warm_up", "said"),
    [
        (in_processes.cannot_warm_up, "FileNotFoundError: model.bin is not there"),
        (in_processes.crash_at_import_time, "SIGABRT"),
    ],
)
async def test_a_worker_does_not_start_with_a_function_that_does_not_get_ready(warm_up: Any, said: str):
    before = descriptors()
    with pytest.raises(ConfigurationError, match=f"tests.endpoints.in_processes:obey.*{said}"):
        await ProcessEndpoint(in_processes.obey, limit=2, warm_up=warm_up).open()
    async with asyncio.timeout(10.0):  # the other of the two may just have been started
        while descriptors() != before:
            await asyncio.sleep(0.01)
    assert children() == []


async def test_a_start_that_is_cancelled_leaves_no_process():
    starting = asyncio.create_task(ProcessEndpoint(in_processes.obey, limit=1).open())
    async with asyncio.timeout(30.0):
        while not (pids := children()):
            await asyncio.sleep(0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await asyncio.gather(*(gone(pid) for pid in pids))
    assert children() == []


async def test_a_call_that_is_cut_before_it_began_holds_nothing():
    async with opened() as endpoint:
        running = endpoint.start(a_call(do="answer"))
        running.answer.cancel()
        await running.over
        await process_of(endpoint)


async def test_closing_ends_processes_at_work():
    async with opened(limit=2) as endpoint:
        running = endpoint.start(a_call(do="hang in native code"))
        await asyncio.wait({running.answer}, timeout=0.05)
    assert children() == []
    with pytest.raises(ProcessDied):
        await running.answer


async def test_a_dead_process_is_not_asked():
    child = await ChildProcess.started("tests.endpoints.in_processes:obey", None)
    await child.kill()
    with pytest.raises(ProcessDied, match="SIGKILL"):
        await child.ask(a_call(do="answer"))


def a_function_of(module: str) -> Any:
    async def large(call: Call) -> Output:
        return Output({})

    if module:
        large.__module__, large.__qualname__ = module, "large"
    return large


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (a_function_of(""), "top level"),
        (a_function_of("__main__"), "a module that others can import"),
        (lambda _: Output({}), "top level"),
    ],
)
def test_a_function_that_no_other_process_can_import_is_refused_where_it_is_declared(function: Any, said: str):
    stage = Pipeline("shop").stage("answer")
    with pytest.raises(ConfigurationError, match=f"stage shop.answer, tier large: .*{said}"):
        stage.tier("large", runs_in="process")(function)


def test_a_warm_up_elsewhere_is_refused():
    stage = Pipeline("shop").stage("answer")
    with pytest.raises(ConfigurationError, match="tier large: warm_up is for runs_in='process'"):
        stage.tier("large", runs_in="thread", warm_up=in_processes.model)  # type: ignore[call-overload]  # that is the point
