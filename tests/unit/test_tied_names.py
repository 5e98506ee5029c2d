"""A tensor under two names: what is said of one name is said of the tensor, whichever comes first."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import secateur as sc

WORDS = torch.randint(30, (2, 5), generator=torch.Generator().manual_seed(0))


class Language(nn.Module):
    """Words in, words out; the embedding is the head, and one of them is the first in the network."""

    def __init__(self, first: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        parts = {"embedding": nn.Embedding(30, 16), "head": nn.Linear(16, 30, bias=False)}
        self.add_module(first, parts.pop(first))
        self.a, self.b = nn.Linear(16, 32), nn.Linear(32, 16)
        for name, part in parts.items():
            self.add_module(name, part)
        self.embedding.weight = self.head.weight

    def forward(self, x: Tensor) -> Tensor:
        """A score for every word."""
        h = self.embedding(x)
        return self.head(h + self.b(torch.relu(self.a(h))))  # type: ignore[no-any-return]


@pytest.mark.parametrize("said", [{"skip": ["embedding"]}, {"skip": ["head"]}, {"skip": ["emb.*"]},
                                  {"skip": (), "layers": {"embedding": 0}}, {"skip": (), "layers": {"head": 0}},
                                  {"skip": (), "layers": {"embedding": {"skip": True}}}, {}])
@pytest.mark.parametrize("first", ["embedding", "head"])
def test_weights_of_the_tensor_stay(first: str, said: dict[str, Any]) -> None:
    small: Any = sc.prune(Language(first).eval(), 0.5, example=WORDS, **said)
    assert small.embedding.weight is small.head.weight
    assert int((small.head.weight == 0).sum()) == 0
    assert int((small.a.weight == 0).sum()) == 256


@pytest.mark.parametrize("said", [{"skip": ["embedding"]}, {"skip": ["head"]}, {"layers": {"head": {"skip": True}}},
                                  {"layers": {"embedding": {"skip": True}}}])
@pytest.mark.parametrize("first", ["embedding", "head"])
def test_its_width_stays_and_the_units_elsewhere_go(first: str, said: dict[str, Any]) -> None:
    small: Any = sc.prune(Language(first).eval(), 0.5, granularity="neuron", example=WORDS, **said)
    assert small.embedding.weight.shape == small.head.weight.shape == (30, 16)
    assert small.a.weight.shape == (16, 16)


@pytest.mark.parametrize("layers", [{"emb.*": 0, "hea.": 0.3}, {"embedding": 0, "head": 0.3}])
def test_what_two_names_say_must_agree(layers: dict[str, float]) -> None:
    with pytest.raises(sc.SecateurError, match="sparsity of 'head' is ambiguous|sparsity of 'embedding' is ambiguous"):
        sc.prune(Language("head").eval(), 0.5, example=WORDS, skip=(), layers=layers)


def test_a_sparsity_that_one_name_has_is_that_of_the_tensor() -> None:
    layers = {"a": 0.25, "embedding": 0.125}
    small: Any = sc.prune(Language("embedding").eval(), 0.5, example=WORDS, skip=(), layers=layers)
    assert int((small.head.weight == 0).sum()) == 60
    assert int((small.a.weight == 0).sum()) == 128
