"""Small networks of every family that the graph room must take, and traps, by name: ``name -> (network, example)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Make = Callable[[], tuple[nn.Module, Any]]
NETWORKS: dict[str, Make] = {}


def network(function: Make) -> Make:
    NETWORKS[function.__name__.replace("_", "-")] = function
    return function


class Wrap(nn.Module):
    """A network from modules and a function that calls them."""

    def __init__(self, call: Callable[..., Tensor], **parts: Any):
        super().__init__()
        self.call = call
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.call(self, *inputs)


def image(channels: int = 3, size: int = 12) -> Tensor:
    return torch.randn(2, channels, size, size)


def head(channels: int, classes: int = 5) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


@network
def mlp() -> tuple[nn.Module, Any]:
    return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 8), nn.GELU(), nn.Linear(8, 3)), torch.randn(4, 6)


@network
def convolutions_and_flatten() -> tuple[nn.Module, Any]:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 6, 3), nn.Flatten(),
                         nn.Linear(54, 4)), image()


@network
def batch_norms() -> tuple[nn.Module, Any]:
    return nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True), head(8)), image()


class Block(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.one, self.two = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.two(F.relu(self.norm(self.one(x)))))


@network
def residual() -> tuple[nn.Module, Any]:
    return nn.Sequential(nn.Conv2d(3, 8, 3), Block(8), Block(8), head(8)), image()


@network
def residual_in_place() -> tuple[nn.Module, Any]:
    def call(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x)
        y = m.body(x)
        y += x
        return m.head(y.relu_())
    return Wrap(call, stem=nn.Conv2d(3, 8, 3), body=nn.Conv2d(8, 8, 1), head=head(8)), image()


@network
def dense_block() -> tuple[nn.Module, Any]:
    def call(m: Any, x: Tensor) -> Tensor:
        features = [m.stem(x)]
        for layer in m.layers:
            features.append(F.relu(layer(torch.cat(features, 1))))
        return m.head(torch.cat(features, 1))
    layers = nn.ModuleList(nn.Conv2d(8 + 4 * i, 4, 3, padding=1) for i in range(3))
    return Wrap(call, stem=nn.Conv2d(3, 8, 3), layers=layers, head=head(20)), image()


@network
def inception() -> tuple[nn.Module, Any]:
    def call(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x)
        return m.head(torch.cat([m.a(x), m.b(x), F.max_pool2d(x, 3, 1, 1)], 1))
    return Wrap(call, stem=nn.Conv2d(3, 8, 3), a=nn.Conv2d(8, 6, 1), b=nn.Conv2d(8, 4, 3, padding=1),
                head=head(18)), image()


@network
def depthwise() -> tuple[nn.Module, Any]:
    return nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 16, 3, groups=8),
                         nn.Conv2d(16, 6, 1), head(6)), image()


@network
def grouped() -> tuple[nn.Module, Any]:
    return nn.Sequential(nn.Conv2d(3, 16, 1), nn.Conv2d(16, 24, 3, groups=4), nn.ReLU(), nn.Conv2d(24, 6, 1),
                         head(6)), image()


@network
def squeeze_excite() -> tuple[nn.Module, Any]:
    def call(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x)
        return m.head(x * torch.sigmoid(m.up(F.relu(m.down(x.mean((2, 3), keepdim=True))))))
    return Wrap(call, stem=nn.Conv2d(3, 8, 3), down=nn.Conv2d(8, 4, 1), up=nn.Conv2d(4, 8, 1), head=head(8)), image()


@network
def channel_shuffle() -> tuple[nn.Module, Any]:
    def call(m: Any, x: Tensor) -> Tensor:
        x = m.mix(m.stem(x))
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return m.head(m.last(x))
    return Wrap(call, stem=nn.Conv2d(3, 8, 1), mix=nn.Conv2d(8, 8, 3, groups=2), last=nn.Conv2d(8, 8, 1, groups=2),
                head=head(8)), image()


@network
def group_norm() -> tuple[nn.Module, Any]:
    return nn.Sequential(nn.Conv2d(3, 12, 3), nn.GroupNorm(4, 12), nn.SiLU(), nn.Conv2d(12, 6, 1), head(6)), image()


@network
def instance_norm() -> tuple[nn.Module, Any]:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8, affine=True), nn.ReLU(), nn.Conv2d(8, 6, 1),
                         head(6)), image()


@network
def layer_norm() -> tuple[nn.Module, Any]:
    return nn.Sequential(nn.Linear(6, 12), nn.LayerNorm(12), nn.ReLU(), nn.Linear(12, 3)), torch.randn(4, 6)


class RMS(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-6).to(x.dtype)


@network
def rms_norm_by_hand() -> tuple[nn.Module, Any]:
    return nn.Sequential(nn.Linear(6, 12), RMS(12), nn.Linear(12, 3)), torch.randn(4, 6)


@network
def prelu() -> tuple[nn.Module, Any]:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.PReLU(8), nn.Conv2d(8, 6, 1), nn.PReLU(), head(6)), image()


@network
def glu() -> tuple[nn.Module, Any]:
    return nn.Sequential(nn.Linear(6, 16), nn.GLU(), nn.Linear(8, 3)), torch.randn(4, 6)


@network
def transposed_convolution() -> tuple[nn.Module, Any]:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 12, 2, stride=2), nn.BatchNorm2d(12), nn.ReLU(),
                         nn.ConvTranspose2d(12, 12, 2, groups=4), nn.Conv2d(12, 2, 1)), image()


@network
def pixel_shuffle() -> tuple[nn.Module, Any]:
    return nn.Sequential(nn.Conv2d(3, 24, 3), nn.PixelShuffle(2), nn.ReLU(), nn.Conv2d(6, 2, 3)), image()


@network
def unet() -> tuple[nn.Module, Any]:
    def call(m: Any, x: Tensor) -> Tensor:
        one = F.relu(m.down(x))
        two = F.relu(m.middle(F.max_pool2d(one, 2)))
        return m.out(torch.cat([one, F.interpolate(two, scale_factor=2)], 1))
    return Wrap(call, down=nn.Conv2d(3, 8, 3, padding=1), middle=nn.Conv2d(8, 10, 3, padding=1),
                out=nn.Conv2d(18, 2, 1)), image()


@network
def one_dimension() -> tuple[nn.Module, Any]:
    return nn.Sequential(nn.Conv1d(4, 8, 3), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 6, 3), nn.AdaptiveAvgPool1d(1),
                         nn.Flatten(), nn.Linear(6, 3)), torch.randn(2, 4, 20)


@network
def three_dimensions() -> tuple[nn.Module, Any]:
    return nn.Sequential(nn.Conv3d(2, 8, 3), nn.BatchNorm3d(8), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
                         nn.Linear(8, 3)), torch.randn(2, 2, 6, 6, 6)


@network
def weight_norm() -> tuple[nn.Module, Any]:
    norm = nn.utils.parametrizations.weight_norm
    return nn.Sequential(norm(nn.Linear(6, 12)), nn.ReLU(), norm(nn.Linear(12, 3))), torch.randn(4, 6)


@network
def bilinear() -> tuple[nn.Module, Any]:
    def call(m: Any, x: Tensor) -> Tensor:
        return m.out(m.pair(m.a(x), m.b(x)))
    return Wrap(call, a=nn.Linear(6, 8), b=nn.Linear(6, 10), pair=nn.Bilinear(8, 10, 12),
                out=nn.Linear(12, 3)), torch.randn(4, 6)


def recurrent(kind: Any, **options: Any) -> tuple[nn.Module, Any]:
    def call(m: Any, x: Tensor) -> Tensor:
        return m.out(m.cell(m.embed(x))[0].mean(1))
    cell = kind(10, 12, batch_first=True, **options)
    width = (options.get("proj_size") or 12) * (2 if options.get("bidirectional") else 1)
    return Wrap(call, embed=nn.Linear(6, 10), cell=cell, out=nn.Linear(width, 3)), torch.randn(2, 7, 6)


@network
def lstm() -> tuple[nn.Module, Any]:
    return recurrent(nn.LSTM, num_layers=2)


@network
def lstm_both_ways() -> tuple[nn.Module, Any]:
    return recurrent(nn.LSTM, num_layers=2, bidirectional=True)


@network
def lstm_projected() -> tuple[nn.Module, Any]:
    return recurrent(nn.LSTM, proj_size=8)


@network
def gru() -> tuple[nn.Module, Any]:
    return recurrent(nn.GRU, bidirectional=True)


@network
def plain_rnn() -> tuple[nn.Module, Any]:
    return recurrent(nn.RNN, num_layers=2)


class Attention(nn.Module):
    """Self-attention with packed or separate projections, grouped keys and rotary positions, as asked."""

    def __init__(self, width: int = 24, heads: int = 4, kv_heads: int | None = None, rotary: bool = False,
                 packed: bool = False, eager: bool = False):
        super().__init__()
        self.num_heads, self.kv_heads, self.head_dim = heads, kv_heads or heads, width // heads
        self.rotary, self.packed, self.eager = rotary, packed, eager
        if packed:
            self.qkv = nn.Linear(width, 3 * width)
        else:
            self.q = nn.Linear(width, heads * self.head_dim)
            self.k, self.v = (nn.Linear(width, self.kv_heads * self.head_dim) for _ in range(2))
        self.o = nn.Linear(heads * self.head_dim, width)
        frequencies = 100.0 ** -(torch.arange(self.head_dim // 2) / (self.head_dim // 2))
        self.register_buffer("frequencies", frequencies)

    def forward(self, x: Tensor) -> Tensor:
        n, length, _ = x.shape
        if self.packed:
            parts = self.qkv(x).reshape(n, length, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
            q, k, v = parts.unbind(0)
        else:
            q, k, v = (p(x).view(n, length, -1, self.head_dim).transpose(1, 2) for p in (self.q, self.k, self.v))
        if self.rotary:
            angle = torch.outer(torch.arange(length, dtype=x.dtype), self.frequencies)
            cos, sin = torch.cat([angle, angle], -1).cos(), torch.cat([angle, angle], -1).sin()
            q, k = (t * cos + turned(t) * sin for t in (q, k))
        if self.kv_heads != self.num_heads:
            repeat = self.num_heads // self.kv_heads
            k, v = (t[:, :, None].expand(-1, -1, repeat, -1, -1).reshape(n, -1, length, self.head_dim) for t in (k, v))
        mixed = softmax_attention(q, k, v) if self.eager else F.scaled_dot_product_attention(q, k, v)
        return self.o(mixed.transpose(1, 2).reshape(n, length, -1))


def turned(t: Tensor) -> Tensor:
    one, two = t[..., :t.shape[-1] // 2], t[..., t.shape[-1] // 2:]
    return torch.cat([-two, one], -1)


def softmax_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.softmax(q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5, -1) @ v


class Layer(nn.Module):
    def __init__(self, width: int = 24, **options: Any):
        super().__init__()
        self.attention = Attention(width, **options)
        self.one, self.two = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 40), nn.Linear(40, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.one(x))
        return x + self.down(F.gelu(self.up(self.two(x))))


def language(**options: Any) -> tuple[nn.Module, Any]:
    layers = [Layer(**options) for _ in range(2)]
    body = nn.Sequential(nn.Embedding(30, 24), *layers, nn.LayerNorm(24), nn.Linear(24, 30))
    return body, torch.arange(18).view(2, 9)


@network
def attention() -> tuple[nn.Module, Any]:
    return language()


@network
def attention_by_hand() -> tuple[nn.Module, Any]:
    return language(eager=True)


@network
def packed_attention() -> tuple[nn.Module, Any]:
    return language(packed=True)


@network
def grouped_query_attention() -> tuple[nn.Module, Any]:
    return language(kv_heads=2)


@network
def multi_query_attention() -> tuple[nn.Module, Any]:
    return language(kv_heads=1)


@network
def rotary_attention() -> tuple[nn.Module, Any]:
    return language(kv_heads=2, rotary=True)


@network
def torch_encoder() -> tuple[nn.Module, Any]:
    def call(m: Any, x: Tensor) -> Tensor:
        return m.out(m.body(m.embed(x)).mean(1))
    layer = nn.TransformerEncoderLayer(24, 4, 40, batch_first=True)
    return Wrap(call, embed=nn.Linear(6, 24), body=nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
                out=nn.Linear(24, 3)), torch.randn(2, 7, 6)


@network
def cross_attention() -> tuple[nn.Module, Any]:
    def call(m: Any, x: Tensor, y: Tensor) -> Tensor:
        x, y = m.left(x), m.right(y)
        return m.out(m.mix(x, y, y, need_weights=False)[0])
    mix = nn.MultiheadAttention(24, 4, kdim=10, vdim=10, batch_first=True)
    return Wrap(call, left=nn.Linear(6, 24), right=nn.Linear(5, 10), mix=mix,
                out=nn.Linear(24, 3)), (torch.randn(2, 7, 6), torch.randn(2, 4, 5))


@network
def tied_embeddings() -> tuple[nn.Module, Any]:
    def call(m: Any, x: Tensor) -> Tensor:
        return m.out(F.gelu(m.body(m.embed(x))))
    embed, out = nn.Embedding(20, 12), nn.Linear(12, 20, bias=False)
    out.weight = embed.weight
    return Wrap(call, embed=embed, body=nn.Linear(12, 12), out=out), torch.arange(8).view(2, 4)


@network
def relative_positions() -> tuple[nn.Module, Any]:
    class Biased(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.num_heads = 4
            self.qkv, self.o = nn.Linear(24, 72), nn.Linear(24, 5)
            self.table = nn.Parameter(torch.randn(13, 4))
            self.register_buffer("index", torch.arange(7)[:, None] - torch.arange(7)[None] + 6)

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = self.qkv(x).reshape(2, 7, 3, self.num_heads, 6).permute(2, 0, 3, 1, 4)
            bias = self.table[self.index.view(-1)].view(7, 7, -1).permute(2, 0, 1)
            scores = torch.softmax(q @ k.transpose(-2, -1) * 6**-0.5 + bias, -1)
            return self.o((scores @ v).transpose(1, 2).flatten(2))
    return nn.Sequential(nn.Linear(6, 24), Biased()), torch.randn(2, 7, 6)


@network
def windows() -> tuple[nn.Module, Any]:
    def call(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x).permute(0, 2, 3, 1)
        n, h, w, c = x.shape
        x = torch.roll(x, (-1, -1), (1, 2)).view(n, h // 3, 3, w // 3, 3, c).permute(0, 1, 3, 2, 4, 5)
        x = m.body(x.reshape(-1, 9, c)).view(n, h // 3, w // 3, 3, 3, c).permute(0, 1, 3, 2, 4, 5)
        return m.head(x.reshape(n, h, w, c).permute(0, 3, 1, 2))
    return Wrap(call, stem=nn.Conv2d(3, 24, 1), body=Layer(), head=head(24)), image(size=6)


@network
def mixture_of_experts() -> tuple[nn.Module, Any]:
    def call(m: Any, x: Tensor) -> Tensor:
        x = m.embed(x)
        weights = torch.softmax(m.router(x), -1)
        hidden = F.silu(torch.einsum("nlc,ech->nleh", x, m.up))
        return m.out(torch.einsum("nleh,ehc,nle->nlc", hidden, m.down, weights))
    return Wrap(call, embed=nn.Linear(6, 12), router=nn.Linear(12, 4), up=nn.Parameter(torch.randn(4, 12, 20)),
                down=nn.Parameter(torch.randn(4, 20, 12)), out=nn.Linear(12, 3)), torch.randn(2, 5, 6)


@network
def state_space() -> tuple[nn.Module, Any]:
    def call(m: Any, x: Tensor) -> Tensor:
        inner, gate = m.project(x).chunk(2, -1)
        decay, state, outs = torch.exp(-torch.exp(m.decay)), 0.0, []
        for t in range(x.shape[1]):
            state = state * decay + inner[:, t, :, None] * m.write(x[:, t])[:, None]
            outs.append((state * m.read(x[:, t])[:, None]).sum(-1))
        return m.out(torch.stack(outs, 1) * F.silu(gate))
    return Wrap(call, project=nn.Linear(6, 24), decay=nn.Parameter(torch.randn(12, 4)), write=nn.Linear(6, 4),
                read=nn.Linear(6, 4), out=nn.Linear(12, 3)), torch.randn(2, 5, 6)


@network
def reused_module() -> tuple[nn.Module, Any]:
    def call(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x)
        for _ in range(3):
            x = F.relu(m.body(x))
        return m.head(x)
    return Wrap(call, stem=nn.Conv2d(3, 8, 3), body=nn.Conv2d(8, 8, 3, padding=1), head=head(8)), image()


@network
def shape_arithmetic() -> tuple[nn.Module, Any]:
    def call(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x)
        n, c, h, w = x.shape
        return m.out(x.reshape(n, c * h, w).mean(-1).view(n, c, h).sum(2) / c)
    return Wrap(call, stem=nn.Conv2d(3, 8, 3), out=nn.Linear(8, 3)), image()


@network
def sizes_in_the_code() -> tuple[nn.Module, Any]:
    def call(m: Any, x: Tensor) -> Tensor:
        x = F.relu(m.stem(x)).view(-1, 8, 100)
        return m.out(x.transpose(1, 2).reshape(-1, 100, 8).mean(1))
    return Wrap(call, stem=nn.Conv2d(3, 8, 3), out=nn.Linear(8, 3)), image()


@network
def views_of_views() -> tuple[nn.Module, Any]:
    def call(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x)
        part = x[:, 4:]
        part.mul_(2.0)
        return m.head(x)
    return Wrap(call, stem=nn.Conv2d(3, 8, 3), head=head(8)), image()


@network
def slices() -> tuple[nn.Module, Any]:
    def call(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x)
        return m.head(torch.cat([x[:, :3] * 2, torch.tanh(x[:, 3:])], 1))
    return Wrap(call, stem=nn.Conv2d(3, 8, 3), head=head(8)), image()


@network
def grad_mode_region() -> tuple[nn.Module, Any]:
    def call(m: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = m.stem(x)
        return m.head(F.relu(m.body(x)))
    return Wrap(call, stem=nn.Conv2d(3, 8, 3), body=nn.Conv2d(8, 6, 1), head=head(6)), image()
