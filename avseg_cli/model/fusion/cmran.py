"""CMRAN: cross-modal relation-aware network (Xu et al., ACM Multimedia 2020, sections 3.2 and 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avseg_cli.model.config import ModelConfig
from avseg_cli.model.fusion import Fusion


class SpatialChannelAttention(nn.Module):
    """Audio-guided attention, first over channels, then over pixels. The paper pools the pixels; a mask needs them all,
    so they keep their weight (mean 1 over a frame) as well."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.sound_channel, self.pixel_channel = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.squeeze, self.excite = nn.Linear(dim, dim // 4), nn.Linear(dim // 4, dim)
        self.sound_spatial, self.pixel_spatial = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.score = nn.Linear(dim, 1, bias=False)  # a bias would cancel in the softmax

    def forward(self, pixels: Tensor, sound: Tensor) -> tuple[Tensor, Tensor]:
        """pixels (B, T, N, C), sound (B, T, C) -> weighted pixels (B, T, N, C), pooled (B, T, C)."""
        both = F.relu(self.sound_channel(sound))[:, :, None] * F.relu(self.pixel_channel(pixels))
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(both.mean(2)))))  # (B, T, C)
        pixels = pixels * gate[:, :, None]
        both = F.relu(self.sound_spatial(sound))[:, :, None] * F.relu(self.pixel_spatial(pixels))
        weights = self.score(torch.tanh(both)).softmax(2)  # (B, T, N, 1)
        weighted = pixels * weights
        return weighted * pixels.shape[2], weighted.sum(2)


class RelationAwareAttention(nn.Module):
    """A modality queries the memory of both, over time: intra- and inter-modality relations in one softmax."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """(B, T, C) twice -> (B, T, C)."""
        memory = torch.cat([x, other], dim=1)  # (B, 2T, C)
        related, _ = self.attention(x, memory, memory, need_weights=False)
        return self.norm(x + related)


class CMRAN(nn.Module):
    """Attended pixels plus their frame's relation-aware vector; the sound related to what is seen."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.out_chans
        self.attend = SpatialChannelAttention(dim)
        self.relate_pixels = RelationAwareAttention(dim, config.fusion_heads)
        self.relate_sound = RelationAwareAttention(dim, config.fusion_heads)
        self.norm = nn.LayerNorm(dim)

    def forward(self, pixels: Tensor, sound: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """pixels (B, T, N, C), sound (B, T, C) -> the same shapes. Positions are not used."""
        weighted, pooled = self.attend(pixels, sound)
        seen = self.relate_pixels(pooled, sound)
        heard = self.relate_sound(sound, pooled)
        return self.norm(weighted + seen[:, :, None]), heard


FUSION = Fusion(CMRAN)
