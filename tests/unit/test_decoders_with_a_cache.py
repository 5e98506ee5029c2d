"""Decoders of Hugging Face return a cache by default: they are cut, compiled, saved and exported all the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import sweep
from torch import nn

import secateur as sc
from secateur.graph.cut.graph_module import ExportedNetwork

transformers: Any = pytest.importorskip("transformers")


def llama(layers: int = 2) -> nn.Module:
    """Layers of grouped-query attention."""
    config = transformers.LlamaConfig(vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=layers,
                                      num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=32,
                                      bos_token_id=1, eos_token_id=2, pad_token_id=0)
    return transformers.LlamaForCausalLM(config).eval()  # type: ignore[no-any-return]


def gpt2(layers: int = 2) -> nn.Module:
    """Layers with learned positions and a tied head."""
    config = transformers.GPT2Config(vocab_size=50, n_positions=32, n_embd=32, n_layer=layers, n_head=4, bos_token_id=1,
                                     eos_token_id=2, pad_token_id=0)
    return transformers.GPT2LMHeadModel(config).eval()  # type: ignore[no-any-return]


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.fixture(params=[llama, gpt2])
def decoder(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return request.param()  # type: ignore[no-any-return]


IDS = torch.randint(3, 50, (2, 9), generator=torch.Generator().manual_seed(0))


def test_the_whole_decoder_is_cut_and_generates_with_its_cache(decoder: Any) -> None:
    plan = sc.plan(decoder, 0.5, granularity="neuron", example=IDS)
    small: Any = sc.apply(decoder, plan)
    assert any("traced with config.use_cache=False" in note for note in plan.notes)
    assert decoder.config.use_cache and small.config.use_cache
    assert not isinstance(small, ExportedNetwork)
    assert parameters(small) < 0.4 * parameters(decoder)
    assert small(IDS).past_key_values is not None
    mask = torch.ones_like(IDS)
    cached, anew = (small.generate(IDS, attention_mask=mask, max_new_tokens=8, min_new_tokens=8, do_sample=False,
                                   use_cache=use_cache) for use_cache in (True, False))
    assert torch.equal(cached, anew)


def test_without_the_cache_the_same_is_cut(decoder: Any) -> None:
    with_cache = sc.prune(decoder, 0.5, granularity="neuron", example=IDS)
    decoder.config.use_cache = False
    plan = sc.plan(decoder, 0.5, granularity="neuron", example=IDS)
    without = sc.apply(decoder, plan)
    assert not any("cache" in note for note in plan.notes)
    assert {n: p.shape for n, p in with_cache.named_parameters()} == {n: p.shape for n, p in without.named_parameters()}
    assert torch.equal(with_cache(IDS).logits, without(IDS).logits)


@pytest.mark.parametrize("make", sweep([llama, gpt2], lambda make: make is llama))
def test_it_is_compiled_saved_and_exported(make: Any, tmp_path: Any) -> None:
    """One layer: each of the three traces the network anew."""
    torch.manual_seed(0)
    decoder = make(layers=1)
    compiled = sc.compile(decoder, IDS)
    assert compiled.engine == "kernels"
    torch.testing.assert_close(compiled(IDS).logits, decoder(IDS).logits, atol=1e-5, rtol=1e-4)
    sc.save(decoder, tmp_path / "net.safetensors", example=IDS)
    loaded = sc.load(tmp_path / "net.safetensors")
    assert torch.allclose(loaded(IDS)["logits"], decoder(IDS).logits, atol=1e-5)
    assert sc.export(decoder, tmp_path / "net.onnx", IDS).is_file()
    assert decoder.config.use_cache


def test_a_failure_puts_the_setting_back(decoder: Any) -> None:
    with pytest.raises(sc.SecateurError):
        sc.plan(decoder, 0.5, granularity="neuron", example=IDS.float())
    assert decoder.config.use_cache
