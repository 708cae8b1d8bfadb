"""What a worker and its child processes say to each other: frames of bytes, and no pickles.

A frame is two lengths (4 bytes each, big-endian), a head in JSON and a body. The body is the request's or the answer's JSON
document and is not looked at by whoever passes it on. An unpickled object could run any code and could hold anything; JSON
holds what the wire contract allows, and nothing of it depends on what the function's module defines.

The time of a call crosses as seconds that are left, so that the two need not share a clock.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import orjson

from failsoft.endpoints.call import (
    Busy,
    Call,
    EndpointBroken,
    EndpointFailed,
    EndpointUnreachable,
    Output,
    RequestRefused,
)
from failsoft.wire.body import ContextPart, PartState

Head = Mapping[str, Any]
_LENGTHS = struct.Struct(">II")


def frame(head: Head, body: bytes = b"") -> bytes:
    """Write a frame."""
    text = orjson.dumps(head)
    return _LENGTHS.pack(len(text), len(body)) + text + body


def read_frame(stream: BinaryIO) -> tuple[Head, bytes] | None:
    """Wait for a frame; None at the end of the stream, also in the middle of a frame."""
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    of_head, of_body = _LENGTHS.unpack(lengths)
    text, body = stream.read(of_head), stream.read(of_body)
    return (orjson.loads(text), body) if len(body) == of_body and len(text) == of_head else None


class Frames:
    """Puts frames together from the pieces in which they come."""

    def __init__(self) -> None:
        self._received = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Head, bytes]]:
        """Take a piece; yield every frame that is whole now."""
        self._received += data
        while len(self._received) >= _LENGTHS.size:
            of_head, of_body = _LENGTHS.unpack_from(self._received)
            begins, ends = _LENGTHS.size + of_head, _LENGTHS.size + of_head + of_body
            if len(self._received) < ends:
                return
            text, body = bytes(self._received[_LENGTHS.size : begins]), bytes(self._received[begins:ends])
            del self._received[:ends]
            yield orjson.loads(text), body


def encode_call(call: Call) -> bytes:
    """A call, as it is sent to a child."""
    head = {
        "url": call.url,
        "class": call.request_class,
        "tier": call.tier,
        "execution": call.execution,
        "tenant": call.tenant,
        "headers": dict(call.headers),
        "remaining_seconds": call.remaining_seconds(),
        "context": dict(call.context),
    }
    return frame(head, orjson.dumps(call.body))


def decode_call(head: Head, body: bytes, *, clock: Callable[[], float]) -> Call:
    """The same call, on the child's clock."""
    return Call(
        body=orjson.loads(body),
        url=head["url"],
        request_class=head["class"],
        tier=head["tier"],
        execution=head["execution"],
        tenant=head["tenant"],
        headers=head["headers"],
        window_ends_at=clock() + head["remaining_seconds"],
        clock=clock,
        context=head["context"],
    )


def encode_output(output: Output) -> bytes:
    """An answer, as a child sends it.

    Raises:
        EndpointBroken: it is nothing that JSON can say.
    """
    gathered = {name: _encode_gathered(value) for name, value in output.context.items()}
    head = {"end": "ok", "region": output.region, "context": gathered}
    try:
        return frame(head, output.body if isinstance(output.body, bytes) else orjson.dumps(dict(output.body)))
    except TypeError as error:  # orjson's own error is one
        raise EndpointBroken(f"the answer is not possible in JSON: {error}") from None


def _encode_gathered(value: Any) -> list[Any]:
    """A plain value has one member; one of which its author knows more has three."""
    return [value.value, value.state, value.produced_at] if isinstance(value, ContextPart) else [value]


def _decode_gathered(value: Any, state: str | None = None, produced_at: float | None = None) -> Any:
    return value if state is None else ContextPart(value, PartState(state), produced_at)


def encode_error(error: BaseException) -> bytes:
    """How a call failed. What means something crosses as what it is; all else as the name of its type."""
    head: dict[str, Any] = {"end": "failed", "type": type(error).__name__, "message": str(error)}
    match error:
        case Busy():
            head |= {"end": "busy", "retry_after_seconds": error.retry_after_seconds}
        case RequestRefused():
            head |= {"end": "refused", "status_code": error.status_code}
        case EndpointBroken():
            head |= {"end": "broken"}
        case EndpointUnreachable() | ConnectionRefusedError():
            head |= {"end": "unreachable"}
        case TimeoutError():
            head |= {"end": "timeout"}
    return frame(head)


def decode_end(head: Head, body: bytes) -> Output:
    """The answer of a call, or what its function raised, raised again."""
    match head["end"]:
        case "ok":
            gathered = {name: _decode_gathered(*written) for name, written in head["context"].items()}
            return Output(body, head["region"], gathered)
        case "busy":
            raise Busy(head["message"], retry_after_seconds=head["retry_after_seconds"])
        case "refused":
            raise RequestRefused(head["message"], status_code=head["status_code"])
        case "broken":
            raise EndpointBroken(head["message"])
        case "unreachable":
            raise EndpointUnreachable(head["message"])
        case "timeout":
            raise TimeoutError(head["message"])
        case _:
            raise EndpointFailed(f"{head['type']}: {head['message']}")
