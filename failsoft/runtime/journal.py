"""The output file of a batch run, which is its memory too: a line that stands in it whole is done, and nothing else is.

Lines are appended and synced before they count, so that a run that is killed anywhere loses at most work that it can repeat. The
last line of a killed run may be cut: what follows the last line end is removed when the file is opened again.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from failsoft.policy.errors import ConfigurationError, EnvironmentFailure

_READ_BYTES = 1 << 20


class Journal:
    """Output lines by the id of their result, as a context manager.

    Args:
        path: of the output file; it is made where there is none.

    Raises:
        ConfigurationError: the file holds something else than output lines; names the line.
        EnvironmentFailure: it cannot be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.finished: set[str] = set()
        """Ids of the results that stand in the file."""
        self.repaired_bytes = 0
        """How much of a cut last line was removed."""

    def __enter__(self) -> Self:
        """Open the file, repair its end, and learn what is done."""
        try:
            self._file = self._path.open("a+b")
        except OSError as error:
            raise EnvironmentFailure(f"{self._path}: cannot be opened for writing ({error.strerror})") from None
        try:
            self._repair()
            self._learn()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        """Close the file."""
        self._file.close()

    def append(self, lines: Iterable[tuple[str, bytes]]) -> None:
        """Write output lines by the id of their result, and return when they are on the disk."""
        written = list(lines)
        try:
            self._file.write(b"".join(line.rstrip(b"\n") + b"\n" for _, line in written))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise EnvironmentFailure(
                f"{self._path}: cannot be written ({error.strerror}); run again to go on"
            ) from None
        self.finished.update(id_ for id_, _ in written)

    def _repair(self) -> None:
        end = self._file.seek(0, os.SEEK_END)
        at = end
        while at > 0:
            begin = max(0, at - _READ_BYTES)
            self._file.seek(begin)
            found = self._file.read(at - begin).rfind(b"\n")
            if found >= 0:
                at = begin + found + 1
                break
            at = begin
        self._file.truncate(at)
        self.repaired_bytes = end - at

    def _learn(self) -> None:
        self._file.seek(0)
        for number, line in enumerate(self._file, start=1):
            try:
                self.finished.add(str(orjson.loads(line)["id"]))
            except (orjson.JSONDecodeError, KeyError, TypeError):
                raise ConfigurationError(
                    f"{self._path}, line {number}: not a batch output line; choose another file for --out"
                ) from None
        self._file.seek(0, os.SEEK_END)
