"""What a tier calls: an OpenAI-compatible server, any async callable, a constant, or nothing: an answer of the past.

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
    "RequestRefused",
    "Running",
    "RunsIn",
]
