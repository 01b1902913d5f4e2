"""Property tests: enough examples to find a hole, few enough for all of it to take seconds."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "unit",
    max_examples=50,
    deadline=None,  # a busy machine says nothing about our code
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("unit")
