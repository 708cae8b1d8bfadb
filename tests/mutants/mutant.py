"""A seeded mistake: one place of the package where the code is made to do what a promise forbids, and who must notice.

The text that is replaced has to occur exactly once, and the tests are named. So a mutant that the code has moved away from is
an error and not a mistake that went unnoticed.
"""

from dataclasses import dataclass
from pathlib import Path

from failsoft.policy.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mistake.

    Attributes:
        name: the mistake, said as what the code then does.
        file: where it is, from the root of the repository.
        old: the text that is replaced; it occurs once.
        new: what replaces it.
        caught_by: the tests of which one must fail, as pytest names them.
    """

    name: str
    file: str
    old: str
    new: str
    caught_by: tuple[str, ...]

    def seed(self, tree: Path) -> None:
        """Make the mistake in a copy of the repository.

        Raises:
            ConfigurationError: the text is not there, or not only once.
        """
        place = tree / self.file
        text = place.read_text(encoding="utf-8")
        if (found := text.count(self.old)) != 1:
            raise ConfigurationError(
                f"mutant {self.name!r}: its text occurs {found} times in {self.file}; it must occur once, so say it anew"
            )
        place.write_text(text.replace(self.old, self.new), encoding="utf-8")
