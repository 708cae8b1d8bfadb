"""One Apache Kafka, ready to run on this machine: a Java, the locked jars, a formatted data folder to copy.

It lives in the cache folder and is put there once, by whoever comes first; others wait for it.
"""

import base64
import os
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from failsoft.policy.errors import EnvironmentFailure
from failsoft.testing.archive import ClassArchive
from failsoft.testing.artifacts import KAFKA_VERSION, Progress, ensure_jars, locked_artifacts
from failsoft.testing.cache import cache_folder, one_at_a_time
from failsoft.testing.java import Java, find_java, plain_environment
from failsoft.testing.readiness import explain_death
from failsoft.testing.storage import write_settings

FORMAT_TIMEOUT_SECONDS = 120  # usually 1 to 3 s

_JVM = (
    "-Xms64m",
    "-Xmx512m",
    "-Xss512k",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",  # the optimising compiler costs more than it gains in a broker's first minutes
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.net.preferIPv4Stack=true",
    "-Dlog4j2.shutdownHookEnabled=false",
)


@dataclass(frozen=True, slots=True)
class Installation:
    """What it takes to run Kafka."""

    java: Java
    jars: tuple[Path, ...]
    template: Path
    archive: ClassArchive
    is_new: bool
    """Whether this machine had none before."""

    def command(self, folder: Path, *, options: Sequence[str] = ()) -> list[str]:
        """Return the command of a broker on a data folder."""
        return [
            *_java_command(self.java, self.jars, folder, "kafka.Kafka", *options),
            str(folder / "server.properties"),
        ]

    def format(self, folder: Path) -> None:
        """Format the data folder of one node of several; its settings are there already and name all of them.

        Raises:
            EnvironmentFailure: it did not work; says why.
        """
        _format(self.java, self.jars, folder)


def installed_kafka(*, progress: Progress | None = None) -> Installation:
    """Find Kafka in the cache; fetch and make what is missing.

    Raises:
        EnvironmentFailure: no usable Java, no way to fetch, no room.
    """
    java = find_java()
    home = cache_folder() / f"kafka-{KAFKA_VERSION}"
    with one_at_a_time(home):
        (home / "jars").mkdir(exist_ok=True)
        jars = ensure_jars(home / "jars", locked_artifacts(), progress=progress)
        template = home / "template"
        is_new = not template.exists()
        if is_new:
            _make_template(java, jars, template)
    archive = ClassArchive.of(home, java, _class_path(jars))
    return Installation(java, jars, template, archive, is_new)


def _class_path(jars: Sequence[Path]) -> str:
    """Join in the lock's order: `libs/*` has none, and an archive is bound to the order."""
    return os.pathsep.join(map(str, jars))


def _java_command(java: Java, jars: Sequence[Path], folder: Path, main: str, *options: str) -> list[str]:
    logging = f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}"
    return [str(java.executable), *_JVM, *options, logging, "-cp", _class_path(jars), main]


def _make_template(java: Java, jars: Sequence[Path], template: Path) -> None:
    """Format a data folder next to the template and move it there when it is complete."""
    making = template.with_suffix(".making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    write_settings(making, port=0, own={})
    _format(java, jars, making, "--standalone")
    making.replace(template)


def _format(java: Java, jars: Sequence[Path], folder: Path, *options: str) -> None:
    command = _java_command(java, jars, folder, "kafka.tools.StorageTool")
    arguments = ["format", *options, "--cluster-id", _cluster_id(), "--config", str(folder / "server.properties")]
    done = _run(command + arguments)
    if done.returncode != 0:
        raise EnvironmentFailure(f"Kafka could not format {folder}: {explain_death(done.stdout, done.returncode)}")


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - our own command
            command,
            env=plain_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=FORMAT_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EnvironmentFailure(f"Kafka did not format a data folder within {FORMAT_TIMEOUT_SECONDS} s") from None


def _cluster_id() -> str:
    """A fixed one: every folder is a copy of one template, and nobody joins two of them."""
    return base64.urlsafe_b64encode(uuid.uuid5(uuid.NAMESPACE_DNS, "failsoft").bytes).decode().rstrip("=")
