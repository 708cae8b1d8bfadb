"""Class archives: what makes later starts faster than the first.

Most of a broker's start is the loading of classes. Java can keep them parsed: `-XX:ArchiveClassesAtExit` (Java 17, 53
MB) or `-XX:AOTCacheOutput` (Java 25, 70 MB), written when the recording broker stops, which then takes 4 to 12 s
longer.

Rule: an archive is recorded at the first orderly stop of a broker that found everything else in the cache. So the
first run on a machine pays nothing, the second once, and continuous integration with its fresh caches (`CI` is set)
never. An archive that does not fit is void, not fatal: Java starts without it. It fits one build of Java and one
class path, which its name digests.
"""

import hashlib
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from failsoft.testing.java import Java

OLDEST_AOT = 25  # JEP 514 brought the one-step `-XX:AOTCacheOutput`


@dataclass(frozen=True, slots=True)
class Recording:
    """An archive in the making: it gets its name when it is complete."""

    path: Path
    target: Path
    option: str

    def finish(self, *, is_complete: bool) -> None:
        """Put it in its place if the broker ended in order and Java could make one; else leave nothing."""
        if is_complete and self.path.exists():
            self.path.replace(self.target)
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class ClassArchive:
    """The archive of one Java and one class path, recorded or not."""

    path: Path
    is_aot: bool

    @classmethod
    def of(cls, folder: Path, java: Java, class_path: str) -> Self:
        """Name the archive of this Java and class path."""
        digest = hashlib.sha256("\0".join([str(java.executable), java.build, class_path]).encode()).hexdigest()
        return cls(folder / f"java-{java.feature}-{digest[:16]}.archive", java.feature >= OLDEST_AOT)

    @property
    def use_options(self) -> list[str]:
        """Options of a start that uses it: none while it is not recorded."""
        return [f"-XX:{'AOTCache' if self.is_aot else 'SharedArchiveFile'}={self.path}"] if self.path.exists() else []

    def recording(self) -> Recording:
        """Begin to record it, beside any other process that does the same: the last one to end wins."""
        path = self.path.with_suffix(f".{uuid.uuid4().hex}")
        return Recording(path, self.path, f"-XX:{'AOTCacheOutput' if self.is_aot else 'ArchiveClassesAtExit'}={path}")


def is_worth_recording(archive: ClassArchive, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether it is missing, and this machine will start brokers often enough to repay the recording."""
    return not archive.path.exists() and not environment.get("CI")
