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


@contextmanager
def explained_errors() -> Iterator[None]:
    """Print our errors as one line on standard error and exit with their code. Anything else is a bug and keeps its traceback."""
    try:
        yield
    except (ConfigurationError, MalformedRecord) as error:
        print(f"failsoft: {error}", file=sys.stderr)
        raise typer.Exit(Exit.USAGE) from None
    except EnvironmentFailure as error:
        print(f"failsoft: {error}", file=sys.stderr)
        raise typer.Exit(Exit.ENVIRONMENT) from None
    except WorkerStuck as error:
        print(f"failsoft: {error}", file=sys.stderr)
        raise typer.Exit(Exit.WATCHDOG) from None
