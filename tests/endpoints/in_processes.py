"""What tests have run in child processes, which import it by name."""

import asyncio
import ctypes
import functools
import os
import signal
import subprocess
import sys
from pathlib import Path

from failsoft import Busy, Call, ContextPart, EndpointBroken, EndpointFailed, Output, PartState, RequestRefused

LIBC = ctypes.PyDLL(None)  # unlike CDLL it keeps the interpreter's lock


def echo(call: Call) -> Output:
    """Answer with all that a call says."""
    print("user code may print")
    return Output(
        {
            "body": call.body,
            "url": call.url,
            "class": call.request_class,
            "tier": call.tier,
            "execution": call.execution,
            "tenant": call.tenant,
            "headers": dict(call.headers),
            "remaining_seconds": call.remaining_seconds(),
            "process": os.getpid(),
            "read": sys.stdin.read(),
        },
        region="here",
    )


def gather(call: Call) -> Output:
    """Hand on what came, and what is known of it."""
    documents = ContextPart(call.context["documents"], PartState.TRUNCATED, 1_800_000_000.5)
    return Output({}, context={"documents": documents, "score": {"value": 1}})


async def obey(call: Call) -> Output:
    """Do what the body says, or answer with the process that did it."""
    await asyncio.sleep(0)
    match call.body["do"]:
        case "hang in native code":
            LIBC.sleep(1000)
        case "loop":
            while True:
                pass
        case "crash":
            LIBC.abort()
        case "exit":
            sys.exit(3)
        case "start another":
            start_another(call)
        case "return nothing":
            return None  # type: ignore[return-value]  # that is the point
        case "answer no JSON":
            return Output({"never": object()})
        case "be told to end":
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
    return Output({"process": os.getpid()})


def start_another(call: Call) -> None:
    """Start a program, write down which, and never return."""
    child = subprocess.Popen(["sleep", "1000"])
    Path(call.body["file"]).write_text(f"{os.getpid()} {child.pid}")
    LIBC.sleep(1000)


ENDS = {
    "Busy": Busy("full", retry_after_seconds=3.0),
    "RequestRefused": RequestRefused("too long", status_code=413),
    "EndpointBroken": EndpointBroken("no such model"),
    "EndpointFailed": EndpointFailed("no luck"),
    "ConnectionRefusedError": ConnectionRefusedError("nobody there"),
    "TimeoutError": TimeoutError("too slow"),
    "ZeroDivisionError": ZeroDivisionError("by zero"),
}


def fail(call: Call) -> Output:
    """Raise what the body names."""
    raise ENDS[call.body["name"]]


@functools.cache
def model() -> list[int]:
    """A model that is loaded once, and counts its calls."""
    print("loading")
    return []


def count(call: Call) -> Output:
    """Say how often the model was asked here, and whether it was there before."""
    was_loaded = model.cache_info().currsize == 1
    model().append(1)
    return Output({"calls": len(model()), "was_loaded": was_loaded})


async def cannot_warm_up() -> None:
    """A warm-up that fails."""
    raise FileNotFoundError("model.bin is not there")


def warm_up_if_there() -> None:
    """A warm-up that fails while its file is away."""
    Path(os.environ["TEST_MODEL_FILE"]).read_text()


def crash_at_import_time() -> None:
    """A warm-up that takes its process with it."""
    os.abort()
