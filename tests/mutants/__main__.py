"""``python -m tests.mutants [WORD]``: makes seeded mistakes one by one, and shows which test catches each.

Exits with 1 if one is not caught, with 2 if a mutant no longer fits the code.
"""

import sys
import time
from typing import Annotated

import typer

from failsoft.policy.errors import ConfigurationError
from tests.mutants.contexts import CONTEXTS
from tests.mutants.failovers import FAILOVERS
from tests.mutants.fleets import FLEETS
from tests.mutants.policies import POLICIES
from tests.mutants.shells import SHELLS
from tests.mutants.trial import trial

ALL = (*POLICIES, *FLEETS, *CONTEXTS, *SHELLS, *FAILOVERS)
_NAME_WIDTH = max(len(mutant.name) for mutant in ALL)


def main(word: Annotated[str, typer.Argument(help="Only mutants whose name or file has this in it.")] = "") -> None:
    """Make seeded mistakes, and show which test catches each."""
    chosen = [mutant for mutant in ALL if word in mutant.name or word in mutant.file]
    began_at = time.monotonic()
    survivors = 0
    try:
        with trial() as tried:
            tried.check_well(chosen)
            print(f"{'mutant':{_NAME_WIDTH}}  seconds  caught by")
            for mutant in chosen:
                started_at = time.monotonic()
                test = tried.noticed_by(mutant)
                survivors += test is None
                seconds = time.monotonic() - started_at
                print(f"{mutant.name:{_NAME_WIDTH}}  {seconds:7.1f}  {test or 'NOTHING'}", flush=True)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from error
    print(f"{len(chosen) - survivors} of {len(chosen)} caught in {time.monotonic() - began_at:.0f} s")
    raise typer.Exit(1 if survivors else 0)


if __name__ == "__main__":
    typer.run(main)
