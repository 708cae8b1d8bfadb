"""The mutants fit the code, and their judge tells one that is caught from one that is not. They run by ``make mutants``."""

from collections import Counter
from dataclasses import replace

import pytest

from failsoft.policy.errors import ConfigurationError
from tests.mutants.contexts import CONTEXTS
from tests.mutants.failovers import FAILOVERS
from tests.mutants.fleets import FLEETS
from tests.mutants.mutant import Mutant
from tests.mutants.policies import POLICIES
from tests.mutants.shells import SHELLS
from tests.mutants.trial import ROOT, trial

ALL = (*POLICIES, *FLEETS, *CONTEXTS, *SHELLS, *FAILOVERS)
CAUGHT = Mutant(
    "has a short hour",
    "failsoft/policy/durations.py",
    '"h": 3_600.0',
    '"h": 3_599.0',
    ("tests/policy/test_durations.py",),
)


@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: mutant.name)
def test_a_mutant_fits_the_code_and_names_tests_that_are_there(mutant: Mutant):
    assert (ROOT / mutant.file).read_text().count(mutant.old) == 1
    assert mutant.new != mutant.old
    for test in mutant.caught_by:
        file, *names = test.split("::")
        text = (ROOT / file).read_text()
        assert all(f"def {name.partition('[')[0]}(" in text for name in names)


def test_every_mutant_has_a_name_of_its_own():
    assert [name for name, count in Counter(mutant.name for mutant in ALL).items() if count > 1] == []


def test_a_mistake_that_a_test_notices_is_told_from_one_that_none_does_and_from_one_that_lets_none_run():
    unnoticed = replace(CAUGHT, caught_by=("tests/policy/test_outcome.py",))
    with trial() as tried:
        assert tried.noticed_by(CAUGHT) is not None
        assert tried.noticed_by(unnoticed) is None
        with pytest.raises(ConfigurationError, match="could not run"):
            tried.noticed_by(replace(CAUGHT, new="("))


@pytest.mark.parametrize("old", ["this stands nowhere", "return "])
def test_a_text_that_is_not_there_once_is_an_error(old):
    with trial() as tried, pytest.raises(ConfigurationError, match="must occur once"):
        tried.noticed_by(replace(CAUGHT, old=old))
