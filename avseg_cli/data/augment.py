"""Augmentation of clips: off in the paper's recipe, on where a backbone is trained from little data."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from avseg_cli.data.dataset import Sample
from avseg_cli.data.subsets import MASK_SIZE

SMALLEST_CROP = 0.6  # of the side
JITTER = 0.3  # brightness, contrast and saturation are multiplied by 1 ± this


def augment(sample: Sample, generator: torch.Generator) -> Sample:
    """A random crop, flip and colour change, the same for all frames of the clip.

    The crop is left at its own size: the model's own resize brings it to size, so pictures are resampled once.
    """

    def draw() -> float:
        return float(torch.rand((), generator=generator))

    top, left, share = draw(), draw(), SMALLEST_CROP + (1 - SMALLEST_CROP) * draw()
    flip = draw() < 0.5
    colour = [1 + JITTER * (2 * draw() - 1) for _ in range(3)]

    def cut(x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        h, w = max(1, round(height * share)), max(1, round(width * share))
        y, x0 = round((height - h) * top), round((width - w) * left)
        piece = x[:, y : y + h, x0 : x0 + w]
        return piece.flip(2) if flip else piece

    frames = None if sample.frames is None else _recolour(cut(sample.frames), *colour)
    masks = None if sample.masks is None else nearest(cut(sample.masks), MASK_SIZE)
    maps = None if sample.object_maps is None else cut(sample.object_maps)
    return replace(sample, frames=frames, masks=masks, object_maps=maps)


def nearest(x: Tensor, size: int) -> Tensor:
    """Labels (T, H, W) to (T, size, size) without inventing values."""
    return F.interpolate(x[:, None].float(), (size, size), mode="nearest-exact")[:, 0].to(x.dtype)


def _recolour(frames: Tensor, brightness: float, contrast: float, saturation: float) -> Tensor:
    x = frames.float()  # (T, H, W, 3)
    gray = x.mean(-1, keepdim=True)
    x = gray + (x - gray) * saturation
    x = (x - x.mean()) * contrast + x.mean()
    return (x * brightness).round().clamp(0, 255).to(torch.uint8)
