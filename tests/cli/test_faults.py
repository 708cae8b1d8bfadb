"""What `failsoft faults` refuses before it starts anything."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from failsoft.cli import app


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--brokers", "2"], "--brokers 2: trials run on 1 or on 3"),
        (["--keep", "full"], "--keep full: it holds something already"),
        (["--keep", "file"], "--keep file: it holds something already"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thing").touch()
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["faults", *arguments])
    assert done.exit_code == 2
    assert words in done.stderr
