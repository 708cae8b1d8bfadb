"""What a call gets, what it gives, and the ways to fail that mean something.

Any other exception counts as a passing failure of the endpoint, as :class:`EndpointFailed` does: the next tier serves the
request.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from failsoft.policy.errors import FailsoftError
from failsoft.policy.request import ClassName


@dataclass(frozen=True, slots=True)
class Call:
    """One execution of a request at one tier.

    Attributes:
        body: the request's body, as its sender wrote it.
        url: the path that the sender asked for, such as ``/v1/chat/completions``.
        request_class: urgency.
        tier: which tier this is.
        execution: 1 for the first call of this request, counted over all tiers.
        tenant: None if the sender named none.
        headers: tracing headers, to be passed on.
        window_ends_at: when the call will be cut, on the clock of ``remaining_seconds``.
        region: where it is to be made; None where the tier's author names no regions.
        context: what earlier stages have gathered: name -> value, any JSON.
    """

    body: dict[str, Any] = field(repr=False)
    url: str
    request_class: ClassName
    tier: str
    execution: int
    tenant: str | None
    headers: Mapping[str, str]
    window_ends_at: float
    clock: Callable[[], float] = field(repr=False)
    region: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def remaining_seconds(self) -> float:
        """Time until this call is cut; the request itself may have longer, for its next tier."""
        return self.window_ends_at - self.clock()


@dataclass(frozen=True, slots=True)
class Output:
    """An answer.

    Attributes:
        body: what becomes ``response.body`` of the result; bytes must be a JSON document and are not looked at. Of a stage with
            a next one: the body of its request; an empty one hands on the body that came.
        region: where the endpoint that answered stands, None if its author named none.
        context: what this stage has gathered for those after it: name -> value, any JSON, or a
            :class:`~failsoft.wire.body.ContextPart`. A plain value is present, and gathered now. Goes into no result.
    """

    body: Mapping[str, Any] | bytes = field(repr=False)
    region: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict, repr=False)


class Busy(FailsoftError):  # noqa: N818 - a state of the endpoint
    """The endpoint has no room now. Nothing is wrong with it; the next tier serves the request.

    Attributes:
        retry_after_seconds: when it will have, if it says so.
    """

    def __init__(self, message: str = "the endpoint is busy", *, retry_after_seconds: float | None = None) -> None:
        """Say when to come back, if that is known."""
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class RequestRefused(FailsoftError):  # noqa: N818 - it is the request that is at fault
    """The request itself is at fault: no tier would take it, so it ends as invalid.

    Attributes:
        status_code: 400, 404, 413 or 422.
    """

    def __init__(self, message: str, *, status_code: int = 400) -> None:
        """Name what is wrong with the request: its sender reads it."""
        super().__init__(message)
        self.status_code = status_code


class EndpointBroken(FailsoftError):  # noqa: N818 - a state of the endpoint
    """The endpoint cannot serve anybody as it is set up: wrong key, unknown model, answers that make no sense."""


class EndpointFailed(FailsoftError):  # noqa: N818 - a state of the endpoint
    """The endpoint failed this time: no connection, a connection that broke, an error of its own. It may serve the next call."""


class EndpointUnreachable(EndpointFailed):
    """There was no connection: refused, no route, no such host. A breaker needs only five of them in a row."""
