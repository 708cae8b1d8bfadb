"""What a tier calls: any async callable, or a constant. One protocol, :class:`~failsoft.endpoints.endpoint.Endpoint`."""

from failsoft.endpoints.call import Busy, Call, EndpointBroken, Output, RequestRefused
from failsoft.endpoints.callable import CallableEndpoint, RunsIn
from failsoft.endpoints.constant import Constant
from failsoft.endpoints.endpoint import Endpoint, Running

__all__ = [
    "Busy",
    "Call",
    "CallableEndpoint",
    "Constant",
    "Endpoint",
    "EndpointBroken",
    "Output",
    "RequestRefused",
    "Running",
    "RunsIn",
]
