"""Whether anything of a prompt stands in a log: each request carries its tenant's canary, and logs are searched for it.

Prompts are private, and logs travel: to collectors, to people, to bug reports. Faults are when most is logged, and when an
exception is most likely to carry a body along.
"""

from collections.abc import Collection, Iterator
from pathlib import Path


def leaks(folder: Path, canaries: Collection[str]) -> Iterator[str]:
    """Yield file and line number of each line of a log in which a canary stands, never the line itself."""
    sought = [canary.encode() for canary in canaries]
    for log in sorted(folder.rglob("*.log")):
        with log.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if any(canary in line for canary in sought):
                    yield f"{log.relative_to(folder)}, line {number}"
