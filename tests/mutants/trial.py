"""Runs tests on copies of the repository, so that no mistake is ever in the working tree.

The copy that is well comes first: its tests must pass, or a red test would say nothing. Each mutant then has a copy of that copy.
Only "tests ran, and one failed" counts as caught: a mistake that keeps the tests from running is a mistake of the mutant.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from failsoft.policy.errors import ConfigurationError
from tests.mutants import no_shrinking
from tests.mutants.mutant import Mutant

ROOT = Path(__file__).parents[2]
HANG_SECONDS = 60
"""A mutant may make a test wait for what never comes; that counts as noticed."""

_PASSED, _FAILED = 0, 1
_OPTIONS = (
    "-x", "-q", "--no-header", "--tb=short", "-p", "no:cacheprovider", f"--timeout={HANG_SECONDS}",
    "-p", no_shrinking.__name__, f"--hypothesis-profile={no_shrinking.PROFILE}",
)  # fmt: skip
_LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__")
_FIRST_FAILURE = re.compile(r"^(?:FAILED|ERROR) [^:\s]+::([\w:]+)", re.MULTILINE)


class Trial:
    """One copy that is well, and as many ill ones as are asked for.

    Args:
        directory: where the copies go.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._well = directory / "well"
        shutil.copytree(ROOT, self._well, ignore=_LEFT_OUT)

    def check_well(self, mutants: Iterable[Mutant]) -> None:
        """Run the tests of all mutants without any mistake.

        Raises:
            ConfigurationError: one does not pass, or is not there.
        """
        code, output = _run(self._well, sorted({test for mutant in mutants for test in mutant.caught_by}))
        if code != _PASSED:
            raise ConfigurationError(f"without a mistake the tests have to pass, and they do not:\n{output}")

    def noticed_by(self, mutant: Mutant) -> str | None:
        """Make the mistake; return the test that failed first, None if all passed.

        Raises:
            ConfigurationError: the mistake cannot be made, or the tests cannot run with it.
        """
        ill = self._directory / "ill"
        shutil.copytree(self._well, ill)
        try:
            mutant.seed(ill)
            code, output = _run(ill, mutant.caught_by)
        finally:
            shutil.rmtree(ill)
        if code == _PASSED:
            return None
        failure = _FIRST_FAILURE.search(output)
        if code != _FAILED or failure is None:
            raise ConfigurationError(f"mutant {mutant.name!r}: its tests could not run:\n{output}")
        return failure[1]


@contextmanager
def trial() -> Iterator[Trial]:
    """Copy the repository, and remove all copies afterwards."""
    with tempfile.TemporaryDirectory(prefix="failsoft-mutants-") as directory:
        yield Trial(Path(directory))


def _run(tree: Path, tests: Iterable[str]) -> tuple[int, str]:
    """Run tests of a copy on the package of that copy, until one fails; return the exit code and what was printed."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *_OPTIONS, *tests],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr
