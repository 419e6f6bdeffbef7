"""Attention with SAM's decomposed relative position, without the heads x N x N bias where it would be large."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Rows of queries per tile: the scores of a tile stay in cache instead of going through memory.
TILE = 512


def relative_position_attention(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """softmax(q·k / sqrt(d) + q·rows[row q, row k] + q·columns[col q, col k]) · v.

    q, k, v are (B, heads, N, d) with N = h*w; rows is (h, h, d), columns (w, w, d), in terms of the
    unscaled query. Returns (B, heads, N, d). Source: segment_anything's ``add_decomposed_rel_pos``.
    """
    batch, heads, tokens, dim = q.shape
    height, width = rows.shape[0], columns.shape[0]
    grid_q = q.reshape(batch, heads, height, width, dim)
    rel_h = torch.einsum("bnhwc,hkc->bnhwk", grid_q, rows).reshape(batch, heads, tokens, height, 1)
    rel_w = torch.einsum("bnhwc,wkc->bnhwk", grid_q, columns).reshape(batch, heads, tokens, 1, width)
    if tokens <= 2 * TILE:
        bias = (rel_h + rel_w).view(batch, heads, tokens, tokens)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    return torch.cat(
        [
            F.scaled_dot_product_attention(
                q[:, :, i : i + TILE], k, v,
                attn_mask=(rel_h[:, :, i : i + TILE] + rel_w[:, :, i : i + TILE]).flatten(3),
            )
            for i in range(0, tokens, TILE)
        ],
        dim=2,
    )  # fmt: skip
