"""The zoo of ``benchmarks/structures.py``: tiny transformers, timm and torchvision networks with random weights.

Every entry is ``(family, name, make)``, where ``make()`` gives a network and its example.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

Entry = tuple[str, str, Callable[[], tuple[nn.Module, Any]]]

SIZES = {
    "hidden_size": 48, "d_model": 48, "n_embd": 48, "dim": 48, "embed_dim": 48, "embedding_size": 48, "d_embed": 48,
    "num_hidden_layers": 2, "n_layer": 2, "num_layers": 2, "n_layers": 2, "encoder_layers": 2, "decoder_layers": 2,
    "num_encoder_layers": 2, "num_decoder_layers": 2, "num_attention_heads": 4, "n_head": 4, "n_heads": 4,
    "num_heads": 4, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 12, "d_kv": 12, "intermediate_size": 80, "d_ff": 80, "n_inner": 80, "ffn_dim": 80, "hidden_dim": 80,
    "encoder_ffn_dim": 80, "decoder_ffn_dim": 80, "vocab_size": 99, "max_position_embeddings": 64, "n_positions": 64,
    "max_seq_len": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
    "image_size": 32, "patch_size": 8, "num_labels": 5, "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4,
    "num_experts_per_tok": 2, "moe_intermediate_size": 40, "type_vocab_size": 2, "state_size": 8, "expand": 2,
    "mlp_dim": 80, "d_inner": 80, "dim_head": 12, "num_mel_bins": 16, "max_source_positions": 32, "vision_layers": 2,
    "rotary_dim": 4, "kv_channels": 12, "ffn_hidden_size": 80, "q_lora_rank": 20, "kv_lora_rank": 16,
    "qk_rope_head_dim": 4, "qk_nope_head_dim": 8, "v_head_dim": 12, "qk_head_dim": 12, "lru_width": 48,
    "attention_window_size": 16, "mamba_d_state": 8, "time_step_rank": 4, "num_feature_levels": 1,
    "vision_feature_layer": -1, "projection_dim": 24, "conv_dim": (16, 16), "conv_stride": (4, 2),
    "conv_kernel": (8, 4), "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4, "encoder_hidden_size": 48, "use_cache": False, "max_length": 16,
    "initializer_range": 0.02, "decoder_layers_num": 2, "n_ctx": 64, "num_groups": 1, "shared_intermediate_size": 80,
    "expert_ffn_hidden_size": 40, "n_shared_experts": 1, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1,
    "global_attn_every_n_layers": 2, "sliding_window": 32, "attention_head_size": 12, "d_head": 12,
}

MOST_TINY = 30_000_000
HEADS = [("sequence", "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING"), ("causal", "MODEL_FOR_CAUSAL_LM_MAPPING"),
         ("seq2seq", "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING"), ("masked", "MODEL_FOR_MASKED_LM_MAPPING"),
         ("image", "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING"), ("audio", "MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING"),
         ("ctc", "MODEL_FOR_CTC_MAPPING"), ("segment", "MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING"),
         ("base", "MODEL_MAPPING")]
ORDER = {"encdec": ["seq2seq"],
         "": ["causal", "sequence", "masked", "seq2seq", "image", "audio", "ctc", "segment", "base"]}


def stub_torchvision() -> None:
    """Declare the operators without which torchvision's CPU build of another platform does not import."""
    try:
        import torchvision
    except RuntimeError:
        import sys

        for name in [n for n in sys.modules if n.startswith("torchvision")]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        globals()["_library"] = library
        import torchvision  # noqa: F401


def shrink(config: Any) -> Any:
    """A configuration with small sizes in place of its own, sub-configurations too."""
    kind = type(config)
    known = {k: v for k, v in SIZES.items() if hasattr(config, k) and settable(config, k)}
    known = {k: v for k, v in known.items() if isinstance(getattr(config, k), (int, float, tuple, list, type(None)))}
    for key in [k for k in known if isinstance(getattr(config, k), (tuple, list))]:
        value = getattr(config, key)
        if not isinstance(known[key], tuple):
            known[key] = [known[key]] * min(len(value), 2) if key not in ("num_heads", "image_size") else value
    parts = {k: shrink(v) for k, v in vars(config).items() if hasattr(v, "to_dict") and k.endswith("config")}
    for part in parts:
        known.pop(part, None)
    for layers in ("layer_types", "layers_block_type"):
        types = getattr(config, layers, None)
        if isinstance(types, (list, tuple)) and settable(config, layers):
            known[layers] = ([*dict.fromkeys(types)] * 2)[:2]
    try:
        return kind(**known, **parts)
    except Exception:
        for key, value in {**known, **parts}.items():
            if settable(config, key):
                setattr(config, key, value)
        return config


