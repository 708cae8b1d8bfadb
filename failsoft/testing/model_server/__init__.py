"""A model server that fails on demand: OpenAI's HTTP API, service times of a real model, faults switched while it runs.

It makes the failures of a model repeatable: slots and a bounded queue give it a capacity, draws from a seed give it a tail,
and each fault is one that real servers show. What it answers does not depend on its faults, so that a wrong answer is never
taken for a degraded one.
"""

from failsoft.testing.model_server.faults import Failure, Faults, RateLimit
from failsoft.testing.model_server.served import ServedModel
from failsoft.testing.model_server.server import ModelServer
from failsoft.testing.model_server.settings import DEFAULT_MODELS, ModelSettings, read_models

__all__ = [
    "DEFAULT_MODELS",
    "Failure",
    "Faults",
    "ModelServer",
    "ModelSettings",
    "RateLimit",
    "ServedModel",
    "read_models",
]
