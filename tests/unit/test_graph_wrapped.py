"""Networks that are wrapped, compiled, or of other number types: cut, or refused in one line."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.distributed as dist
import torch.nn.utils.prune as torch_prune
from torch import nn

import secateur as sc


def net(**options):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8, **options), nn.Tanh(), nn.Linear(8, 3, **options)).eval()


@torch.library.custom_op("test_secateur::single", mutates_args=())
def single(x: torch.Tensor) -> torch.Tensor:
    if x.dtype != torch.float32:
        raise RuntimeError("not float")
    return x * 2


single.register_fake(lambda x: torch.empty_like(x))


class Observed(nn.Module):
    """An operator without a rule between layers."""

    def __init__(self, middle=lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -128, 127), more=0):
        super().__init__()
        self.one, self.middle, self.two = nn.Linear(6, 8), middle, nn.Linear(8, more or 3)
        self.three = nn.Linear(more, 3) if more else nn.Identity()

    def forward(self, x):
        return self.three(self.two(self.middle(self.one(x))))


def compiled(model):
    return torch.compile(model, backend="eager")


def in_place(model):
    model.compile(backend="eager")
    return model


@pytest.mark.parametrize("wrap", [compiled, in_place, nn.DataParallel, torch.optim.swa_utils.AveragedModel])
def test_wrapped_networks_are_cut_inside_their_wrapper(wrap):
    x = torch.randn(4, 6)
    model = wrap(net())
    small, plain = (sc.prune(m, 0.5, granularity="neuron", example=x) for m in (model, net()))
    assert type(small) is type(model)
    assert torch.equal(small(x), plain(x))


@pytest.mark.parametrize(("kind", "size"), [(torch.float16, 1e-2), (torch.bfloat16, 5e-2), (torch.float64, 1e-9),
                                            (torch.complex64, 1e-5)])
def test_numbers_of_any_type_are_cut_and_stay_of_it(kind, size):
    model, x = net(dtype=kind), torch.randn(4, 6, dtype=kind)
    plan = sc.plan(model, 0.5, granularity="neuron", example=x)
    small, gone = sc.apply(model, plan), copy.deepcopy(model)
    with torch.no_grad():
        gone[2].weight[:, ~plan.cuts[0].keep] = 0
    assert small(x).dtype == small[0].weight.dtype == kind
    assert (small(x) - gone(x)).abs().max() < size


@pytest.mark.parametrize("kind", ["scripted", "traced", "distributed", "fake quantized", "float32 only"])
def test_what_cannot_be_cut_is_refused_in_one_line(kind, tmp_path):
    x = torch.randn(4, 6)
    if kind == "distributed":
        dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model, message = {
            "scripted": lambda: (torch.jit.script(net()), "the network is a RecursiveScriptModule, compiled"),
            "traced": lambda: (nn.Sequential(torch.jit.trace(net(), x)), "module '0' is a TopLevelTracedModule"),
            "distributed": lambda: (nn.parallel.DistributedDataParallel(net()), r"prune its \.module and wrap the "
                                                                                r"result"),
            "fake quantized": lambda: (Observed(), "an operator without a rule at fake_quantize_per_tensor_affine"),
            "float32 only": lambda: (Observed(single, 4), "single .* does not run in float64, .*: not float"),
        }[kind]()
        with pytest.raises(sc.SecateurError, match=message) as caught:
            sc.prune(model, 0.5, granularity="neuron", example=x)
    finally:
        if kind == "distributed":
            dist.destroy_process_group()
    assert "\n" not in str(caught.value)


def test_a_mask_that_came_after_the_plan_is_told():
    model, x = net(), torch.randn(4, 6)
    plan = sc.plan(model, 0.5, granularity="neuron", example=x)
    torch_prune.l1_unstructured(model[0], "weight", 0.5)
    with pytest.raises(sc.SecateurError, match="module '0' holds a pending mask of torch.nn.utils.prune"):
        sc.apply(model, plan)
