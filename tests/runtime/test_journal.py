"""The output file of a run: what stands in it whole is done."""

from pathlib import Path

import pytest

from failsoft.policy.errors import ConfigurationError, EnvironmentFailure
from failsoft.runtime.journal import Journal


def test_lines_are_finished_when_they_are_in_the_file(tmp_path: Path):
    out = tmp_path / "out.jsonl"
    with Journal(out) as journal:
        journal.append([("a", b'{"id":"a"}'), ("b", b'{"id":"b"}\n')])
        assert journal.finished == {"a", "b"}
        assert out.read_bytes() == b'{"id":"a"}\n{"id":"b"}\n'


def test_a_second_run_knows_what_the_first_has_finished_and_appends(tmp_path: Path):
    out = tmp_path / "out.jsonl"
    with Journal(out) as journal:
        journal.append([("a", b'{"id":"a"}')])
    with Journal(out) as journal:
        assert journal.finished == {"a"}
        journal.append([("b", b'{"id":"b"}')])
    assert out.read_bytes() == b'{"id":"a"}\n{"id":"b"}\n'


@pytest.mark.parametrize("cut", [b"{", b'{"id":"b"}', b'{"id":"b","x":"' + b"y" * 3_000_000])
def test_a_cut_last_line_is_removed_and_its_request_is_not_finished(tmp_path: Path, cut: bytes):
    out = tmp_path / "out.jsonl"
    out.write_bytes(b'{"id":"a"}\n' + cut)
    with Journal(out) as journal:
        assert journal.finished == {"a"}
        assert journal.repaired_bytes == len(cut)
    assert out.read_bytes() == b'{"id":"a"}\n'


def test_a_file_that_is_only_a_cut_line_becomes_empty(tmp_path: Path):
    out = tmp_path / "out.jsonl"
    out.write_bytes(b'{"id":')
    with Journal(out) as journal:
        assert journal.finished == set()
    assert out.read_bytes() == b""


@pytest.mark.parametrize("line", [b"hello\n", b"[1]\n", b'{"no":"id"}\n'])
def test_a_file_of_something_else_is_left_alone_and_named(tmp_path: Path, line: bytes):
    out = tmp_path / "out.jsonl"
    out.write_bytes(line)
    with pytest.raises(ConfigurationError, match="line 1"), Journal(out):
        pass
    assert out.read_bytes() == line


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path):
    with pytest.raises(EnvironmentFailure, match="no-such-folder"), Journal(tmp_path / "no-such-folder" / "out"):
        pass
