"""SAM's image encoder (ViTDet) with audio adapters, written for speed; exact (tests compare with segment_anything).

Two identities carry the speed. A token that only pads a window has the qkv bias as its qkv, so only
real tokens are projected. And SAM's relative position is separable, bias(q, k) = rel_h(q, row of k) +
rel_w(q, column of k), so it is added tile by tile and the heads x N x N tensor never exists.
Parameter names are those of segment_anything's ``ImageEncoderViT``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from avseg_cli.base.errors import CheckpointError
from avseg_cli.model.adapters import AudioAdapters
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.linear import GeluLinear
from avseg_cli.model.relative_attention import relative_position_attention


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of (B, C, H, W), eps as in SAM."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class MLP(nn.Module):
    """Linear, GELU, Linear."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.lin1 = GeluLinear(dim, hidden_dim)
        self.lin2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(self.lin1(x))


class PatchEmbed(nn.Module):
    """SAM's patch embedding: a convolution whose stride is its kernel is a matrix product."""

    def __init__(self, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, embed_dim, patch_size, stride=patch_size)

    def forward(self, frames: Tensor) -> Tensor:
        side = self.proj.kernel_size[0]
        patches = frames.unflatten(2, (-1, side)).unflatten(4, (-1, side))  # (B, 3, g, p, g, p)
        patches = patches.permute(0, 2, 4, 1, 3, 5).flatten(3)  # (B, g, g, 3*p*p)
        return F.linear(patches, self.proj.weight.flatten(1), self.proj.bias)  # (B, g, g, C)


def normed_conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution and batch norm."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs))


class Residual(nn.Module):
    """Two normed convolutions beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = normed_conv(channels, channels), normed_conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x + self.conv2(F.gelu(self.conv1(x))))


class ConvStem(nn.Module):
    """Down to tokens of 8 pixels by convolutions: learns from far fewer images than a patch embedding."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.down1, self.down2 = normed_conv(3, 32, 2), normed_conv(32, 64, 2)
        self.fine = Residual(64)
        self.down3 = normed_conv(64, embed_dim, 2)
        self.coarse = nn.Sequential(*(Residual(embed_dim) for _ in range(2)))

    def forward(self, frames: Tensor) -> Tensor:
        x = self.fine(F.gelu(self.down2(F.gelu(self.down1(frames)))))
        x = self.coarse(F.gelu(self.down3(x)))
        return x.permute(0, 2, 3, 1).contiguous()  # (B, g, g, C)


def pairwise(rel_pos: Tensor) -> Tensor:
    """(2n - 1, d), one vector per distance -> (n, n, d), one per pair [q, k]: rel_pos[q - k + n - 1]."""
    n = (rel_pos.shape[0] + 1) // 2
    places = torch.arange(n, device=rel_pos.device)
    return rel_pos[places[:, None] - places[None, :] + n - 1]


def _conv_stem(config: ModelConfig) -> ConvStem:
    if config.patch_size != 8:
        raise CheckpointError("the conv stem makes tokens of 8 pixels; patch_size must be 8")
    return ConvStem(config.embed_dim)


STEMS: dict[str, Callable[[ModelConfig], nn.Module]] = {
    "patch": lambda config: PatchEmbed(config.patch_size, config.embed_dim),
    "conv": _conv_stem,
}


def build_stem(config: ModelConfig) -> nn.Module:
    """What makes tokens of frames: (B, 3, S, S) -> (B, g, g, C). Raises ``CheckpointError`` for an unknown stem."""
    if config.stem not in STEMS:
        raise CheckpointError(f"stem is {config.stem!r}, not one of {', '.join(STEMS)}")
    return STEMS[config.stem](config)


