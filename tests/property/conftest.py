"""Hypothesis, as all property tests use it: no deadlines, and the same examples on every machine in CI."""

import os

from hypothesis import HealthCheck, settings

# A busy machine makes an example slow, which says nothing about the code.
settings.register_profile("skep", deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("skep"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "skep")
