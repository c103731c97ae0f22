"""What every test shares: how hard Hypothesis looks."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# On a shared machine the time of one example says nothing, and building a history is slow by nature.
settings.register_profile(
    "quick", settings(), deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("long", settings.get_profile("quick"), max_examples=5_000, derandomize=False)
settings.load_profile("quick")
