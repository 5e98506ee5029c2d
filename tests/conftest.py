"""Shared by all tests: one torch thread, so that parallel test processes do not crowd the machine; nothing of
Hypothesis' that depends on time, so that a busy machine fails no test.
"""

import torch
from hypothesis import HealthCheck, settings

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

torch.set_num_threads(1)
