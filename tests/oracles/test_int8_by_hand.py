"""int8 networks small enough to compute by hand, and the arithmetic against whole numbers of NumPy."""

import numpy as np
import pytest
import torch
from torch import nn

from secateur.quantization.arithmetic import TOP
from secateur.quantization.layers.base import Inputs
from secateur.quantization.layers.convolution import Int8Conv
from secateur.quantization.layers.linear import Int8Linear
from secateur.quantization.layers.recurrent import Int8Recurrent
from secateur.quantization.ranges import Observer, Range
from secateur.quantization.scales import scales_of
from secateur.recovery.rounding import Moments, moved_bias, round_rows

INPUTS = Inputs(Range(-1.0, 1.55))  # 0.01 a code, 0 is code 100


def linear_of(weight, bias=None):
    layer = nn.Linear(len(weight[0]), len(weight), bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        if bias is not None:
            layer.bias.copy_(torch.tensor(bias))
    return layer


def test_a_linear_layer_computed_on_paper():
    # Codes 127 and -50 at 0.01 a step; 0.263 is code 126 - 100 = 26, 9.0 is cut off at 255 - 100 = 155.
    layer = Int8Linear.of(linear_of([[1.27, -0.50]], [0.123456]), INPUTS)
    assert layer.codes.tolist() == [[127, -50]]
    # A unit of the sums is 0.01 * 0.01: the bias is 1235 of them (1234.56).
    assert layer.bias.tolist() == [1235]
    sums = 26 * 127 - 155 * 50 + 1235
    assert float(layer(torch.tensor([0.263, 9.0]))) == pytest.approx(sums * 1e-4, rel=1e-6)


def test_zero_is_met_exactly_by_activations_and_weights():
    layer = Int8Linear.of(linear_of([[0.0, 0.7], [0.0, 0.0]], [0.0, -0.37]), INPUTS)
    assert layer(torch.zeros(2)).tolist() == pytest.approx([0.0, -0.37], abs=1e-6)
    assert layer.codes[:, 0].tolist() == [0, 0]


def test_an_output_without_weights_gives_its_bias():
    # Its scale follows from the bias alone: of weights that are all zero it could be anything.
    layer = Int8Linear.of(linear_of([[0.0], [1.0]], [0.123456789, 3.0]), INPUTS)
    assert layer(torch.ones(1)).tolist() == pytest.approx([0.123456789, 4.0], rel=1e-5)


def by_whole_numbers(x, codes, scale, bias, step, zero):
    """A linear layer in NumPy's int64, as an engine's int32 accumulators would have it."""
    given = np.clip(np.rint(x.astype(np.float32) / np.float32(step)) + zero, 0, 255).astype(np.int64) - zero
    return (given @ codes.T.astype(np.int64) + bias).astype(np.float32) * (np.float32(step) * scale)


@pytest.mark.parametrize("size", [5, 700, 6000])
def test_sums_are_whole_numbers_whatever_the_size(size):
    torch.manual_seed(size)
    layer = nn.Linear(size, 3)
    with torch.no_grad():  # all codes at their ends: the largest sums that there are
        layer.weight.copy_(torch.randint(2, (3, size)) * 2.0 - 1)
    x = torch.rand(4, size) * 2.55 - 1
    made = Int8Linear.of(layer, INPUTS)
    step, zero = (float(v) for v in (made.input_scale, made.input_zero))
    wanted = by_whole_numbers(x.numpy(), made.codes.numpy(), made.scale.numpy(), made.bias.numpy(), step, int(zero))
    assert np.array_equal(made(x).numpy(), wanted)


def test_dynamic_rows_have_ranges_of_their_own():
    layer = Int8Linear.of(linear_of([[1.27, 1.27]]), Inputs())
    found = layer(torch.tensor([[2.55, 0.0], [0.0, -255.0], [0.0, 0.0]])).flatten().tolist()
    assert found == pytest.approx([2.55 * 1.27, -255 * 1.27, 0.0], rel=1e-6)


CONVOLUTIONS = [nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, stride=2, groups=4),
                nn.Conv1d(3, 2, 4, padding="same"),
                nn.Conv2d(3, 2, (3, 5), padding="same", dilation=(2, 1)), nn.Conv1d(3, 6, 3, dilation=2, groups=3),
                nn.Conv2d(3, 2, 3, padding=2, padding_mode="reflect"), nn.Conv2d(3, 2, 3, padding="valid", bias=False)]


@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("inputs", [INPUTS, Inputs()], ids=["static", "dynamic"])
def test_a_convolution_is_the_convolution_of_what_the_codes_stand_for(layer, inputs):
    sides = layer.weight.ndim - 2
    x = torch.rand(2, layer.in_channels, *[9] * sides) * 2.55 - 1
    made = Int8Conv.of(layer, inputs)
    low, high = (torch.full((2,), -1.0), torch.full((2,), 1.55)) if inputs.static else (
        x.flatten(1).amin(1).clamp(max=0), x.flatten(1).amax(1).clamp(min=0))
    step = ((high - low) / TOP).view(-1, *[1] * (sides + 1))
    zero = (-low.view_as(step) / step).round()
    seen = ((x / step).round() + zero).clamp(0, TOP).sub(zero) * step
    with torch.no_grad():
        layer.weight.copy_(made.weight)
        assert made(x).double().numpy() == pytest.approx(layer.double()(seen.double()).numpy(), abs=1e-3)
    layer.float()


