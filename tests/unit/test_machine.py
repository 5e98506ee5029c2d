"""What a machine is, and whether it was too busy to time anything on."""

import os

import pytest

from secateur.core import machine


@pytest.mark.parametrize(("load", "noted"), [(0.0, False), (2.4, False), (2.6, True), (9.0, True)])
def test_more_processes_than_cores_make_times_rough(monkeypatch, load, noted):
    monkeypatch.setattr(machine, "cores", lambda: 2)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0), raising=False)
    notes = machine.busy()
    assert bool(notes) == noted
    assert all(f"load average {load:.1f} on 2 cores" in n for n in notes)


def test_a_system_that_tells_no_load_is_not_called_busy(monkeypatch):
    monkeypatch.delattr(os, "getloadavg", raising=False)
    assert machine.busy() == ()
