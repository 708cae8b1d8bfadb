"""Machine-readable output: what `--json FILE` writes (DESIGN §11). One object, snake_case, seconds, `-` for standard output."""

import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson


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
