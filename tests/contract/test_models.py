"""Every network of the folder fulfils the contract."""

import pytest
import torch

from secateur import models
from secateur.core import registry
from secateur.core.errors import SecateurError
from secateur.models.builtin.base import Network

NAMES = list(registry.files("models"))
PARAMETERS = {"mlp": 2_386_000, "lenet-300-100": 266_610, "lenet5": 431_080, "resnet20": 272_186}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("shape", "classes"), [((1, 28, 28), 10), ((3, 32, 32), 7), ((1, 16, 20), 3)])
def test_takes_the_data_and_gives_logits(name, shape, classes):
    model = models.build(name, shape, classes)
    outputs = model(torch.rand(3, *shape))
    assert isinstance(model, Network)
    assert outputs.shape == (3, classes)
    assert not torch.allclose(outputs.logsumexp(1), torch.zeros(3), atol=1e-3)
    assert not torch.allclose(outputs.sum(1), torch.ones(3), atol=1e-3)
    assert type(model).__doc__


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_network(name):
    torch.manual_seed(3)
    first = models.build(name).state_dict()
    torch.manual_seed(3)
    second = models.build(name).state_dict()
    torch.manual_seed(4)
    other = models.build(name).state_dict()
    assert all(torch.equal(first[n], second[n]) for n in first)
    drawn = [n for n in first if first[n].ndim > 1 and first[n].any()]
    assert not any(torch.equal(first[n], other[n]) for n in drawn)


@pytest.mark.parametrize("name", PARAMETERS)
def test_has_the_published_number_of_parameters(name):
    assert sum(p.numel() for p in models.build(name).parameters()) == PARAMETERS[name]


def test_mlp_has_five_layers_without_biases():
    shapes = [tuple(p.shape) for p in models.build("mlp").parameters()]
    assert shapes == [(1000, 784), (1000, 1000), (500, 1000), (200, 500), (10, 200)]


def test_images_too_small_for_the_convolutions():
    with pytest.raises(SecateurError, match=r"16x16 pixels, got samples of shape \(1, 8, 8\)"):
        models.build("lenet5", (1, 8, 8), 10)
