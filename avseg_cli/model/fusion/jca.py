"""JCA: joint cross-attention (Praveen et al., CVPR Workshops 2022, section 3.3)."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avseg_cli.model.config import ModelConfig
from avseg_cli.model.fusion import Fusion


class JointAttention(nn.Module):
    """X <- X + W_h relu(W_x X + C W_j J), where C = tanh(X W J^T / sqrt(d)) is the correlation over time with the
    joint feature J = [sound; pixels].

    The paper's weights act along its fixed number of time steps; here they act on channels, so that a
    checkpoint serves clips of any length.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.correlate = nn.Linear(2 * dim, dim, bias=False)
        self.own, self.joint = nn.Linear(dim, dim), nn.Linear(2 * dim, dim, bias=False)
        self.out = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, joint: Tensor) -> Tensor:
        """x (B, T, C), joint (B, T, 2C) -> (B, T, C)."""
        correlation = torch.tanh(x @ self.correlate(joint).transpose(1, 2) / sqrt(joint.shape[-1]))  # (B, T, T)
        attended = F.relu(self.own(x) + correlation @ self.joint(joint))
        return self.norm(x + self.out(attended))


class JCA(nn.Module):
    """Each pixel's sequence, and the sound's, with the joint feature of both."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.pixels, self.sound = JointAttention(config.out_chans), JointAttention(config.out_chans)

    def forward(self, pixels: Tensor, sound: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """pixels (B, T, N, C), sound (B, T, C) -> the same shapes. Positions play no part along time."""
        batch, time, count, dim = pixels.shape
        over_time = pixels.transpose(1, 2).reshape(batch * count, time, dim)
        heard = sound[:, None].expand(-1, count, -1, -1).reshape(batch * count, time, dim)
        seen = self.pixels(over_time, torch.cat([heard, over_time], dim=-1))
        told = self.sound(sound, torch.cat([sound, pixels.mean(2)], dim=-1))
        return seen.view(batch, count, time, dim).transpose(1, 2), told


FUSION = Fusion(JCA)
