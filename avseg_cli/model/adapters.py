"""Audio adapters: what a frame sounds like, added to every token of every encoder block (paper eq. 4.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AudioAdapters(nn.Module):
    """For block j a Linear + GELU of its own, then one Linear shared by all blocks (SAMA-AVS's design).

    The shared Linear starts at zero: untrained adapters leave the encoder as it was.
    """

    def __init__(self, depth: int, embed_dim: int, audio_dim: int = 128, hidden_dim: int = 512) -> None:
        super().__init__()
        self.own = nn.ModuleList(nn.Linear(audio_dim, hidden_dim) for _ in range(depth))
        self.shared = nn.Linear(hidden_dim, embed_dim)
        nn.init.zeros_(self.shared.weight)
        nn.init.zeros_(self.shared.bias)

    def forward(self, sound: Tensor) -> Tensor:
        """(B, audio_dim) raw VGGish vectors -> (depth, B, embed_dim), the term each block's input gets."""
        hidden = torch.stack([nn.functional.gelu(own(sound)) for own in self.own])  # (depth, B, hidden)
        return self.shared(hidden)
