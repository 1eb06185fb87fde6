"""Hypothesis without a stopwatch: the machine is shared, and a slow example proves nothing."""

from hypothesis import HealthCheck, settings

settings.register_profile("ruh", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ruh")
