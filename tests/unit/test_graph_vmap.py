"""Networks whose code maps a function over an axis."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import secateur as sc


class Mapped(nn.Module):
    """A band of neighbours, made by ``torch.vmap``, weighs the places that are added up."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1])
        band = torch.vmap(lambda i: (i - places).abs() < 3)(places)
        return self.down(band.to(x.dtype) @ self.up(x).relu())


def test_a_function_that_is_mapped_over_an_axis_is_cut_and_proved():
    torch.manual_seed(0)
    model, x = Mapped().eval(), torch.rand(2, 7, 4)
    small = sc.apply(model, sc.plan(model, 0.5, granularity="neuron", example=x))
    kept = [int(torch.isclose(model.up.weight, row).all(1).nonzero()) for row in small.up.weight]
    with torch.no_grad():
        gone = [i for i in range(8) if i not in kept]
        model.down.weight[:, gone] = 0
        assert small.up.out_features == 4
        torch.testing.assert_close(small(x), model(x))
