"""ST-BAVA: spatio-temporal bidirectional audio-visual attention (Seon et al., ICIP 2024, section 3.3).

The equations are those of the paper; the order of operations is exact algebra (tests compare with
nn.MultiheadAttention over repeated tokens). With T frames, N pixels and one audio token a frame:

* keys that are the same for every pixel are folded with the query projection: logits = pixels · M;
* a mean over pixels commutes with values and output projection: average the small weights, not the values;
* one key makes the softmax exactly 1; one query is folded into the keys and the pixels are pooled first;
* what is constant along a softmax axis (biases, the pixel's position along time) cancels in it.
* on the CPU, GELU and residuals belong to the linear layer before them, which can do both in one pass (linear.py).

Dropout acts on attention weights as in nn.MultiheadAttention, so training uses the same form.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avseg_cli.model.config import ModelConfig
from avseg_cli.model.fusion import Fusion
from avseg_cli.model.linear import GeluLinear, ResidualLinear

# Pixels of every frame that a CPU takes through temporal attention together.
CHUNK = 512


def in_parts(work: Callable[..., Tensor], dim: int, size: int, pixels: Tensor, *others: Tensor) -> Tensor:
    """``work`` on (B, T, N, C) and what goes with it, ``size`` of ``dim`` at a time: it must not mix along it.

    Only one part's temporaries are ever held, and ``pixels`` is overwritten. In training and on CUDA: all at
    once, and nothing is overwritten.
    """
    if not _works_in_parts(pixels):
        return work(pixels, *others)
    for part, *rest in zip(*(tensor.split(size, dim) for tensor in (pixels, *others)), strict=True):
        part.copy_(work(part.contiguous(), *rest))
    return pixels


def _works_in_parts(pixels: Tensor) -> bool:
    return not pixels.is_cuda and not torch.is_grad_enabled()


class CrossModalAttention(nn.Module):
    """One multi-head attention, used from sound to pixels and from pixels to sound with the same weights.

    Parameter names and layout are those of nn.MultiheadAttention.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.watch: Callable[[str, Tensor], None] | None = None  # told each direction's weights (see attention_maps.py)
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = ResidualLinear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def _heads(self, part: int, x: Tensor) -> Tensor:
        """Projection ``part`` (0 query, 1 key, 2 value) of (..., C) -> (..., h, d)."""
        weight, bias = self.in_proj_weight.chunk(3)[part], self.in_proj_bias.chunk(3)[part]
        return F.linear(x, weight, bias).unflatten(-1, (self.num_heads, -1))

    def _folded(self, part: int, heads: Tensor) -> Tensor:
        """(..., h, d) seen through projection ``part``: vectors m with pixel·m = project(pixel)·heads / sqrt(d)."""
        weight = self.in_proj_weight.chunk(3)[part].unflatten(0, (self.num_heads, -1))  # (h, d, C)
        return torch.einsum("...hd,hdc->...hc", heads, weight) / sqrt(heads.shape[-1])

    def _drop(self, direction: str, weights: Tensor) -> Tensor:
        if self.watch is not None:
            self.watch(direction, weights)
        return F.dropout(weights, self.dropout, self.training)

    def sound_over_time(self, pixels: Tensor, positions: Tensor, sound_keys: Tensor, sound: Tensor) -> Tensor:
        """Mean over pixels of temporal attention: each pixel's T queries look at the T audio tokens.

        pixels (B, T, N, C), positions (N, C), sound_keys and sound (B, T, C) -> (B, T, C).
        """
        keys = self._heads(1, sound_keys)  # (B, S, h, d)
        folded = self._folded(0, keys).flatten(1, 2)  # (B, S*h, C)
        query_bias = self.in_proj_bias.chunk(3)[0].unflatten(0, (self.num_heads, -1))
        constant = (keys * query_bias).sum(-1) / sqrt(keys.shape[-1])  # (B, S, h)
        everywhen = folded @ positions.mT + constant.flatten(1)[..., None]  # (B, S*h, N): alike in every frame
        logits = folded[:, None] @ pixels.mT + everywhen[:, None]  # (B, T, S*h, N)
        weights = logits.unflatten(2, keys.shape[1:3]).softmax(2)  # (B, T, S, h, N), over S
        weights = self._drop("sound_over_time", weights).mean(-1)  # (B, T, S, h): mean over pixels
        out = torch.einsum("btsh,bshd->bthd", weights, self._heads(2, sound))
        return self.out_proj(out.flatten(-2))

    def sound_over_space(self, sound: Tensor, tokens: int) -> Tensor:
        """Mean over pixels of spatial attention to the frame's one audio token: softmax of one key is 1.

        sound (B, T, C), tokens N -> (B, T, C). The image has no say in it.
        """
        value = self._heads(2, sound)  # (B, T, h, d)
        if self.training and self.dropout:
            ones = value.new_ones(*value.shape[:3], tokens)
            value = value * self._drop("sound_over_space", ones).mean(-1, keepdim=True)
        return self.out_proj(value.flatten(-2))

    def pixels_over_time(self, sound_queries: Tensor, pixels: Tensor) -> Tensor:
        """Pixels plus temporal attention: each pixel's T values, mixed as the T audio queries ask of its keys.

        sound_queries (B, T, C), pixels (B, S = T, N, C) -> (B, T, N, C). The position along N cancels in the softmax.
        """
        queries = self._heads(0, sound_queries)  # (B, T, h, d)
        folded = self._folded(1, queries).flatten(1, 2)  # (B, T*h, C)
        logits = pixels @ folded[:, None].mT  # (B, S, N, T*h)
        weights = logits.unflatten(-1, queries.shape[1:3]).softmax(1)  # (B, S, N, T, h), over S
        weights = self._drop("pixels_over_time", weights)
        out = torch.einsum("bsnth,bsnhd->btnhd", weights, self._heads(2, pixels))
        return self.out_proj(out.flatten(-2), pixels)

    def pixels_over_space(self, sound_queries: Tensor, pixels: Tensor, positions: Tensor) -> Tensor:
        """Spatial attention: one audio query a frame over the N pixels, pooled before it is projected.

        sound_queries (B, T, C), pixels (B, T, N, C), positions (N, C) -> (B, T, C), the same for every pixel.
        """
        queries = self._heads(0, sound_queries)
        folded = self._folded(1, queries)  # (B, T, h, C)
        logits = (pixels @ folded.mT + positions @ folded.mT).mT  # (B, T, h, N)
        weights = self._drop("pixels_over_space", logits.softmax(-1))
        pooled = weights @ pixels  # (B, T, h, C)
        value_weight = self.in_proj_weight.chunk(3)[2].unflatten(0, (self.num_heads, -1))  # (h, d, C)
        value_bias = self.in_proj_bias.chunk(3)[2].unflatten(0, (self.num_heads, -1))
        out = torch.einsum("bthc,hdc->bthd", pooled, value_weight) + weights.sum(-1, keepdim=True) * value_bias
        return self.out_proj(out.flatten(-2))


