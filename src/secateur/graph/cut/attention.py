"""``nn.MultiheadAttention`` with fewer heads than its width asks for: torch's own ties one to the other."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class CutAttention(nn.MultiheadAttention):
    """Multi-head attention whose heads do not fill the width: the same parameters and the same call.

    A cut puts it in place of the class that it derives from; ``head_dim`` and ``num_heads`` are free.
    """

    def forward(self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None,
                need_weights: bool = True, attn_mask: Tensor | None = None, average_attn_weights: bool = True,
                is_causal: bool = False) -> tuple[Tensor, Tensor | None]:
        """Shapes and meaning as in :class:`torch.nn.MultiheadAttention`."""
        batched = query.dim() == 3
        q, k, v = (t if batched else t.unsqueeze(0 if self.batch_first else 1) for t in (query, key, value))
        if not self.batch_first:
            q, k, v = (t.transpose(0, 1) for t in (q, k, v))
        q, k, v = (self.heads(t) for t in self.project(q, k, v))
        mask = self.mask(q, k, key_padding_mask, attn_mask, is_causal)
        scores = q @ k.transpose(-2, -1) / self.head_dim**0.5
        weights = torch.softmax(scores if mask is None else scores + mask, -1)
        mixed = F.dropout(weights, self.dropout, self.training) @ v
        out = self.out_proj(mixed.transpose(1, 2).flatten(2))
        out = out if self.batch_first else out.transpose(0, 1)
        shown = weights.mean(1) if average_attn_weights else weights
        if not batched:
            out, shown = out.squeeze(0 if self.batch_first else 1), shown.squeeze(0)
        return out, shown if need_weights else None

    def project(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values from the packed or the separate weights."""
        weights = (self.in_proj_weight.chunk(3) if self.in_proj_weight is not None
                   else (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight))
        biases = self.in_proj_bias.chunk(3) if self.in_proj_bias is not None else (None, None, None)
        return tuple(F.linear(t, w, b) for t, w, b in zip((q, k, v), weights, biases, strict=True))

    def heads(self, t: Tensor) -> Tensor:
        """``(batch, length, heads * size)`` to ``(batch, heads, length, size)``."""
        return t.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)

    def per_head(self, mask: Tensor, batch: int) -> Tensor:
        """A mask of ``(batch * heads, length, length)`` for the heads that are left.

        Raises:
            ValueError: it differs between heads and is for another number of them.
        """
        mask = mask.unflatten(0, (batch, -1))
        if mask.shape[1] == self.num_heads:
            return mask
        if not bool((mask == mask[:, :1]).all()):
            raise ValueError(f"the mask differs between {mask.shape[1]} heads, {self.num_heads} are left")
        return mask[:, :1]

    def mask(self, q: Tensor, k: Tensor, padding: Tensor | None, mask: Tensor | None, causal: bool) -> Tensor | None:
        """One additive mask from all, or none."""
        if causal and mask is None:
            mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).triu(1)
        mask = _additive(mask, q)
        if mask is not None and mask.dim() == 3:
            mask = self.per_head(mask, q.shape[0])
        padding = _additive(padding, q)
        if padding is None:
            return mask
        return padding[:, None, None] if mask is None else mask + padding[:, None, None]


def _additive(mask: Tensor | None, like: Tensor) -> Tensor | None:
    """A mask of booleans (true: not attended) as numbers to add."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, dtype=like.dtype, device=like.device).masked_fill(mask, -torch.inf)
