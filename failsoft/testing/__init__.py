"""What a pipeline author needs in tests: a stage in virtual time, a real Kafka without Docker, models that fail on demand.

Names are imported when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from failsoft.testing.broker import EmbeddedKafka
    from failsoft.testing.doubles import Answers, Fails, Hangs
    from failsoft.testing.model_server import Faults, ModelServer, ModelSettings, RateLimit
    from failsoft.testing.stage import StageUnderTest, run_stage

__all__ = [
    "Answers",
    "EmbeddedKafka",
    "Fails",
    "Faults",
    "Hangs",
    "ModelServer",
    "ModelSettings",
    "RateLimit",
    "StageUnderTest",
    "run_stage",
]

_HOMES = {
    "Answers": "failsoft.testing.doubles",
    "EmbeddedKafka": "failsoft.testing.broker",
    "Fails": "failsoft.testing.doubles",
    "Hangs": "failsoft.testing.doubles",
    "StageUnderTest": "failsoft.testing.stage",
    "run_stage": "failsoft.testing.stage",
}
_MODEL_SERVER = "failsoft.testing.model_server"


def __getattr__(name: str) -> Any:
    """Import the module behind a name: the pytest plugin lives in this package and must load in milliseconds."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, _MODEL_SERVER)), name)
