"""What holds for every test. `pytest --hypothesis-profile=thorough` looks for what the fixed examples of `ci` do not find."""

import signal

from hypothesis import HealthCheck, settings

# The same examples every time: a red test is then a change of ours and never luck. No deadlines: machines are shared.
settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", deadline=None, max_examples=2_000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci")

# A shell starts its background jobs with SIGINT ignored, and every command that a test starts would inherit that: Ctrl-C would
# then stop nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)
