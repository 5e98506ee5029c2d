"""Recoveries that cannot do what they are asked for say so in one line, and leave no broken network."""

import copy
from dataclasses import FrozenInstanceError

import pytest
import torch
from torch import nn

import secateur as sc
from secateur import recovery as recovery_room
from secateur.core import registry
from secateur.core.errors import SecateurError
from secateur.recovery.methods.base import Recovery
from secateur.recovery.methods.best_finetune import BestFinetune
from secateur.recovery.methods.finetune import Finetune
from secateur.recovery.methods.gradual import Gradual
from secateur.recovery.methods.rechoose import Rechoose
from secateur.recovery.methods.reconstruct import Reconstruct
from secateur.recovery.methods.rewind import Rewind
from secateur.recovery.methods.sparsegpt import Sparsegpt
from secateur.training.early_stop import EarlyStop

X = torch.randn(64, 6, generator=torch.Generator().manual_seed(1))
Y = (X[:, 0] > 0).long()


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))


class Broken(Recovery):
    """Leaves what is no number."""

    def recover(self, context):
        context.pruned[2].bias.data[1] = float("nan")
        return context.pruned


@pytest.mark.parametrize("recovery", [Finetune(epochs=2, lr=1e30), Gradual(epochs=2, lr=1e30), Broken(),
                                      Rewind({n: t * float("inf") for n, t in net().state_dict().items()})])
def test_a_network_of_no_numbers_does_not_come_back(recovery):
    told = "recovery .* left .* NaN or infinite values .* in '|fit: .* diverged"
    with pytest.raises(SecateurError, match=told) as caught:
        sc.prune(net(), 0.5, data=(X, Y), recovery=recovery, skip=())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("recovery", [Finetune(epochs=1), Gradual(epochs=1), BestFinetune(Finetune(epochs=1)),
                                      Finetune(epochs=1, distil=1.0)])
def test_a_frozen_network_cannot_be_trained(recovery):
    with pytest.raises(SecateurError, match=r"none of the .* requires_grad_\(True\)"):
        sc.prune(net().requires_grad_(False), 0.5, data=(X, Y), recovery=recovery, skip=())


def test_what_is_frozen_stays_and_the_rest_learns():
    frozen = net()
    frozen[0].requires_grad_(False)
    made = sc.prune(frozen, 0.5, data=(X, Y), recovery=Finetune(epochs=2), skip=())
    assert torch.equal(made[0].weight[made[0].weight != 0], frozen[0].weight[made[0].weight != 0])
    assert not torch.equal(made[2].bias, frozen[2].bias)


def test_nothing_can_be_held_out_of_seven_samples():
    with pytest.raises(SecateurError, match="patience 2 holds out an eighth of the samples and needs at least 8, got "
                                            "7"):
        sc.prune(net(), 0.5, data=(X[:7], Y[:7]), recovery=Finetune(epochs=3, patience=2), skip=())
    sc.prune(net(), 0.5, data=(X[:8], Y[:8]), recovery=Finetune(epochs=3, patience=2), skip=())


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_early_stop_is_the_loop_by_hand_over_the_losses_held_out(patience, monkeypatch):
    losses, states, measured = [], [], EarlyStop.held_loss

    def look(early):
        losses.append(measured(early))
        states.append(copy.deepcopy(early.training.model.state_dict()))
        by_hand = nn.functional.cross_entropy(early.training.model.eval()(X[early.held]), Y[early.held])
        assert losses[-1] == pytest.approx(by_hand.item())
        return losses[-1]

    monkeypatch.setattr(EarlyStop, "held_loss", look)
    made = sc.prune(net(), 0.5, data=(X, Y), recovery=Finetune(epochs=60, patience=patience, lr=0.1), skip=())
    best = losses.index(min(losses))
    assert len(losses) == best + 1 + patience < 60
    assert all(torch.equal(t, states[best][n]) for n, t in made.state_dict().items())


def test_earlier_weights_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "no.safetensors").write_text("nothing")
    for path in (tmp_path / "none.safetensors", tmp_path / "no.safetensors", tmp_path):
        with pytest.raises(SecateurError, match=f"rewind: cannot read '{path}'"):
            sc.prune(net(), 0.5, recovery=Rewind(path), skip=())


@pytest.mark.parametrize(("kind", "settings"), [
    (Finetune, {"epochs": "3"}), (Finetune, {"epochs": 1.5}), (Finetune, {"batch_size": 2.0}),
    (Finetune, {"lr": float("inf")}), (Finetune, {"lr": None}), (Finetune, {"patience": True}),
    (Finetune, {"distil": "all"}), (Gradual, {"epochs": 0.5}), (Gradual, {"every": 1.5}), (Gradual, {"end": "1"}),
    (Gradual, {"lr": float("nan")}), (Reconstruct, {"relu_rounds": -1}), (Reconstruct, {"rows": 0}),
    (Rechoose, {"rounds": -1}), (Rechoose, {"rows": 1.5}), (Sparsegpt, {"block": 0}), (Sparsegpt, {"damping": -1.0})])
def test_a_setting_that_is_not_allowed_is_named(kind, settings):
    ((name, value),) = settings.items()
    with pytest.raises(SecateurError, match=f"{kind.__name__.lower()} {name} {value!r}: allowed"):
        kind(**settings)


def test_every_recovery_is_found_by_its_class_and_is_a_frozen_value():
    for name, path in registry.files("recovery").items():
        kind = registry.get("recovery", name)
        assert getattr(recovery_room, kind.__name__) is kind, path
        assert kind.__name__ in recovery_room.__all__
        with pytest.raises(FrozenInstanceError):
            kind().extra = 1
