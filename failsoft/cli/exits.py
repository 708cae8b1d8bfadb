"""Exit codes of every command, and the one place that turns our errors into them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import typer

from failsoft.policy.errors import ConfigurationError, EnvironmentFailure, MalformedRecord, WorkerStuck


class Exit(IntEnum):
    """What a command's exit code means."""

    OK = 0
    BROKEN_PROMISE = 1
    USAGE = 2
    """Also: the cluster has drifted from the catalogue."""
    ENVIRONMENT = 3
    DRAINED_INCOMPLETELY = 4
    WATCHDOG = 5


_CODES = {
    ConfigurationError: Exit.USAGE,
    MalformedRecord: Exit.USAGE,
    EnvironmentFailure: Exit.ENVIRONMENT,
    WorkerStuck: Exit.WATCHDOG,
}


@contextmanager
def explained_errors() -> Iterator[None]:
    """Print our errors as one line on standard error and exit with their code. Anything else is a bug and keeps its traceback.

    Of several that ended what was under way at once (a group), the first is told.
    """
    try:
        yield
    except (ConfigurationError, MalformedRecord, EnvironmentFailure, WorkerStuck, ExceptionGroup) as error:
        first, code = _first(error)
        if code is None:
            raise
        print(f"failsoft: {first}", file=sys.stderr)
        raise typer.Exit(code) from None


def _first(error: Exception) -> tuple[Exception, Exit | None]:
    """An error of ours and its code; no code where anything else is among them."""
    if isinstance(error, ExceptionGroup):
        found = [_first(each) for each in error.exceptions]
        return next((each for each in found if each[1] is None), found[0])
    return error, next((code for kind, code in _CODES.items() if isinstance(error, kind)), None)
