"""Shared by all tests: one torch thread, so that parallel test processes do not crowd the machine; nothing of
Hypothesis' that depends on time, so that a busy machine fails no test.
"""

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

torch.set_num_threads(1)


@pytest.fixture
def calm(monkeypatch):
    """No timing is noisy, however busy the machine that runs the tests."""
    from secateur.measure import noise

    for bound in ("LOAD", "SPREAD", "OVERHEAD"):
        monkeypatch.setattr(noise, bound, float("inf"))


@pytest.fixture
def brief_distillation(monkeypatch):
    """Recoveries that end with distillation train one epoch where nothing else is asked for: for tests that look at
    something else. What more of it gives is tested in oracles/.
    """
    from secateur.recovery.methods import distil

    monkeypatch.setattr(distil, "_EPOCHS", 1)


@pytest.fixture
def blank_figures(monkeypatch):
    """Every figure of a report is written, and blank: for tests that look at something else, as drawing takes seconds.
    What is drawn is tested in unit/report/.
    """
    from matplotlib.figure import Figure

    from secateur.report.render import matplotlib_

    monkeypatch.setattr(matplotlib_, "draw", lambda panels: Figure((1, 1)))
