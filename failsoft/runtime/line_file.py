"""A file to which lines of JSON are appended one by one, by a process that may be killed at any instant.

Each line is one ``write`` to a file opened for appending: it is in the kernel's hands when ``append`` returns, so that what a
process noted before it was killed is there afterwards. Nothing is synced: the machine is not what is killed. A kill inside a
write can leave a torn line, and only the last one, because every process has files of its own.
"""

import os
from pathlib import Path
from typing import Any

import orjson

from failsoft.policy.errors import EnvironmentFailure


class LineFile:
    """Appends values, each as a line of JSON.

    Args:
        path: of the file; it must not exist: two processes in one file could tear a line in its middle.

    Raises:
        EnvironmentFailure: the file exists, or cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)
        except OSError as error:
            raise EnvironmentFailure(f"{path}: cannot be made ({error.strerror})") from None

    def append(self, value: Any) -> None:
        """Append a dataclass or a mapping.

        Raises:
            EnvironmentFailure: it was not written whole. A history with a gap proves nothing, so this is never passed over.
        """
        line = orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
        try:
            written = os.write(self._file, line)
        except OSError as error:
            raise EnvironmentFailure(f"{self._path}: cannot be written ({error.strerror})") from None
        if written < len(line):
            raise EnvironmentFailure(f"{self._path}: the disk took {written} of {len(line)} bytes of a line")

    def close(self) -> None:
        """Let go of the file; safe to call again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