def settable(config: Any, name: str) -> bool:
    """Whether an attribute of a configuration can be set."""
    found = getattr(type(config), name, None)
    return not (isinstance(found, property) and found.fset is None)


def example_for(kind: str, model: nn.Module, config: Any) -> dict[str, torch.Tensor]:
    """Inputs for a network's forward, by the names of its arguments."""
    names = inspect.signature(model.forward).parameters
    draw = torch.Generator().manual_seed(1)
    text = getattr(config, "text_config", config)
    vocab = getattr(text, "vocab_size", 99) if isinstance(getattr(text, "vocab_size", 99), int) else 99
    tokens = torch.randint(5, min(vocab, 90), (2, 14), generator=draw)
    given: dict[str, torch.Tensor] = {}
    vision = getattr(config, "vision_config", config)
    if "pixel_values" in names:
        size = getattr(vision, "image_size", 32)
        size = size if isinstance(size, (tuple, list)) else (size, size)
        given["pixel_values"] = torch.randn(2, getattr(vision, "num_channels", 3), *size, generator=draw)
    if "input_features" in names:
        mels, length = getattr(config, "num_mel_bins", 16), 2 * getattr(config, "max_source_positions", 32)
        whisper = config.model_type == "whisper"
        given["input_features"] = torch.randn(*((2, mels, length) if whisper else (2, length, mels)), generator=draw)
    if "input_values" in names and "input_ids" not in names:
        mel = "max_length" in vars(config) and config.model_type == "audio-spectrogram-transformer"
        given["input_values"] = torch.randn(*((2, config.max_length, config.num_mel_bins) if mel else (2, 800)),
                                            generator=draw)
    if "input_ids" in names:
        given["input_ids"] = tokens
    if "decoder_input_ids" in names and kind in ("seq2seq", "base"):
        given["decoder_input_ids"] = tokens[:, :9].contiguous()
    return given


def transformers_zoo() -> Iterator[Entry]:
    """One network for every architecture of transformers that can be made tiny."""
    stub_torchvision()
    import transformers.modeling_utils  # noqa: F401
    import transformers.models.auto.modeling_auto as auto
    from transformers import logging
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    logging.set_verbosity_error()
    mappings = {kind: getattr(auto, name) for kind, name in HEADS}
    classes = {kind: list(mapping.keys()) for kind, mapping in mappings.items()}
    for name in list(CONFIG_MAPPING.keys()):
        def make(name: str = name) -> tuple[nn.Module, Any]:
            kind_of = CONFIG_MAPPING[name]
            config = shrink(kind_of())
            for attribute, value in (("use_cache", False), ("num_labels", 5)):
                if settable(config, attribute):
                    setattr(config, attribute, value)
            config._attn_implementation = "sdpa"
            errors = []
            order = ORDER["encdec"] if getattr(config, "is_encoder_decoder", False) else []
            for kind in [*order, *ORDER[""]]:
                if kind_of in classes[kind]:
                    made = mappings[kind][kind_of]
                    for cls in made if isinstance(made, (tuple, list)) else [made]:
                        try:
                            return built(cls, kind, config)
                        except Exception as error:
                            errors.append(f"{cls.__name__}: {type(error).__name__}: {str(error)[:150]}")
            raise RuntimeError("; ".join(errors[:3]) or "no class")
        yield "transformers", name, make


