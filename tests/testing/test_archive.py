from pathlib import Path

import pytest

from failsoft.testing.archive import ClassArchive
from failsoft.testing.java import Java

JAVA_17 = Java(Path("/jdk/17/bin/java"), 17, "17.0.15+6")
JAVA_25 = Java(Path("/jdk/25/bin/java"), 25, "25.0.2+10")


def test_another_java_or_class_path_has_another_archive(tmp_path):
    stems = {
        ClassArchive.of(tmp_path, java, class_path).stem
        for java in (JAVA_17, JAVA_25, Java(JAVA_17.executable, 17, "17.0.16+1"))
        for class_path in ("a:b", "b:a")
    }
    assert len(stems) == 6


@pytest.mark.parametrize(
    ("java", "record", "use"),
    [
        (JAVA_17, "-XX:ArchiveClassesAtExit=", "-XX:SharedArchiveFile="),
        (JAVA_25, "-XX:AOTCacheOutput=", "-XX:AOTCache="),
    ],
)
def test_an_archive_is_found_once_its_recording_is_complete(tmp_path, java, record, use):
    archive = ClassArchive.of(tmp_path, java, "a:b")
    recording = archive.recording()
    assert recording.option == f"{record}{recording.path}"
    recording.path.write_bytes(b"classes")
    assert archive.find() is None
    recording.finish(is_complete=True)
    found = archive.find()
    assert found
    assert found.read_bytes() == b"classes"
    assert archive.option(found) == f"{use}{found}"


def test_a_damaged_archive_is_removed_because_java_would_crash_on_it(tmp_path):
    archive = ClassArchive.of(tmp_path, JAVA_17, "a:b")
    recording = archive.recording()
    recording.path.write_bytes(b"classes")
    recording.finish(is_complete=True)
    found = archive.find()
    assert found
    found.write_bytes(b"class")
    assert archive.find() is None
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_recording_leaves_nothing(tmp_path):
    recording = ClassArchive.of(tmp_path, JAVA_17, "a:b").recording()
    recording.path.write_bytes(b"half")
    recording.finish(is_complete=False)
    assert list(tmp_path.iterdir()) == []


def test_a_java_that_cannot_record_is_no_error(tmp_path):
    ClassArchive.of(tmp_path, JAVA_17, "a:b").recording().finish(is_complete=True)
    assert list(tmp_path.iterdir()) == []
