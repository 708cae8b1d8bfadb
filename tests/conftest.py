"""How hard Hypothesis tries. `pytest --hypothesis-profile=thorough` looks for what the fixed examples of `ci` do not find."""

from hypothesis import HealthCheck, settings

# The same examples every time: a red test is then a change of ours and never luck. No deadlines: machines are shared.
settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", deadline=None, max_examples=2_000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci")
