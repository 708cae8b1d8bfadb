"""The only reader of time."""

import time

import pytest

from failsoft.policy.errors import ConfigurationError
from failsoft.runtime.clock import SKEW_VARIABLE, Clock


async def test_a_clock_agrees_with_the_wall_unless_a_trial_wants_it_wrong():
    right = Clock(environment={})
    wrong = Clock(environment={SKEW_VARIABLE: "-90"})
    assert right.wall() == pytest.approx(time.time(), abs=5.0)
    assert right.wall() - wrong.wall() == pytest.approx(90.0, abs=5.0)
    assert right.monotonic() == pytest.approx(wrong.monotonic(), abs=5.0)


async def test_a_skew_that_is_no_number_is_refused():
    with pytest.raises(ConfigurationError, match=SKEW_VARIABLE):
        Clock(environment={SKEW_VARIABLE: "much"})
