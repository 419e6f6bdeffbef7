"""Attention with SAM's decomposed relative position, without the heads x N x N bias where it would be large.

The bias is separable, bias(q, k) = rel_h(q, row of k) + rel_w(q, column of k). On the CPU it is added head by
head and a tile of queries at a time, so that it stays in cache; on CUDA a flash kernel computes it itself:
rel_h and rel_w are appended to q, and one-hot codes of row and column to k.
"""

from __future__ import annotations

from itertools import product
from math import sqrt

import torch
from torch import Tensor
from torch.nn import functional as F

# Queries per tile on the CPU: fewer leave the kernel's threads too little to share, more leave the cache.
TILE = 1024


def relative_position_attention(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """softmax(q·k / sqrt(d) + q·rows[row q, row k] + q·columns[col q, col k]) · v.

    q, k, v are (B, heads, N, d) with N = h*w; rows is (h, h, d), columns (w, w, d), in terms of the
    unscaled query. Returns (B, heads, N, d). Source: segment_anything's ``add_decomposed_rel_pos``.
    """
    grid_q = q.unflatten(2, (rows.shape[0], columns.shape[0]))  # (B, heads, h, w, d)
    rel_h = (grid_q @ rows.transpose(1, 2)).flatten(2, 3)  # (B, heads, N, h)
    rel_w = torch.einsum("bnhwc,wkc->bnhwk", grid_q, columns).flatten(2, 3)  # (B, heads, N, w)
    if q.is_cuda:
        return coded_attention(q, k, v, rel_h, rel_w)
    if q.shape[2] <= TILE:
        bias = (rel_h[..., None] + rel_w[..., None, :]).flatten(3)  # (B, heads, N, N)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    if q.requires_grad or rel_h.requires_grad:  # tiles cannot be differentiated; codes can, without N x N
        return coded_attention(q, k, v, rel_h, rel_w)
    return tiled_attention(q, k, v, rel_h, rel_w)


def tiled_attention(q: Tensor, k: Tensor, v: Tensor, rel_h: Tensor, rel_w: Tensor) -> Tensor:
    """One head and ``TILE`` queries at a time, in buffers that every tile uses again; not differentiable."""
    out = q.new_empty(q.shape)
    bias = q.new_empty(TILE, k.shape[2])
    tiles = [slice(i, min(i + TILE, q.shape[2])) for i in range(0, q.shape[2], TILE)]
    for image, head in product(range(q.shape[0]), range(q.shape[1])):
        one = (slice(image, image + 1), slice(head, head + 1))
        for tile in tiles:
            h, w = rel_h[image, head, tile, :, None], rel_w[image, head, tile, None, :]
            mask = torch.add(h, w, out=bias[: h.shape[0]].view(-1, h.shape[1], w.shape[2])).flatten(1)
            out[*one, tile] = F.scaled_dot_product_attention(q[*one, tile], k[one], v[one], attn_mask=mask)
    return out


def coded_attention(q: Tensor, k: Tensor, v: Tensor, rel_h: Tensor, rel_w: Tensor) -> Tensor:
    """The bias as part of the dot product: [q, rel_h, rel_w] · [k, one-hot row, one-hot column].

    Flash kernels want one width for q, k and v, a multiple of 8, else all three are copied into one: so v is padded,
    and the others' terms with zeros. A head of 80 on 64 x 64 tokens becomes 208, in windows of 14 x 14 112.
    """
    dim, height, width = q.shape[-1], rel_h.shape[-1], rel_w.shape[-1]
    spare = -(dim + height + width) % 8
    place = torch.arange(height * width, device=q.device)
    row = F.one_hot(place // width, height).to(k.dtype)  # (N, h)
    column = F.one_hot(place % width, width + spare).to(k.dtype)  # (N, w)
    codes = torch.cat([row, column], dim=-1).expand(*k.shape[:2], -1, -1)
    scale = 1 / sqrt(dim)
    long_q = torch.cat([q, rel_h / scale, F.pad(rel_w / scale, (0, spare))], dim=-1)
    long_v = F.pad(v, (0, height + width + spare))
    out = F.scaled_dot_product_attention(long_q, torch.cat([k, codes], dim=-1), long_v, scale=scale)
    return out[..., :dim]