class ResidualMLP(nn.Module):
    """x + MLP(x), where MLP is Linear C -> C, GELU, Linear C -> C."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.lin1 = GeluLinear(dim, dim)
        self.lin2 = ResidualLinear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(self.lin1(x), x)


class STBAVABlock(nn.Module):
    """One block; residuals are post-norm and the visual update sees the updated audio (the order matters)."""

    def __init__(self, dim: int, num_heads: int, temporal: bool = True, bidirectional: bool = True) -> None:
        super().__init__()
        self.audio_mlp, self.visual_mlp = ResidualMLP(dim), ResidualMLP(dim)
        self.norm_audio_mlp, self.norm_visual_mlp = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.temporal_attention = CrossModalAttention(dim, num_heads) if temporal else None
        self.spatial_attention = CrossModalAttention(dim, num_heads)
        self.bidirectional = bidirectional
        if bidirectional:
            self.norm_audio_temporal = nn.LayerNorm(dim) if temporal else None
            self.norm_audio_spatial = nn.LayerNorm(dim)
            self.audio_out_mlp, self.norm_audio_out = ResidualMLP(dim), nn.LayerNorm(dim)
        self.norm_visual_temporal = nn.LayerNorm(dim) if temporal else None
        self.norm_visual_spatial = nn.LayerNorm(dim)
        self.visual_out_mlp, self.norm_visual_out = ResidualMLP(dim), nn.LayerNorm(dim)

    def forward(self, pixels: Tensor, sound: Tensor, positions: Tensor, sound_0: Tensor) -> tuple[Tensor, Tensor]:
        """pixels (B, T, N, C), sound (B, T, C), positions P_v (N, C), sound_0 P_a (B, T, C) -> the same shapes."""
        sound = self.norm_audio_mlp(self.audio_mlp(sound))
        pixels = in_parts(lambda frame: self.norm_visual_mlp(self.visual_mlp(frame)), 1, 1, pixels)
        if self.bidirectional:
            sound = self._update_sound(pixels, sound, positions, sound_0)
        return self._update_pixels(pixels, sound, positions, sound_0), sound

    def _update_sound(self, pixels: Tensor, sound: Tensor, positions: Tensor, sound_0: Tensor) -> Tensor:
        """Visual-queried audio A_vq."""
        if self.temporal_attention is not None and self.norm_audio_temporal is not None:
            heard = self.temporal_attention.sound_over_time(pixels, positions, sound + sound_0, sound)
            sound = self.norm_audio_temporal(sound + heard)
        heard = self.spatial_attention.sound_over_space(sound, pixels.shape[2])
        sound = self.norm_audio_spatial(sound + heard)
        return self.norm_audio_out(self.audio_out_mlp(sound))

    def _update_pixels(self, pixels: Tensor, sound: Tensor, positions: Tensor, sound_0: Tensor) -> Tensor:
        """Audio-queried vision V_aq."""
        queries = sound + sound_0
        if self.temporal_attention is not None:
            pixels = in_parts(lambda some: self._heard_over_time(some, queries), 2, CHUNK, pixels)
        seen = self.spatial_attention.pixels_over_space(queries, pixels, positions)  # (B, T, C)
        return in_parts(self._heard_over_space, 1, 1, pixels, seen)

    def _heard_over_time(self, pixels: Tensor, queries: Tensor) -> Tensor:
        assert self.temporal_attention is not None and self.norm_visual_temporal is not None
        return self.norm_visual_temporal(self.temporal_attention.pixels_over_time(queries, pixels))

    def _heard_over_space(self, pixels: Tensor, seen: Tensor) -> Tensor:
        pixels = self.norm_visual_spatial(pixels + seen[:, :, None])
        return self.norm_visual_out(self.visual_out_mlp(pixels))


class STBAVA(nn.Module):
    """L blocks, then the audio's initial feature once more: A_vq = A_L + A_0."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            STBAVABlock(config.out_chans, config.fusion_heads, config.temporal, config.bidirectional)
            for _ in range(config.fusion_depth)
        )

    def forward(self, pixels: Tensor, sound: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """pixels (B, T, N, C), sound A_0 (B, T, C), positions (N, C) -> V_aq (B, T, N, C), A_vq (B, T, C)."""
        sound_0 = sound
        if _works_in_parts(pixels):  # which overwrites them
            pixels = pixels.clone(memory_format=torch.contiguous_format)
        for block in self.blocks:
            pixels, sound = block(pixels, sound, positions, sound_0)
        return pixels, sound + sound_0


# so narrow that a pass for GELU and one for the residual weigh more than MKL
FUSION = Fusion(STBAVA, packed=True)
