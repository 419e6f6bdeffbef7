"""SAM's random-Fourier positional encoding, shared by the mask decoder and ST-BAVA."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor, nn

from avseg_cli.model.float32 import in_float32


class RandomFourierPositions(nn.Module):
    """Parameter name as in segment_anything's ``PositionEmbeddingRandom``."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, dim // 2))

    def forward(self, grid: int) -> Tensor:
        """The encoding of a grid of pixels -> (grid * grid, C), row by row; computed in float32."""
        matrix = self.positional_encoding_gaussian_matrix.float()
        centre = (torch.arange(grid, device=matrix.device, dtype=torch.float32) + 0.5) / grid * 2 - 1
        y, x = torch.meshgrid(centre, centre, indexing="ij")
        with in_float32(matrix.device):
            phase = 2 * pi * torch.stack([x, y], dim=-1).view(-1, 2) @ matrix  # (N, C/2)
        return torch.cat([phase.sin(), phase.cos()], dim=-1)