def built(cls: Any, kind: str, config: Any) -> tuple[nn.Module, Any]:
    """A network with its example, run once; its size is looked at before it takes memory, where it can be."""
    torch.manual_seed(0)
    try:
        with torch.device("meta"):
            size = sum(p.numel() for p in cls(config).parameters())
    except Exception:
        size = 0
    if size > MOST_TINY:
        raise RuntimeError("too large")
    torch.manual_seed(0)
    try:
        model = cls(config).eval()
    except ValueError as error:
        if "sdpa" not in str(error).lower() and "attention" not in str(error).lower():
            raise
        config._attn_implementation = "eager"
        model = cls(config).eval()
    if sum(p.numel() for p in model.parameters()) > MOST_TINY:
        raise RuntimeError("too large")
    example = example_for(kind, model, config)
    with torch.no_grad():
        model(**example)
    return model, example


LARGEST = 35_000_000
TIMM_SKIP = ("_in21k", "_384", "_512", "_448")


def timm_zoo() -> Iterator[Entry]:
    """The smallest networks of every module of timm, three at most."""
    stub_torchvision()
    import timm

    for module in timm.list_modules():
        names = timm.list_models(module=module)
        for name in smallest(names):
            yield "timm", name, lambda name=name: timm_model(timm, name)


def smallest(names: list[str]) -> list[str]:
    """The three models of a module whose names promise the least size."""
    small = ("test", "atto", "femto", "pico", "nano", "tiny", "_t", "_s0", "xxs", "xs", "small", "18", "_s", "b0")
    plain = [n for n in names if not any(s in n for s in TIMM_SKIP)]
    return sorted(plain, key=lambda n: (next((i for i, s in enumerate(small) if s in n), len(small)), len(n), n))[:3]


def timm_model(timm: Any, name: str) -> tuple[nn.Module, Any]:
    """A network of timm with few classes, on the smallest images that it takes."""
    with torch.device("meta"):
        if sum(p.numel() for p in timm.create_model(name, num_classes=7).parameters()) > LARGEST:
            raise RuntimeError("too large")
    torch.manual_seed(0)
    errors = []
    for size in (64, 96, 128, None):
        try:
            options = {"img_size": size} if size else {}
            try:
                model = timm.create_model(name, num_classes=7, **options).eval()
            except TypeError:
                model = timm.create_model(name, num_classes=7).eval()
            side = size or model.default_cfg["input_size"][-1]
            example = torch.randn(2, 3, side, side)
            with torch.no_grad():
                model(example)
            return model, example
        except Exception as error:
            errors.append(f"{size}: {type(error).__name__}: {str(error)[:100]}")
    raise RuntimeError("; ".join(errors))


def torchvision_zoo() -> Iterator[Entry]:
    """Classification, segmentation and video networks of torchvision."""
    stub_torchvision()
    import torchvision.models as zoo

    names = ["alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet",
             "inception_v3", "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf",
             "regnet_y_400mf", "resnet18", "resnet50", "resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_1",
             "swin_t", "swin_v2_t", "vgg11", "vgg11_bn", "vit_b_16", "wide_resnet50_2"]
    sizes = {"inception_v3": 299, "maxvit_t": 224, "vit_b_16": 224}
    for name in names:
        yield "torchvision", name, lambda name=name: vision_model(zoo, name, sizes.get(name, 64))
    for name in ("deeplabv3_mobilenet_v3_large", "fcn_resnet50", "lraspp_mobilenet_v3_large"):
        yield "torchvision", name, lambda name=name: (
            getattr(zoo.segmentation, name)(weights=None, weights_backbone=None, num_classes=7).eval(),
            torch.randn(2, 3, 64, 64))
    for name in ("r3d_18", "mc3_18", "r2plus1d_18"):
        yield "torchvision", name, lambda name=name: (
            getattr(zoo.video, name)(num_classes=7).eval(), torch.randn(2, 3, 4, 32, 32))


def vision_model(zoo: Any, name: str, size: int) -> tuple[nn.Module, Any]:
    """A network of torchvision with few classes."""
    torch.manual_seed(0)
    options = {"init_weights": False, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    return getattr(zoo, name)(num_classes=7, **options).eval(), torch.randn(2, 3, size, size)


def traps_zoo() -> Iterator[Entry]:
    """The small networks of the test suite: shape arithmetic, reused modules, in-place, views of views, and so on."""
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    import networks

    for name, make in networks.NETWORKS.items():
        yield "traps", name, make
