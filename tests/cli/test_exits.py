"""What a command says of errors, and with which code it ends."""

import os
import subprocess
import sys

import pytest
import typer

from failsoft.cli.exits import Exit, explained_errors
from failsoft.policy.errors import ConfigurationError, EnvironmentFailure, MalformedRecord, WorkerStuck


def ended_by(error: Exception) -> int:
    with pytest.raises(typer.Exit) as ended, explained_errors():
        raise error
    return ended.value.exit_code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError("why"), Exit.USAGE),
        (MalformedRecord("why", "so"), Exit.USAGE),
        (EnvironmentFailure("why"), Exit.ENVIRONMENT),
        (WorkerStuck("why"), Exit.WATCHDOG),
        (ExceptionGroup("sends", [EnvironmentFailure("why"), EnvironmentFailure("too")]), Exit.ENVIRONMENT),
        (ExceptionGroup("sends", [ExceptionGroup("more", [ConfigurationError("why")])]), Exit.USAGE),
    ],
    ids=repr,
)
def test_an_error_of_ours_is_one_line_and_a_code(error, code, capsys):
    assert ended_by(error) == code
    said = capsys.readouterr().err
    assert said.startswith("failsoft: why")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [KeyError("why"), ExceptionGroup("sends", [ConfigurationError("why"), KeyError("why")])],
    ids=repr,
)
def test_anything_else_is_a_bug_and_keeps_its_traceback(error):
    with pytest.raises(type(error)), explained_errors():
        raise error


def test_where_models_stand_is_asked_by_those_who_call_them_only():
    """An empty variable is how compose files pass on what is not set; it once ended every command with a traceback."""
    environment = os.environ | {"MODEL_SERVER_URL": ""}
    said = subprocess.run(
        [sys.executable, "-m", "failsoft", "--help"], env=environment, capture_output=True, check=False, timeout=60
    )
    assert said.returncode == 0, said.stderr.decode()
