"""What a tier calls: an OpenAI-compatible server, a function of one's own, a constant, or nothing: an answer of the past.

A function runs on the event loop or in a thread (``CallableEndpoint``), or in processes of its own (``ProcessEndpoint``).

The protocol is :class:`~failsoft.endpoints.endpoint.Endpoint`.
"""

from failsoft.endpoints.cached import CachedAnswer
from failsoft.endpoints.call import (
    Busy,
    Call,
    EndpointBroken,
    EndpointFailed,
    EndpointUnreachable,
    Output,
    RequestRefused,
)
from failsoft.endpoints.callable import CallableEndpoint, RunsIn
from failsoft.endpoints.constant import Constant
from failsoft.endpoints.endpoint import Checkable, Endpoint, Running
from failsoft.endpoints.openai import OpenAICompatible
from failsoft.endpoints.processes import ProcessEndpoint

__all__ = [
    "Busy",
    "CachedAnswer",
    "Call",
    "CallableEndpoint",
    "Checkable",
    "Constant",
    "Endpoint",
    "EndpointBroken",
    "EndpointFailed",
    "EndpointUnreachable",
    "OpenAICompatible",
    "Output",
    "ProcessEndpoint",
    "RequestRefused",
    "Running",
    "RunsIn",
]
