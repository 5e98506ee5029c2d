"""A user's own networks and weights, and what is wrong with them."""

import sys
import types

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import secateur as sc
from secateur import models
from secateur.core.errors import SecateurError


class Pair(nn.Module):
    def forward(self, x):
        return x, x


@pytest.fixture(autouse=True)
def own(monkeypatch):
    module = types.ModuleType("own_models")
    module.good = lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.BatchNorm1d(3), nn.Dropout())
    module.no_module = lambda: [1, 2]
    module.failing = lambda: nn.Linear(-1, 3)
    module.narrow = lambda: nn.Sequential(nn.Flatten(), nn.Linear(9, 3))
    module.pair = Pair
    module.made = nn.Linear(16, 3)
    module.needy = nn.Linear
    monkeypatch.setitem(sys.modules, "own_models", module)


def test_own_factory_is_called_and_left_as_it_was():
    model = models.build("own_models:good", (4, 4), 3)
    assert all(m.training for m in model.modules())
    assert model[2].num_batches_tracked == 0


@pytest.mark.parametrize(("name", "said"), [
    ("no_module", "returns list; needed: a torch.nn.Module"),
    ("failing", "failed: RuntimeError"),
    ("needy", "needs in_features, out_features: a factory is called without arguments, or with those of shape"),
    ("narrow", r"does not take samples of shape \(4, 4\): mat1 and mat2"),
    ("pair", "returns tuple; needed: one tensor of logits"),
    ("made", "it is Linear; allowed: a function or class"),
    ("god", "did you mean 'good'"),
])
def test_mistakes_are_one_line(name, said):
    with pytest.raises(SecateurError, match=said) as caught:
        models.build(f"own_models:{name}", (4, 4), 3)
    assert f"own_models:{name}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_number_of_logits():
    with pytest.raises(SecateurError, match=r"outputs of shape \(2, 3\) for 2 samples; needed: 10 logits each"):
        models.build("own_models:good", (4, 4), 10)


def test_unknown_name_gets_the_nearest():
    with pytest.raises(SecateurError, match="did you mean 'lenet5'"):
        models.build("lenet-5")


def small():
    return nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))


def test_weights_come_back(tmp_path):
    saved = small()
    save_file(saved.state_dict(), tmp_path / "w.safetensors")
    loaded = models.load_weights(small(), tmp_path / "w.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(saved.parameters(), loaded.parameters(), strict=True))


def test_every_tensor_that_differs_is_named(tmp_path):
    state = small().state_dict()
    state["extra.weight"] = state.pop("0.bias")
    state["1.weight"] = torch.zeros(5, 3)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(SecateurError, match="3 tensors differ") as caught:
        models.load_weights(small(), tmp_path / "w.safetensors")
    for said in ("0.bias is missing from the file", "extra.weight is not in the network",
                 "1.weight is (5, 3) in the file, (2, 3) in the network"):
        assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_of_a_quantised_network_are_said_to_be_so(tmp_path):
    path = sc.save(sc.quantize(small(), torch.rand(64, 4), keep=()), tmp_path / "w.safetensors")
    with pytest.raises(SecateurError, match="are of a network that is quantised already") as caught:
        models.load_weights(small(), path)
    assert len(str(caught.value)) < 300 and "differ" not in str(caught.value)


def test_weights_that_are_not_finite(tmp_path):
    state = small().state_dict()
    state["1.bias"][0] = torch.nan
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(SecateurError, match="NaN or infinite values in 1.bias"):
        models.load_weights(small(), tmp_path / "w.safetensors")


def test_damaged_or_missing_weights(tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(SecateurError, match="cannot be read: No such file"):
        models.load_weights(small(), path)
    save_file(small().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(SecateurError, match="not a valid safetensors file"):
        models.load_weights(small(), path)
