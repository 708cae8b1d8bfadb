import pytest

from tests.simulation.worlds import OTHER_HALF, broken_in_block


@pytest.mark.parametrize("first", OTHER_HALF)
def test_no_invariant_breaks_in_random_worlds(first):
    assert broken_in_block(first) == {}
