"""Between pictures and tensors: frames to model input, logits to masks."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

# ImageNet's statistics; SAM's pixel_mean and pixel_std are these times 255.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def prepare_frames(frames: Tensor, image_size: int) -> Tensor:
    """RGB uint8 (N, H, W, 3) -> normalised float32 (N, 3, S, S), on the frames' device.

    Squashed, not padded: the aspect ratio is not kept (the authors' preprocessing).
    """
    mean, std = statistics(frames.device)
    return (resampled(frames.permute(0, 3, 1, 2), (image_size, image_size)) - mean) / std


def resampled(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 (N, 3, H, W) -> float32 (N, 3, *size) of whole numbers: bilinear and antialiased, as Pillow does it.

    Fewer than one in a hundred values is one off Pillow's. A GPU has no such kernel for whole numbers: what it makes
    is rounded once, not after each side, so more of its values are one off.
    """
    if pictures.shape[-2:] != size:
        whole = pictures if pictures.is_cpu else pictures.float()  # which take a third of the time, of 1080p
        pictures = F.interpolate(whole, size, mode="bilinear", align_corners=False, antialias=True)
    return pictures.float().round()


@lru_cache(maxsize=8)
def statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """MEAN and STD for values from 0 to 255, (3, 1, 1); made once, because making them waits for a GPU."""
    with torch.inference_mode(False):  # they serve in training too
        mean, std = (torch.tensor(values, device=device).view(3, 1, 1) * 255 for values in (MEAN, STD))
    return mean, std


def upsample_logits(logits: Tensor, image_size: int, size: tuple[int, int]) -> Tensor:
    """Low-resolution logits (N, h, w) -> (N, H, W) by way of the model's input size.

    Two bilinear steps as in SAM's and the authors' code (one step gives other values).
    """
    x = F.interpolate(logits[:, None], (image_size, image_size), mode="bilinear", align_corners=False)
    return F.interpolate(x, size, mode="bilinear", align_corners=False)[:, 0]
