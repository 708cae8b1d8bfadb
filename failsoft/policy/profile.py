"""How long calls of one tier took, as a value: what workers tell of it, and what the fleet makes of that.

Calls that ended with an answer, and calls that were cut at their window, apart: a cut call took "at least that long". Two
profiles merge by adding, in any order, so the sum over all workers is the fleet's.
"""

from dataclasses import dataclass, field

from failsoft.policy.histogram import LogHistogram


@dataclass(slots=True)
class Profile:
    """Durations of calls.

    Attributes:
        answers: of calls that ended with an answer.
        cut: of calls that were cut; each took longer.
    """

    answers: LogHistogram = field(default_factory=LogHistogram)
    cut: LogHistogram = field(default_factory=LogHistogram)

    @property
    def samples(self) -> float:
        """How many calls it speaks of."""
        return self.answers.count + self.cut.count

    def merge(self, other: "Profile") -> None:
        """Add all of another profile's calls to this one."""
        self.answers.merge(other.answers)
        self.cut.merge(other.cut)
