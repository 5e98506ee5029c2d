"""A training that stops and goes on is the training that never stopped, bit for bit."""

import random

import numpy as np
import pytest
import torch
from support import blobs
from torch import nn

import secateur as sc
from secateur.core.errors import SecateurError
from secateur.training import Live, checkpoint
from secateur.training.regrowth.set_ import Set
from secateur.training.schedules import Constant, Polynomial

X, Y, _, _ = blobs()
CHOICES = {"plain": {}, "global": {"scope": "global"}, "late": {"threshold_decay": 0.5}, "set": {"regrow": Set(0.3)},
           "rigl": {"regrow": "rigl"}, "neuron": {"granularity": "neuron", "example": X[:2]}}


class Training:
    """A network with dropout, Adam, a falling learning rate, a pruner; batches from the global generator."""

    def __init__(self, seed, **choices):
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Dropout(0.3), nn.Linear(12, 4))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.01)
        self.rate = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 24)
        schedule = Constant(0.6, end=20, every=3) if "regrow" in choices else Polynomial(0.6, end=20, every=3)
        self.pruner = sc.Pruner(self.model, schedule, self.optimizer, skip=(), **choices)

    def parts(self):
        return {"model": self.model, "optimizer": self.optimizer, "rate": self.rate, "pruner": self.pruner}

    def run(self, steps):
        for _ in range(steps):
            batch = torch.randint(len(X), (32,))
            self.optimizer.zero_grad()
            nn.functional.cross_entropy(self.model(X[batch]), Y[batch]).backward()
            self.optimizer.step()
            self.rate.step()
            self.pruner.step()
        return self


@pytest.mark.parametrize("name", CHOICES)
def test_resume_is_bit_exact(name, tmp_path):
    whole = Training(1, **CHOICES[name]).run(24)
    checkpoint.save(tmp_path / "at-11.pt", Training(1, **CHOICES[name]).run(11).parts())
    resumed = Training(99, **CHOICES[name])
    checkpoint.load(tmp_path / "at-11.pt", resumed.parts())
    resumed.run(13)
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True))
    assert all(torch.equal(whole.pruner.masks[n], m) for n, m in resumed.pruner.masks.items())
    assert whole.pruner.thresholds == resumed.pruner.thresholds
    assert whole.pruner.steps == resumed.pruner.steps == 24
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert all(torch.equal(v, resumed.optimizer.state[b][k]) for k, v in whole.optimizer.state[a].items())


def test_without_the_pruner_it_is_not(tmp_path):
    """The control: the same resume with a fresh pruner ends elsewhere."""
    whole, half = Training(1).run(24), Training(1).run(11)
    parts = half.parts()
    del parts["pruner"]
    checkpoint.save(tmp_path / "half.pt", parts)
    resumed = Training(99)
    checkpoint.load(tmp_path / "half.pt", {k: v for k, v in resumed.parts().items() if k != "pruner"})
    resumed.run(13)
    assert not all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True))


def test_a_live_sparsity_set_by_hand_is_kept():
    first = Training(0)
    first.pruner.sparsity = 0.25
    again = Training(0)
    again.pruner.load_state_dict(first.pruner.state_dict())
    assert again.pruner.sparsity == 0.25


def test_the_state_goes_on_without_a_new_cut():
    pruner = sc.Pruner(nn.Linear(8, 8), Constant(0.5, every=1), regrow="set", skip=())
    for _ in range(3):
        pruner.step()
    weights = pruner.model.weight.detach().clone()
    again = sc.Pruner(pruner.model, Constant(0.5, every=1), regrow="set", saved=pruner.state_dict(), skip=())
    assert torch.equal(again.masks["weight"], pruner.masks["weight"])
    assert torch.equal(pruner.model.weight, weights)


def test_what_does_not_fit_is_refused(tmp_path):
    state = sc.Pruner(nn.Linear(8, 8), 0.5, skip=()).state_dict()
    with pytest.raises(SecateurError, match="other settings: saved Constant.*0.5.*this one has Constant.*0.6"):
        sc.Pruner(nn.Linear(8, 8), 0.6, saved=state, skip=())
    with pytest.raises(SecateurError, match=r"1 layers differ, first 'weight': saved \(8, 8\), network \(8, 9\)"):
        sc.Pruner(nn.Linear(9, 8), 0.5, saved=state, skip=())
    with pytest.raises(SecateurError, match="not saved by this version"):
        sc.Pruner(nn.Linear(8, 8), 0.5, saved={"some": "thing"}, skip=())
    with pytest.raises(SecateurError, match="other settings"):
        sc.Pruner(nn.Linear(8, 8), Live(torch.tensor(0.5)), saved=state, skip=())
    checkpoint.save(tmp_path / "a.pt", {"model": nn.Linear(2, 2)})
    with pytest.raises(SecateurError, match="holds model; asked for net"):
        checkpoint.load(tmp_path / "a.pt", {"net": nn.Linear(2, 2)})
    torch.save({"x": 1}, tmp_path / "b.pt")
    with pytest.raises(SecateurError, match="is not a secateur checkpoint"):
        checkpoint.load(tmp_path / "b.pt", {})


def test_every_generator_goes_on_where_it_was(tmp_path):
    draws = (lambda: float(torch.rand(1)), random.random, lambda: float(np.random.rand()), np.random.standard_normal)
    np.random.standard_normal()
    checkpoint.save(tmp_path / "a.pt", {})
    wanted = [draw() for draw in draws]
    checkpoint.load(tmp_path / "a.pt", {})
    assert [draw() for draw in draws] == wanted


def test_files_that_cannot_be_read_or_written_are_named(tmp_path):
    (tmp_path / "a.pt").write_text("nothing")
    for path in (tmp_path / "a.pt", tmp_path / "none.pt"):
        with pytest.raises(SecateurError, match=f"{path} cannot be read"):
            checkpoint.load(path, {})
    with pytest.raises(SecateurError, match="cannot write"):
        checkpoint.save(tmp_path / "none" / "a.pt", {})
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]
