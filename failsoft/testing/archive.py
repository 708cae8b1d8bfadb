"""Class archives: what makes later starts faster than the first.

Most of a broker's start is the loading of classes. Java can keep them parsed: `-XX:ArchiveClassesAtExit` (Java 17, 50 MB)
or `-XX:AOTCacheOutput` (Java 25, 67 MB). Starts then take 2.3 s instead of 2.8 s, and 1.2 s instead of 2.6 s. The
archive is written when the recording broker stops, which takes 2 to 14 s longer, once.

Rule: only who starts brokers again and again records, and never at the first start on a machine. That is the pytest
plugin, outside continuous integration, whose caches are fresh (`CI` is set). Everyone uses what is recorded.

An archive made by another Java or for another class path is void, and Java starts without it; its name digests both, so
that each has its own. A *damaged* one is worse: a truncated archive aborts Java 17 (exit code 134). So the name also
bears the digest of the content, checked at each start, and a damaged archive is removed.
"""

import hashlib
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from failsoft.testing.java import Java

OLDEST_AOT = 25  # JEP 514 brought the one-step `-XX:AOTCacheOutput`


@dataclass(frozen=True, slots=True)
class Recording:
    """An archive in the making: it gets its name when it is complete."""

    path: Path
    stem: str
    option: str

    def finish(self, *, is_complete: bool) -> None:
        """Put it in its place if the broker ended in order and Java could make one; else leave nothing."""
        if is_complete and self.path.exists():
            self.path.replace(self.path.with_name(f"{self.stem}.{_digest(self.path)}.archive"))
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class ClassArchive:
    """The archive of one Java and one class path, recorded or not."""

    folder: Path
    stem: str
    is_aot: bool

    @classmethod
    def of(cls, folder: Path, java: Java, class_path: str) -> Self:
        """Name the archive of this Java and class path."""
        digest = hashlib.sha256("\0".join([str(java.executable), java.build, class_path]).encode()).hexdigest()
        return cls(folder, f"java-{java.feature}-{digest[:16]}", java.feature >= OLDEST_AOT)

    def find(self) -> Path | None:
        """Return the recorded archive, None while there is none; remove those that are damaged."""
        for path in sorted(self.folder.glob(f"{self.stem}.*.archive")):
            if path.name == f"{self.stem}.{_digest(path)}.archive":
                return path
            path.unlink(missing_ok=True)
        return None

    def option(self, path: Path) -> str:
        """Return the option of a start that uses a recorded archive."""
        return f"-XX:{'AOTCache' if self.is_aot else 'SharedArchiveFile'}={path}"

    def recording(self) -> Recording:
        """Begin to record it, beside any other process that does the same: each has its own file."""
        path = self.folder / f"{self.stem}.{uuid.uuid4().hex}.recording"
        return Recording(path, self.stem, f"-XX:{'AOTCacheOutput' if self.is_aot else 'ArchiveClassesAtExit'}={path}")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
