"""TPAVI: temporal pixel-wise audio-visual interaction (Zhou et al., Audio-Visual Segmentation, ECCV 2022, 4.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avseg_cli.model.config import ModelConfig
from avseg_cli.model.fusion import Fusion


class TPAVI(nn.Module):
    """One non-local block over all T*N pixels: Z = V + mu(theta(V) phi(A)^T / (T*N) g(V)), A repeated over space.

    A key is the same for all pixels of its frame, so g(V) is averaged over space first; the T*N x T*N
    similarity never exists (exact).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim, inner = config.out_chans, config.out_chans // 2
        self.query, self.key, self.value = nn.Linear(dim, inner), nn.Linear(dim, inner), nn.Linear(dim, inner)
        self.out = nn.Linear(inner, dim)
        self.norm = nn.LayerNorm(dim)
        nn.init.zeros_(self.out.weight)  # the block starts as the identity, as in the paper's code
        nn.init.zeros_(self.out.bias)

    def forward(self, pixels: Tensor, sound: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """pixels (B, T, N, C), sound (B, T, C) -> Z (B, T, N, C), sound unchanged. Positions are not used."""
        values = self.value(pixels).mean(2) / pixels.shape[1]  # (B, S, c): mean over N, then 1 / T
        memory = torch.einsum("bsc,bsd->bcd", self.key(sound), values)  # (B, c, c)
        mixed = torch.einsum("btnc,bcd->btnd", self.query(pixels), memory)
        return self.norm(pixels + self.out(mixed)), sound


FUSION = Fusion(TPAVI)
