"""failsoft keeps AI inference alive when models fail: deadlines, declared degradation tiers and no lost request, on Kafka.

Names are imported when first used: pytest loads a plugin of this package in every session, and must not pay for all of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from failsoft.client import Client, ResultOverdue
    from failsoft.endpoints import (
        Busy,
        CachedAnswer,
        Call,
        Constant,
        EndpointBroken,
        EndpointFailed,
        OpenAICompatible,
        Output,
        RequestRefused,
    )
    from failsoft.pipeline import Pipeline
    from failsoft.policy.admission import AdmissionConfig
    from failsoft.policy.breaker_settings import BreakerSettings
    from failsoft.policy.coalescing import CoalescingConfig
    from failsoft.policy.context import Context, at_least, nonempty, vector
    from failsoft.policy.retry_budget import RetryBudgetSettings
    from failsoft.policy.widening import WideningConfig
    from failsoft.wire import ContextPart, PartState, Result

__all__ = [
    "AdmissionConfig",
    "BreakerSettings",
    "Busy",
    "CachedAnswer",
    "Call",
    "Client",
    "CoalescingConfig",
    "Constant",
    "Context",
    "ContextPart",
    "EndpointBroken",
    "EndpointFailed",
    "OpenAICompatible",
    "Output",
    "PartState",
    "Pipeline",
    "RequestRefused",
    "Result",
    "ResultOverdue",
    "RetryBudgetSettings",
    "WideningConfig",
    "at_least",
    "nonempty",
    "vector",
]

_HOMES = {
    "AdmissionConfig": "failsoft.policy.admission",
    "BreakerSettings": "failsoft.policy.breaker_settings",
    "Client": "failsoft.client",
    "CoalescingConfig": "failsoft.policy.coalescing",
    "Context": "failsoft.policy.context",
    "ContextPart": "failsoft.wire",
    "PartState": "failsoft.wire",
    "Pipeline": "failsoft.pipeline",
    "Result": "failsoft.wire",
    "ResultOverdue": "failsoft.client",
    "RetryBudgetSettings": "failsoft.policy.retry_budget",
    "WideningConfig": "failsoft.policy.widening",
    "at_least": "failsoft.policy.context",
    "nonempty": "failsoft.policy.context",
    "vector": "failsoft.policy.context",
}
_ENDPOINTS = "failsoft.endpoints"


def __getattr__(name: str) -> Any:
    """Import the module behind a public name."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, _ENDPOINTS)), name)
