"""failsoft keeps AI inference alive when models fail: deadlines, declared degradation tiers and no lost request, on Kafka."""

from failsoft.endpoints import Busy, Call, Constant, EndpointBroken, Output, RequestRefused
from failsoft.pipeline import Pipeline

__all__ = ["Busy", "Call", "Constant", "EndpointBroken", "Output", "Pipeline", "RequestRefused"]