class Attention(nn.Module):
    """Attention with decomposed relative position over windows, or over the whole grid (window 0)."""

    def __init__(self, dim: int, num_heads: int, window: int, grid: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window = window
        size = window or grid
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * size - 1, dim // num_heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * size - 1, dim // num_heads))

    def forward(self, x: Tensor) -> Tensor:
        """(B, g, g, C) -> (B, g, g, C)."""
        qkv = self.qkv(x)  # real tokens only
        if self.window:
            qkv = self._into_windows(qkv)  # (B * windows, w, w, 3C)
        batch, height, width, _ = qkv.shape
        q, k, v = qkv.view(batch, height * width, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        rows, columns = pairwise(self.rel_pos_h), pairwise(self.rel_pos_w)
        out = relative_position_attention(q, k, v, rows, columns)  # (B', nh, N, hd)
        out = out.transpose(1, 2).reshape(batch, height, width, -1)
        if self.window:
            out = self._out_of_windows(out, x.shape)
        return self.proj(out)

    def _into_windows(self, qkv: Tensor) -> Tensor:
        """(B, g, g, 3C) -> (B * n * n, w, w, 3C); padded tokens get the qkv bias, as SAM's zero padding gives."""
        batch, grid, _, channels = qkv.shape
        w, n = self.window, -(-grid // self.window)
        if n * w != grid:
            padded = qkv.new_empty(batch, n * w, n * w, channels)
            padded[:, :grid, :grid] = qkv
            padded[:, grid:] = padded[:, :grid, grid:] = self.qkv.bias.to(qkv.dtype)
            qkv = padded
        qkv = qkv.view(batch, n, w, n, w, channels).transpose(2, 3)
        return qkv.reshape(batch * n * n, w, w, channels)

    def _out_of_windows(self, x: Tensor, shape: torch.Size) -> Tensor:
        batch, grid, _, channels = shape
        w, n = self.window, -(-grid // self.window)
        x = x.view(batch, n, n, w, w, channels).transpose(2, 3).reshape(batch, n * w, n * w, channels)
        return x[:, :grid, :grid]


class Block(nn.Module):
    """Pre-norm transformer block of ViTDet."""

    def __init__(self, dim: int, num_heads: int, window: int, grid: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads, window, grid)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLP(dim, 4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def _twice(block: Block, x: Tensor) -> Tensor:
    """``block(x)``, computed again for its gradients rather than kept; nothing in it is random."""
    return checkpoint(block, x, use_reentrant=False, preserve_rng_state=False)


class ImageEncoder(nn.Module):
    """Frames (and the sound of each, through the adapters) -> image embeddings."""

    packed = ("blocks",)  # for inference on a CPU: the modules whose linear layers are packed
    channels_last = False  # and whether its convolutions run pixel by pixel

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        grid, dim = config.grid, config.embed_dim
        self.patch_embed = build_stem(config)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, dim))
        self.blocks = nn.ModuleList(
            Block(dim, config.num_heads, 0 if j in config.global_blocks else config.window_size, grid)
            for j in range(config.depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(dim, config.out_chans, 1, bias=False),
            LayerNorm2d(config.out_chans),
            nn.Conv2d(config.out_chans, config.out_chans, 3, padding=1, bias=False),
            LayerNorm2d(config.out_chans),
        )
        self.adapters = (
            AudioAdapters(config.depth, dim, config.audio_dim, config.adapter_dim) if config.adapters else None
        )
        self.recompute = False  # activation checkpointing, switched on by training

    @property
    def dtype(self) -> torch.dtype:
        """The precision in which frames and sound are taken."""
        return self.pos_embed.dtype

    def forward(self, frames: Tensor, sound: Tensor | None = None) -> Tensor:
        """(B, 3, S, S) normalised, (B, audio_dim) raw VGGish or None (adapters off) -> (B, C, g, g)."""
        x = self.patch_embed(frames) + self.pos_embed
        heard = self.adapters(sound) if self.adapters is not None and sound is not None else None
        for j, block in enumerate(self.blocks):
            if heard is not None:
                x = x + heard[j][:, None, None, :]
            x = _twice(block, x) if self.recompute and x.requires_grad else block(x)
        return self.neck(x.permute(0, 3, 1, 2))
