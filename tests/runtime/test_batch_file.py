import hashlib
import io

import pytest

from failsoft.policy.errors import ConfigurationError, MalformedRecord
from failsoft.runtime.batch_file import READ_BYTES, BatchFile
from failsoft.wire.limits import VALUE_BYTES


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"a", [(1, b"a")]),
        (b"a\nb\n", [(1, b"a"), (2, b"b")]),
        (b"\n\na\n \t\n\xc2\xa0\nb", [(3, b"a"), (5, b"\xc2\xa0"), (6, b"b")]),
        (b"a\r\n\r\nb\r\n", [(1, b"a"), (3, b"b")]),
        (b" a \n", [(1, b"a")]),
    ],
)
def test_lines_have_the_numbers_that_an_editor_shows_and_blank_ones_are_left_out(content, lines):
    assert [(line.number, line.value) for line in BatchFile(io.BytesIO(content)).lines()] == lines


def test_a_file_is_named_by_all_its_bytes_and_read_as_often_as_is_asked():
    content = b"x" * (3 * READ_BYTES) + b"\nlast"
    file = BatchFile(io.BytesIO(content))
    assert (file.id, file.size_bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    assert list(file.lines()) == list(file.lines())


@pytest.mark.parametrize("end", [b"", b"\n"])
@pytest.mark.parametrize(
    "content",
    [
        b"x" * (VALUE_BYTES + 1),
        b"x" * READ_BYTES,
        b"x" * (READ_BYTES + 1),
        b"x" * (5 * READ_BYTES),
        b" " * (3 * READ_BYTES) + b"x",
    ],
    ids=lambda content: f"{len(content)} bytes of {content[:1]!r}" if len(content) > 1 else None,
)
def test_of_a_line_that_is_too_long_only_the_beginning_is_held_and_its_neighbours_are_whole(content, end):
    file = BatchFile(io.BytesIO(b"first\n" + content + (end + b"last" if end else b"")))
    first, long, *last = file.lines()
    assert (first.number, first.value) == (1, b"first")
    assert (long.number, len(long.value) <= READ_BYTES) == (2, True)
    with pytest.raises(MalformedRecord, match=rf"^value: \d+ bytes, the limit is {VALUE_BYTES}$"):
        long.decode()
    assert [(line.number, line.value) for line in last] == ([(3, b"last")] if end else [])


def test_a_file_that_changes_while_it_is_sent_is_told():
    content = io.BytesIO(b"a\nb\n")
    file = BatchFile(content)
    list(file.lines())
    file.require_unchanged()
    content.write(b"c\n")
    with pytest.raises(ConfigurationError, match="changed while it was sent"):
        file.require_unchanged()
