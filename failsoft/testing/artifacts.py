"""The jars of one Apache Kafka release: exactly what the lock lists, byte for byte.

The lock has a line for each artifact: SHA-256, size in bytes, `group:name:version`. It is the whole closure of
`org.apache.kafka:kafka_2.13` and a log4j binding, in the order of the class path. Every digest is checked at every
start (0.05 s for 45 MB), so a truncated, altered or half-fetched file is fetched again and never run.

jgo fetches single files and knows the default Maven repository; its graph resolution, its checksums (a SHA-1 from the
same server, whose mismatch is a log line) and its shared cache are not used. `FAILSOFT_MAVEN_MIRROR` names another
repository, `file://` too. The usual proxy variables and `SSL_CERT_FILE` are honoured.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from failsoft.policy.errors import ConfigurationError, EnvironmentFailure

KAFKA_VERSION = "4.4.0"

Progress = Callable[[int, int], None]
"""Told the bytes fetched so far and the bytes to fetch; not called when nothing is missing."""

PARALLEL_FETCHES = 6  # 3.3 s for all 45 artifacts; more gained nothing
FETCH_TIMEOUT_SECONDS = 60  # of silence on one connection
ATTEMPTS = 3  # a cut connection is common, three in a row are a cause
FIXED_MTIME = (
    1_577_836_800  # 2020-01-01: a class archive is void when any jar's time differs from the one it was made with
)


@dataclass(frozen=True, slots=True)
class Artifact:
    """One jar of the lock."""

    sha256: str
    size_bytes: int
    group: str
    name: str
    version: str

    @property
    def file_name(self) -> str:
        """Its name in the cache; names are unique in the lock."""
        return f"{self.name}-{self.version}.jar"

    def is_at(self, path: Path) -> bool:
        """Whether the file is there and is the locked one."""
        if not path.is_file() or path.stat().st_size != self.size_bytes:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256


def locked_artifacts() -> tuple[Artifact, ...]:
    """Read the lock that ships with this package."""
    return parse_lock((files("failsoft.testing") / f"kafka-{KAFKA_VERSION}.lock").read_text("utf-8"))


def parse_lock(text: str) -> tuple[Artifact, ...]:
    """Read `sha256 size group:name:version` lines, in the order of the class path."""
    return tuple(_parse_line(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip())


def _parse_line(number: int, line: str) -> Artifact:
    try:
        sha256, size, coordinate = line.split()
        group, name, version = coordinate.split(":")
        if len(bytes.fromhex(sha256)) != hashlib.sha256().digest_size:
            raise ValueError
        return Artifact(sha256, int(size), group, name, version)
    except ValueError:
        raise ConfigurationError(
            f"artifact lock, line {number}: expected 'sha256 size group:name:version', found {line!r}"
        ) from None


def ensure_jars(folder: Path, artifacts: Sequence[Artifact], *, progress: Progress | None = None) -> tuple[Path, ...]:
    """Make the folder hold every artifact and return their paths in order. The caller holds the cache's lock."""
    missing = [artifact for artifact in artifacts if not artifact.is_at(folder / artifact.file_name)]
    if missing:
        _fetch_all(missing, folder, progress or _silent)
    return tuple(folder / artifact.file_name for artifact in artifacts)


def _silent(fetched_bytes: int, total_bytes: int) -> None:
    """Report nothing."""


def _fetch_all(missing: Sequence[Artifact], folder: Path, progress: Progress) -> None:
    fetch = _fetcher()
    total = sum(artifact.size_bytes for artifact in missing)
    fetched = 0
    progress(fetched, total)
    with _certificates(), ThreadPoolExecutor(PARALLEL_FETCHES, "fetch") as pool:
        running = {pool.submit(_place, fetch, artifact, folder): artifact for artifact in missing}
        try:
            for done in as_completed(running):
                done.result()
                fetched += running[done].size_bytes
                progress(fetched, total)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _place(fetch: Callable[[Artifact, Path], Path], artifact: Artifact, folder: Path) -> None:
    """Fetch one artifact into a folder of its own and move it to its place only when it is the locked one."""
    incoming = folder / f"{artifact.file_name}.incoming"
    cause = ""
    for _ in range(ATTEMPTS):
        shutil.rmtree(incoming, ignore_errors=True)  # also what a killed process left
        try:
            fetched = fetch(artifact, incoming)
            if artifact.is_at(fetched):
                _move(fetched, folder / artifact.file_name)
                return
            cause = "what came is not the locked file (a login page, a proxy's message, a changed mirror?)"
        except (
            OSError,
            RuntimeError,
        ) as error:  # jgo raises RuntimeError for 404; every error of requests is an OSError
            _refuse_full_disk(error, folder)
            cause = f"{type(error).__name__}: {error}"
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
    raise EnvironmentFailure(
        f"cannot fetch {artifact.group}:{artifact.name}:{artifact.version}: {cause}. "
        "Set HTTPS_PROXY for a proxy, or FAILSOFT_MAVEN_MIRROR to a Maven repository (https:// or file://) in reach"
    )


def _move(fetched: Path, target: Path) -> None:
    shutil.copyfile(fetched, fetched.parent / "complete")  # a file:// mirror's own file must stay where it is
    os.utime(fetched.parent / "complete", (FIXED_MTIME, FIXED_MTIME))
    (fetched.parent / "complete").replace(target)


def _refuse_full_disk(error: Exception, folder: Path) -> None:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        raise EnvironmentFailure(f"{folder}: no space left; set FAILSOFT_CACHE to a folder with 50 MB free") from error


def _fetcher() -> Callable[[Artifact, Path], Path]:
    """Import jgo and bind it to the repository that the environment names."""
    try:
        from jgo.maven import MavenContext  # noqa: PLC0415 - optional: only the `broker` extra brings it
    except ImportError:
        raise EnvironmentFailure("fetching Kafka needs the package jgo: pip install 'failsoft[broker]'") from None
    repository = _repository(os.environ.get("FAILSOFT_MAVEN_MIRROR", ""))

    def fetch(artifact: Artifact, into: Path) -> Path:
        context = MavenContext(repo_cache=into, timeout=FETCH_TIMEOUT_SECONDS, **repository)
        return Path(context.project(artifact.group, artifact.name).at_version(artifact.version).artifact().resolve())

    return fetch


def _repository(mirror: str) -> dict[str, Any]:
    """Translate a mirror's URL into jgo's arguments; none means jgo's default repository."""
    if not mirror:
        return {}
    if mirror.startswith("file://"):
        return {"local_repos": [Path(unquote(urlsplit(mirror).path))], "remote_repos": {}}
    return {"remote_repos": {"mirror": mirror.rstrip("/")}}


@contextmanager
def _certificates() -> Iterator[None]:
    """Let requests, which reads variables of its own, honour `SSL_CERT_FILE` while we fetch."""
    bundle = os.environ.get("SSL_CERT_FILE")
    if not bundle or "REQUESTS_CA_BUNDLE" in os.environ or "CURL_CA_BUNDLE" in os.environ:
        yield
        return
    os.environ["REQUESTS_CA_BUNDLE"] = bundle
    try:
        yield
    finally:
        del os.environ["REQUESTS_CA_BUNDLE"]
