"""What is no network, plan, seed, path or example is refused in one line, never by an error of Python."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import nn

import secateur as sc

X = torch.rand(2, 8)
NET = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 3))
NEURONS = {"granularity": "neuron", "example": X}


@pytest.mark.parametrize(("call", "told"), [
    (lambda: sc.plan(NET, 0.5, criterion="random", seed="a", skip=()), "seed 'a': allowed is a whole number"),
    (lambda: sc.plan(NET, 0.5, criterion="random", seed=-1, skip=()), "seed -1: allowed is a whole number"),
    (lambda: sc.plan(NET, 0.5, granularity=None, example=X, skip=()),
     "unknown granularity 'None': allowed: 2:4, 4x1, neuron, weight"),
    (lambda: sc.plan(NET, 0.5, scope=None, skip=()), "unknown scope 'None'"),
    (lambda: sc.plan(NET, 0.5, granularity=sc.Neuron(round_to=True), example=X), "round_to True: allowed"),
    (lambda: sc.plan("x", 0.5, skip=()), "plan: got str as model"),
    (lambda: sc.prune("x", 0.5, skip=()), "prune: got str as model"),
    (lambda: sc.apply(NET, None), "apply: got NoneType as plan"),
    (lambda: sc.targets("x", X), "targets: got str as model"),
    (lambda: sc.targets(NET, ()), "got no inputs"),
    (lambda: sc.dry_run(NET, sc.plan(NET, 0.5, **NEURONS), torch.rand(2, 7)), "the example does not run"),
    (lambda: sc.dry_run(NET, sc.plan(NET, 0.5, **NEURONS), None), "the example is None"),
    (lambda: sc.dry_run(NET, 0.5, X), "dry_run: got float as plan"),
    (lambda: sc.save(NET, 3), "save: got a int as path"),
    (lambda: sc.load(3, lambda: NET), "load: got a int as path"),
])
def test_wrong_arguments_are_told_in_one_line(call, told):
    with pytest.raises(sc.SecateurError, match=re.escape(told)) as error:
        call()
    assert "\n" not in str(error.value)


def test_a_function_that_fails_to_make_the_network_is_told(tmp_path):
    path = sc.save(NET, tmp_path / "n.safetensors")
    with pytest.raises(sc.SecateurError, match="load: make_model failed: ZeroDivisionError: division by zero"):
        sc.load(path, lambda: 1 / 0)


def test_whole_numbers_of_numpy_are_seeds():
    assert sc.plan(NET, 0.5, criterion="random", seed=np.int64(3), skip=()) == sc.plan(NET, 0.5, criterion="random",
                                                                                       seed=3, skip=())


def test_packed_sequences_are_refused_with_what_to_do():
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.out = nn.LSTM(8, 12, batch_first=True), nn.Linear(12, 3)

        def forward(self, x):
            packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 3]), batch_first=True)
            found, _ = nn.utils.rnn.pad_packed_sequence(self.layer(packed)[0], batch_first=True)
            return self.out(found)

    with pytest.raises(sc.SecateurError, match="packed sequences .pad them") as error:
        sc.targets(Packed(), torch.rand(2, 5, 8))
    assert "FakeTensor" not in str(error.value)
    assert "no module inside it" in str(error.value)
