"""OpenAI batch files as they are on disk: a name for the whole, and its lines one at a time.

The name is the SHA-256 of all bytes. A file is read once for it and once for its lines, and is never held: of a line longer than
a request may be only the beginning is kept. Blank lines are no requests, but they count, so that a number is what an editor
shows.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from failsoft.policy.errors import ConfigurationError, MalformedRecord
from failsoft.wire import RequestLine
from failsoft.wire.body import decode_request
from failsoft.wire.limits import VALUE_BYTES

READ_BYTES = VALUE_BYTES + 2
"""A line at the limit with its line end."""


@dataclass(frozen=True, slots=True)
class BatchLine:
    """One line of a batch file.

    Attributes:
        number: counted from 1, blank lines too.
        value: without its line end; only the beginning of a line that is too long.
        size_bytes: of all of it.
    """

    number: int
    value: bytes = field(repr=False)
    size_bytes: int

    def decode(self) -> RequestLine:
        """Read the line as a worker would.

        Raises:
            MalformedRecord: it is no request; names the member.
        """
        if self.size_bytes > VALUE_BYTES:
            raise MalformedRecord("value", f"{self.size_bytes} bytes, the limit is {VALUE_BYTES}")
        return decode_request(self.value)


class BatchFile:
    """A batch file that is open for reading in binary, from the beginning as often as is needed.

    Attributes:
        id: the SHA-256 of all of it, which names the job.
        size_bytes: of all of it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.id = self._digest()
        self.size_bytes = file.tell()

    def lines(self) -> Iterator[BatchLine]:
        """Yield the lines that are not blank, and hold no more of a line that is too long than has to be read."""
        self._file.seek(0)
        number = 0
        while begin := self._file.readline(READ_BYTES):
            number += 1
            value, rest_bytes = begin.strip(), self._skip_rest(begin)
            if value or rest_bytes:
                yield BatchLine(number, value, len(begin) + rest_bytes if rest_bytes else len(value))

    def require_unchanged(self) -> None:
        """Make sure that what was sent is what was named.

        Raises:
            ConfigurationError: the file has another content than when it was opened.
        """
        if self._digest() != self.id:
            raise ConfigurationError(
                "the file changed while it was sent; its requests have the name of what it was before"
            )

    def _digest(self) -> str:
        self._file.seek(0)
        digest = hashlib.sha256()
        while piece := self._file.read(READ_BYTES):
            digest.update(piece)
        return digest.hexdigest()

    def _skip_rest(self, begin: bytes) -> int:
        """Read up to the end of the line; return how much that was."""
        skipped, piece = 0, begin
        while not piece.endswith(b"\n") and (piece := self._file.readline(READ_BYTES)):
            skipped += len(piece)
        return skipped
