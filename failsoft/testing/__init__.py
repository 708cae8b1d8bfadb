"""What a pipeline author needs in tests: so far a real Kafka without Docker. Names are imported when first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from failsoft.testing.broker import EmbeddedKafka

__all__ = ["EmbeddedKafka"]

_HOMES = {"EmbeddedKafka": "failsoft.testing.broker"}


def __getattr__(name: str) -> Any:
    """Import the module behind a name: the pytest plugin lives in this package and must load in milliseconds."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
