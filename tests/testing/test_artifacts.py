import hashlib
import threading
from pathlib import Path
from urllib.parse import quote

import pytest

from failsoft.policy.errors import ConfigurationError, EnvironmentFailure
from failsoft.testing.artifacts import FIXED_MTIME, Artifact, ensure_jars, locked_artifacts, parse_lock
from failsoft.testing.cache import one_at_a_time

pytest.importorskip("jgo")

CONTENT = b"not really a jar, but the lock does not mind" * 100
ONE = Artifact(hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), "org.example.deep", "one", "1.0")


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A Maven repository in a folder (with a space in its name) that holds one artifact."""
    folder = tmp_path / "maven mirror"
    jar = folder / "org/example/deep/one/1.0/one-1.0.jar"
    jar.parent.mkdir(parents=True)
    jar.write_bytes(CONTENT)
    monkeypatch.setenv("FAILSOFT_MAVEN_MIRROR", f"file://{quote(str(folder))}")
    return jar


@pytest.fixture
def jars(tmp_path):
    folder = tmp_path / "jars"
    folder.mkdir()
    return folder


def test_the_shipped_lock_is_a_whole_kafka_with_unique_file_names():
    artifacts = locked_artifacts()
    assert len(artifacts) == 45
    assert len({artifact.file_name for artifact in artifacts}) == 45
    assert {"kafka_2.13-4.4.0.jar", "kafka-clients-4.4.0.jar", "log4j-slf4j-impl-2.25.5.jar"} <= {
        artifact.file_name for artifact in artifacts
    }


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        f"{'0' * 64} 12 group:name",
        f"{'0' * 63} 12 group:name:1",
        f"{'0' * 64} many group:name:1",
        f"{'x' * 64} 12 group:name:1",
    ],
)
def test_a_broken_line_of_the_lock_is_named(line):
    good = f"{'0' * 64} 12 group:name:1"
    with pytest.raises(ConfigurationError, match="line 2"):
        parse_lock(f"{good}\n{line}\n")


def test_a_missing_jar_is_fetched_and_the_mirror_stays_whole(mirror, jars):
    (path,) = ensure_jars(jars, [ONE])
    assert path.read_bytes() == CONTENT
    assert mirror.read_bytes() == CONTENT
    assert list(jars.iterdir()) == [path]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[:100], id="truncated"),
        pytest.param(lambda content: b"X" + content[1:], id="one byte flipped"),
        pytest.param(lambda _: b"", id="empty"),
    ],
)
def test_a_damaged_jar_is_fetched_again(mirror, jars, damage):
    (path,) = ensure_jars(jars, [ONE])
    path.write_bytes(damage(CONTENT))
    ensure_jars(jars, [ONE])
    assert path.read_bytes() == CONTENT


def test_a_whole_jar_is_not_fetched_again(mirror, jars):
    ensure_jars(jars, [ONE])
    mirror.unlink()
    calls = []
    ensure_jars(jars, [ONE], progress=lambda *numbers: calls.append(numbers))
    assert calls == []


def test_a_jar_fetched_twice_has_the_same_time_so_that_class_archives_stay_valid(mirror, jars):
    (path,) = ensure_jars(jars, [ONE])
    assert path.stat().st_mtime == FIXED_MTIME


def test_what_a_killed_fetch_left_does_not_matter(mirror, jars):
    half = jars / "one-1.0.jar.incoming" / "org/example/deep/one/1.0"
    half.mkdir(parents=True)
    (half / "one-1.0.jar").write_bytes(CONTENT[:10])
    (path,) = ensure_jars(jars, [ONE])
    assert list(jars.iterdir()) == [path]


def test_progress_runs_from_nothing_to_all(mirror, jars):
    calls = []
    ensure_jars(jars, [ONE], progress=lambda *numbers: calls.append(numbers))
    assert calls == [(0, len(CONTENT)), (len(CONTENT), len(CONTENT))]


def test_a_login_page_is_refused_and_never_reaches_the_cache(mirror, jars):
    mirror.write_bytes(b"<html>please log in</html>")
    with pytest.raises(
        EnvironmentFailure, match=r"org\.example\.deep:one:1\.0.*not the locked file.*FAILSOFT_MAVEN_MIRROR"
    ):
        ensure_jars(jars, [ONE])
    assert list(jars.iterdir()) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/maven", "file:///nowhere", "ftp://127.0.0.1/maven"])
def test_an_unreachable_mirror_is_explained_with_the_two_ways_out(url, jars, monkeypatch):
    monkeypatch.setenv("FAILSOFT_MAVEN_MIRROR", url)
    with pytest.raises(EnvironmentFailure, match=r"HTTPS_PROXY.*FAILSOFT_MAVEN_MIRROR"):
        ensure_jars(jars, [ONE])


def test_starts_at_the_same_time_fetch_once(mirror, tmp_path: Path):
    """The others wait for the lock and then find everything there. (It works alike between threads and processes.)"""
    home = tmp_path / "home"
    fetches = []

    def start():
        with one_at_a_time(home):
            (home / "jars").mkdir(exist_ok=True)
            ensure_jars(home / "jars", [ONE], progress=lambda *numbers: fetches.append(numbers))

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fetches == [(0, len(CONTENT)), (len(CONTENT), len(CONTENT))]
