"""``MODULE:NAME``: how a command is told which pipeline to run."""

import importlib
import sys
from pathlib import Path

from failsoft.pipeline.pipeline import Pipeline
from failsoft.policy.errors import ConfigurationError


def load_pipeline(target: str) -> Pipeline:
    """Import ``MODULE:NAME``, with the working directory on the path.

    Raises:
        ConfigurationError: no such module or name, or it is not a Pipeline.
    """
    module_name, _, name = target.partition(":")
    if not module_name or not name:
        raise ConfigurationError(f"pipeline {target!r} is not MODULE:NAME, such as workers.digits:pipeline")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and module_name.startswith(error.name):
            raise ConfigurationError(f"pipeline {target!r}: there is no module {error.name!r} here") from None
        raise
    found = getattr(module, name, None)
    if not isinstance(found, Pipeline):
        raise ConfigurationError(f"pipeline {target!r}: {name!r} in {module_name} is not a failsoft.Pipeline")
    return found
