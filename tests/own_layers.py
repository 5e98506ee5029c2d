"""Subclasses of linear layers and convolutions by what their forward computes: the plain formula, or another."""

import torch
from torch import nn


class Equalised(nn.Linear):
    """A weight that is multiplied by a constant (equalised learning rate)."""

    def forward(self, x):
        return nn.functional.linear(x, self.weight * 0.3, self.bias)


class EqualisedConv(nn.Conv2d):
    """The same of a convolution."""

    def forward(self, x):
        return self._conv_forward(x, self.weight * 0.3, self.bias)


class Multiplied(nn.Linear):
    """Outputs times a multiplier (muP)."""

    def forward(self, x):
        return super().forward(x) * 3


class Divided(nn.Linear):
    """An input that is scaled."""

    def forward(self, x):
        return super().forward(x / 4)


class Standardised(nn.Conv2d):
    """A weight of mean 0 and variance 1 in each filter (weight standardisation)."""

    def forward(self, x):
        w = self.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-5)
        return self._conv_forward(x, w, self.bias)


class Centred(nn.Linear):
    """A weight whose rows have no mean; given such a weight it computes the plain formula, for this weight alone."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.weight.data -= self.weight.data.mean(1, keepdim=True)

    def forward(self, x):
        return nn.functional.linear(x, self.weight - self.weight.mean(1, keepdim=True), self.bias)


class PaddedByItself(nn.Conv2d):
    """Padding in the forward (TensorFlow's "same")."""

    def forward(self, x):
        return self._conv_forward(nn.functional.pad(x, (0, 2, 0, 2)), self.weight, self.bias)


class Branched(nn.Linear):
    """A branch of low rank that is added (LoRA)."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.down, self.up = nn.Linear(sizes[0], 2, bias=False), nn.Linear(2, sizes[1], bias=False)

    def forward(self, x):
        return super().forward(x) + 2 * self.up(self.down(x))


class BiasLater(nn.Linear):
    """A bias, zero here, that is returned for others to add (Megatron's ``skip_bias_add``)."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.bias.data.zero_()

    def forward(self, x):
        return nn.functional.linear(x, self.weight)


class Normed(nn.Linear):
    """Rows of length 1 (cosine classifiers)."""

    def forward(self, x):
        return nn.functional.linear(x, nn.functional.normalize(self.weight, dim=1), self.bias)


class Bounded(nn.Linear):
    """A weight that is held within bounds, written back in every call (EEGNet)."""

    def forward(self, x):
        self.weight.data = torch.renorm(self.weight.data, p=2, dim=0, maxnorm=1.0)
        return super().forward(x)


class Signed(nn.Linear):
    """A weight of which only signs count (binary networks)."""

    def forward(self, x):
        return nn.functional.linear(x, self.weight.sign() * self.weight.abs().mean(), self.bias)


class Masked(nn.Linear):
    """A weight under a mask of the layer's own (MADE)."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("mask", torch.ones(sizes[1], sizes[0]).tril())
        self.weight.data *= self.mask

    def forward(self, x):
        return nn.functional.linear(x, self.weight * self.mask, self.bias)


class Activated(nn.Linear):
    """An activation in the layer itself."""

    def forward(self, x):
        return torch.tanh(super().forward(x))


class Residual(nn.Linear):
    """An input that is added to the outputs."""

    def forward(self, x):
        return x + super().forward(x)


class Paired(nn.Linear):
    """Outputs and bias as a pair."""

    def forward(self, x):
        return nn.functional.linear(x, self.weight), self.bias


class PaddedInConv(nn.Conv2d):
    """Padding where only torch's inner function is another."""

    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(nn.functional.pad(x, (1, 1, 1, 1), value=1.0), weight, bias)


class Written(nn.Linear):
    """The plain formula in other words."""

    def forward(self, x):
        return x @ self.weight.T + self.bias


class Summed(nn.Linear):
    """The plain formula as a sum of products."""

    def forward(self, x):
        return torch.einsum("...i,oi->...o", x, self.weight) + self.bias


class Renamed(nn.Linear):
    """A subclass that leaves the forward as it is."""


class Documented(nn.Linear):
    """A forward that only passes on, with another name for its input."""

    def forward(self, features):
        return super().forward(features)


class Scaled(nn.Linear):
    """A factor that is 1."""

    def forward(self, x):
        return super().forward(x * 1.0) * 1.0


class Unfolded(nn.Conv2d):
    """A convolution by its windows and a product."""

    def forward(self, x):
        rows = nn.functional.unfold(x, self.kernel_size, self.dilation, self.padding, self.stride)
        return (self.weight.flatten(1) @ rows + self.bias[:, None]).unflatten(2, (x.shape[2], x.shape[3]))


class Cast(nn.Linear):
    """Weights that are cast to the type of the input."""

    def forward(self, x):
        return nn.functional.linear(x, self.weight.to(x.dtype), self.bias.to(x.dtype))


LINEAR = {cls.__name__: cls for cls in (Equalised, Multiplied, Divided, Centred, Branched, BiasLater, Normed, Bounded,
                                        Signed, Masked, Activated, Residual)}
CONV = {cls.__name__: cls for cls in (EqualisedConv, Standardised, PaddedByItself, PaddedInConv)}
PLAIN_LINEAR = {cls.__name__: cls for cls in (Written, Summed, Renamed, Documented, Scaled, Cast)}
PLAIN_CONV = {cls.__name__: cls for cls in (Unfolded,)}


def own_network(cls):
    """A network of three such layers, in evaluation mode, and samples for it: no plain layer makes up for them."""
    torch.manual_seed(0)
    if issubclass(cls, nn.Conv2d):
        pad = 0 if cls in (PaddedByItself, PaddedInConv) else 1
        layers = [cls(3, 6, 3, padding=pad), nn.ReLU(), cls(6, 6, 3, padding=pad), nn.ReLU(), cls(6, 5, 3, padding=pad)]
        return nn.Sequential(*layers).eval(), torch.randn(64, 3, 8, 8)
    layers = [cls(16, 16), nn.ReLU(), cls(16, 16), nn.ReLU(), cls(16, 16)]
    return nn.Sequential(*layers).eval(), torch.randn(256, 16)


def classifier():
    """16-12-8-4, as :func:`support.tiny` is, its second layer times a constant."""
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), Multiplied(12, 8), nn.ReLU(), nn.Linear(8, 4))


def dilated(net):
    """A network with its convolutions dilated after they were made, as encoders of DeepLab are: no stride, as large."""
    for conv in (m for m in net.modules() if isinstance(m, nn.Conv2d)):
        conv.stride, conv.dilation = (1, 1), (2, 2)
        conv.padding = tuple(k // 2 * 2 for k in conv.kernel_size)
    return net
