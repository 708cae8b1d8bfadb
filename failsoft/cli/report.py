"""What a command writes to files beside its text.

`--json FILE`: machine-readable output, one object, snake_case, seconds, `-` for standard output. `--plot FILE`: a drawing.
"""

import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, TypeVar

import orjson
import typer

from failsoft.cli.exits import explained_errors
from failsoft.policy.errors import ConfigurationError

T = TypeVar("T", str | None, Path | None)


def _checked(option: typer.CallbackParam, target: T) -> T:
    """Refuse before the work what could not be written after it."""
    with explained_errors():
        if target is not None and target != "-":
            _check_writable(option.opts[0], Path(target))
    return target


def _check_writable(option: str, path: Path) -> None:
    if path.is_dir():
        raise ConfigurationError(f"{option} {path} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise ConfigurationError(f"{option} {path}: there is no folder {path.parent}; make it, or name another")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigurationError(f"{option} {path} may not be written by this user; name another file")


JsonOption = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="FILE",
        help="Also write a report, - for standard output instead of text.",
        callback=_checked,
    ),
]
PlotOption = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE", help="Also draw the levels, as an SVG.", callback=_checked)
]


def write_json(
    target: str, *, command: str, started_at: float, result: dict[str, Any], seed: int | None = None
) -> None:
    """Write one report.

    Args:
        target: a file's path, or "-" for standard output.
        command: the verb that made it.
        started_at: epoch seconds.
        result: the command's own keys, merged into the envelope.
        seed: of a command that rolls dice.
    """
    report = {
        "command": command,
        "version": version("failsoft"),
        "commit": _commit(),
        "seed": seed,
        "started_at": started_at,
        "seconds": round(time.time() - started_at, 3),
        **result,
    }
    data = orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
    if target == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    else:
        Path(target).write_bytes(data)


def _commit() -> str | None:
    """The commit of the checkout that runs, None outside one."""
    here = Path(__file__).resolve().parent
    found = subprocess.run(  # noqa: S603 - a fixed command
        ["git", "-C", str(here), "rev-parse", "--short=12", "HEAD"],  # noqa: S607 - git from PATH, as everywhere
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or None
