"""What one invariant was held against and what was found: counted whole, told by its first examples."""

from dataclasses import dataclass, field
from enum import StrEnum

EXAMPLES = 10
"""Kept of each invariant; a thousand breaches have seldom more than a few causes."""


class Standing(StrEnum):
    """How an invariant came off."""

    KEPT = "kept"
    BROKEN = "broken"
    NOT_APPLICABLE = "not applicable"
    """Nothing of the kind was promised, or tried."""
    NOT_RECORDED = "not recorded"
    """The history does not hold what it would be judged by."""


@dataclass(slots=True)
class Check:
    """One invariant.

    Attributes:
        name: of it.
        checked: how many cases it was held against.
        findings: how many breaches.
        examples: the first of them.
        note: what a reader of the table has to know.
        without: the standing that it has where nothing was checked.
    """

    name: str
    checked: int = 0
    findings: int = 0
    examples: list[str] = field(default_factory=list)
    note: str = ""
    without: Standing = Standing.NOT_RECORDED

    def find(self, example: str) -> None:
        """Count a breach."""
        self.findings += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(example)

    def look(self, holds: bool, example: str) -> None:
        """Count a case, and a breach where it does not hold."""
        self.checked += 1
        if not holds:
            self.find(example)

    def breach(self, example: str) -> None:
        """Count a case that does not hold."""
        self.look(holds=False, example=example)

    @property
    def standing(self) -> Standing:
        """How it came off."""
        if self.findings:
            return Standing.BROKEN
        return Standing.KEPT if self.checked else self.without