@pytest.mark.parametrize("layer", [nn.LSTM(5, 4, 2, bidirectional=True), nn.GRU(5, 4, batch_first=True),
                                   nn.RNN(5, 4), nn.LSTM(5, 4, bias=False)], ids=str)
def test_a_recurrent_layer_with_fine_steps_is_that_of_torch(layer):
    x = torch.rand(6, 3, 5) * 2 - 1
    made = Int8Recurrent.of(layer, Inputs(Range(-1.0, 1.0)))
    count = layer.num_layers * (1 + layer.bidirectional)
    samples = x.shape[0 if layer.batch_first else 1]
    state = [torch.rand(count, samples, 4) for _ in range(2 if layer.mode == "LSTM" else 1)]
    state = tuple(state) if layer.mode == "LSTM" else state[0]
    for given in (None, state):
        (wanted, last), (found, own) = layer(x, given), made(x, given)
        assert (found - wanted).abs().max() < 0.03
        for a, b in zip(*(v if isinstance(v, tuple) else (v,) for v in (last, own)), strict=True):
            assert a.shape == b.shape and (a - b).abs().max() < 0.06
    alone = x[:, 0] if not layer.batch_first else x[0]
    assert (made(alone)[0] - layer(alone)[0]).abs().max() < 0.03


def test_ranges_of_known_values():
    observer = Observer()
    observer.see(torch.cat([torch.linspace(0, 1, 10001), torch.tensor([100.0])]))
    assert observer.range("minmax") == Range(0.0, 100.0)
    assert observer.range("percentile").high == pytest.approx(1.0, abs=1e-3)
    # 10,000 values lose step**2 / 12 each, the outlier what is cut off: 10,000 (h / 255)**2 / 12 + (100 - h)**2 is
    # least where h * (1 + 0.0128) = 100.
    assert observer.range("mse").high == pytest.approx(98.7, abs=1.5)


def test_scales_keep_the_greatest_weight_unless_cutting_it_off_costs_less():
    even, odd = torch.linspace(-1, 1, 255), torch.cat([torch.full((2000,), 0.1003), torch.tensor([0.11])])
    scale = scales_of(even[None])
    assert float(scale) == pytest.approx(1 / 127, rel=1e-3)
    assert float(scales_of(odd[None])) < 0.11 / 127  # 2,000 weights on the grid for one that is cut off


def brute_force(weight, scale, gram):
    """The codes with the least error, of all."""
    best = min(np.ndindex(*[7] * len(weight)), key=lambda c: (lambda e: e @ gram @ e)(
        (np.array(c) - 3) * scale - weight))
    return (np.array(best) - 3) * scale


def test_rounding_in_turn_finds_what_trying_all_codes_finds():
    generator = torch.Generator().manual_seed(3)
    base = torch.randn(400, 2, generator=generator)
    x = torch.cat([base, base @ torch.randn(2, 2, generator=generator)], 1) + 0.1 * torch.randn(
        400, 4, generator=generator)
    x = x - x.mean(0)
    weight, scale = torch.tensor([[0.9, -1.6, 2.4, 0.6]]), torch.tensor([1.0])
    moments = Moments.empty(1, 4, torch.device("cpu"))
    moments.add(x[None], x[None])
    found = round_rows(weight, scale, moments)
    gram = (x.T @ x / 400).double().numpy()
    gram += 0.01 * np.eye(4) * gram.trace() / 4

    def error(codes):
        return (codes - weight[0].numpy()) @ gram @ (codes - weight[0].numpy())

    least, nearest = error(brute_force(weight[0].numpy(), 1.0, gram)), error(weight[0].round().numpy())
    assert error(found[0].numpy()) == pytest.approx(least) and least < 0.6 * nearest


def test_rounding_keeps_zeros_and_makes_up_for_what_its_inputs_have_lost():
    torch.manual_seed(0)
    before = torch.rand(2000, 6)
    now = before * 0.5  # each weight has to double
    weight = torch.tensor([[0.2, 0.0, 0.3, 0.0, 0.1, 0.0]])
    moments = Moments.empty(1, 6, torch.device("cpu"))
    moments.add(now[None], before[None])
    found = round_rows(weight, torch.tensor([0.01]), moments)
    assert found[0, 1::2].tolist() == [0, 0, 0]
    assert found[0, ::2].tolist() == pytest.approx([0.4, 0.6, 0.2], abs=0.04)
    shift = moved_bias(weight, found, moments)
    assert float(shift) == pytest.approx(float((before @ weight[0]).mean() - (now @ found[0]).mean()), abs=1e-6)


def test_compensated_rounding_is_nearer_than_nearest_on_other_inputs():
    torch.manual_seed(0)
    x = torch.randn(2000, 6) @ torch.randn(6, 20)  # inputs that depend on each other
    weight, scale = torch.randn(30, 20), torch.full((30,), 0.25)
    moments = Moments.empty(1, 20, x.device)
    moments.add(x[None, :1000], x[None, :1000])

    def error(rounded):
        return float((x[1000:] @ (rounded - weight).T).square().mean())

    assert error(round_rows(weight, scale, moments)) < 0.2 * error((weight / 0.25).round() * 0.25)
