"""What holds for every test. `pytest --hypothesis-profile=thorough` looks for what the fixed examples of `ci` do not find."""

import gc
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# The same examples every time: a red test is then a change of ours and never luck. No deadlines: machines are shared.
settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", deadline=None, max_examples=2_000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci")

# A shell starts its background jobs with SIGINT ignored, and every command that a test starts would inherit that: Ctrl-C would
# then stop nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that wait for processes and brokers first: else one core ends with the longest of them, the other with nothing."""
    items.sort(key=lambda item: not (item.get_closest_marker("acceptance") or item.get_closest_marker("kafka")))


@pytest.fixture(scope="module", autouse=True)
def _leaks_are_found_where_they_were_made() -> Iterator[None]:
    """What a module left open is an error of its own last test, and not of whichever test the collector runs in later."""
    yield
    gc.collect()
