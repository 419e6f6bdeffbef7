"""The weights of an image encoder for inputs of another size than those it was trained on.

As work on SAM does it: positions of tokens are interpolated bilinearly, distances between tokens linearly in the blocks
that attend over the whole grid. Windows stay as they are and are padded as ever.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F

from avseg_cli.model.config import ModelConfig

POSITIONS = "image_encoder.pos_embed"
DISTANCES = re.compile(r"image_encoder\.blocks\.(\d+)\.attn\.rel_pos_[hw]")


def at_image_size(state: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """``state`` (our names) for the input size of ``config``; every tensor that fits already is the same one."""
    fitted = dict(state)
    for name, values in state.items():
        distances = DISTANCES.fullmatch(name)
        if name == POSITIONS:
            fitted[name] = _positions(values, config.grid)
        elif distances and int(distances[1]) in config.global_blocks:
            fitted[name] = _distances(values, 2 * config.grid - 1)
    return fitted


def _positions(values: Tensor, grid: int) -> Tensor:
    """(1, g, g, C) -> (1, grid, grid, C)."""
    if values.shape[1:3] == (grid, grid):
        return values
    planes = F.interpolate(values.permute(0, 3, 1, 2), (grid, grid), mode="bilinear", align_corners=False)
    return planes.permute(0, 2, 3, 1).contiguous()


def _distances(values: Tensor, count: int) -> Tensor:
    """(2g - 1, d) -> (count, d)."""
    if len(values) == count:
        return values
    return F.interpolate(values.T[None], count, mode="linear", align_corners=False)[0].T.contiguous()
