"""Is a face in the picture: MediaPipe's full-range face detector (BlazeFace; Bazarevsky et al., 2019), its scores only.

A picture is looked at whole, from afar (for faces that fill it), and square by square along its longer side (for
small ones). Blocks narrow, filter and widen; coarse features are added to finer ones on the way back.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avseg_cli.model.efficientnet import SameConv
from avseg_cli.model.transforms import resampled

SIDE = 192  # pixels of the input
STEM = 32
FAR = 3  # times a picture's longer side that the view from afar is wide
# (narrow, wide, stride) of the blocks up to strides 4, 8, 16 and 32
STAGES = (
    ((8, 32, 1), (8, 32, 1), (12, 48, 2), (12, 48, 1), (16, 64, 1)),
    ((24, 96, 2), (32, 128, 1), (32, 128, 1)),
    ((36, 144, 2), (48, 192, 1), (64, 256, 1)),
    ((96, 384, 2), (96, 384, 1), (96, 384, 1), (96, 384, 1)),
)
BACK = ((96, 2), (64, 2), (48, 1))  # channels and blocks at strides 16, 8 and 4 on the way back


class NarrowBlock(nn.Module):
    """Filter, narrow, filter, widen; added to what came in, which gets zeros for channels that it lacks."""

    def __init__(self, inputs: int, narrow: int, wide: int, stride: int = 1) -> None:
        super().__init__()
        self.filter1, self.narrow = SameConv(inputs, inputs, 3, stride, groups=inputs), SameConv(inputs, narrow, 1)
        self.filter2, self.widen = SameConv(narrow, narrow, 3, groups=narrow), SameConv(narrow, wide, 1)
        self.stride, self.more = stride, wide - inputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.widen(self.filter2(F.relu(self.narrow(self.filter1(x)))))
        same = F.max_pool2d(x, 2) if self.stride == 2 else x
        return F.relu(y + F.pad(same, (0, 0, 0, 0, 0, self.more)))


class Joined(nn.Module):
    """Coarse features, brought to twice their size, and finer ones, both in ``width`` channels, through blocks."""

    def __init__(self, coarse: int, fine: int, width: int, blocks: int) -> None:
        super().__init__()
        self.coarse, self.fine = SameConv(coarse, width, 1), SameConv(fine, width, 1)
        self.blocks = nn.Sequential(*(NarrowBlock(width, width // 2, width) for _ in range(blocks)))

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        larger = F.interpolate(F.relu(self.coarse(coarse)), scale_factor=2, mode="bilinear", align_corners=False)
        return self.blocks(F.relu(self.fine(fine)) + larger)


class FaceDetector(nn.Module):
    """Pictures to the probability that a face is in them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, STEM, 3, 2)
        self.stages = nn.ModuleList()
        width, widths = STEM, []
        for blocks in STAGES:
            stage = []
            for narrow, wide, stride in blocks:
                stage.append(NarrowBlock(width, narrow, wide, stride))
                width = wide
            self.stages.append(nn.Sequential(*stage))
            widths.append(width)
        self.back = nn.ModuleList()
        for fine, (inner, blocks) in zip(reversed(widths[:-1]), BACK, strict=True):
            self.back.append(Joined(width, fine, inner, blocks))
            width = inner
        self.score = SameConv(width, 1, 1)

    def forward(self, views: Tensor) -> Tensor:
        """RGB in [-1, 1], (N, 3, 192, 192) -> logits that a face lies at a place, (N, 48, 48)."""
        x, finer = F.relu(self.stem(views.contiguous(memory_format=torch.channels_last))), []
        for stage in self.stages:
            x = stage(x)
            finer.append(x)
        for joined, fine in zip(self.back, reversed(finer[:-1]), strict=True):
            x = joined(x, fine)
        return self.score(x)[:, 0]

    @torch.inference_mode()
    def probability(self, picture: Tensor, enough: float = 1.0) -> float:
        """uint8 RGB (H, W, 3) of any size -> the probability of the surest face in any of its views.

        Where the whole picture shows one that is sure ``enough``, that one's: the other views are not looked at.
        """
        surest, seen = 0.0, views(picture)
        for part in (seen[:1], seen[1:]):
            if surest < enough:
                surest = max(surest, float(self(part).max().sigmoid()))
        return surest


def views(picture: Tensor) -> Tensor:
    """uint8 RGB (H, W, 3) -> (N, 3, 192, 192) in [-1, 1]: whole, from afar, and squares along the longer side."""
    x = picture.permute(2, 0, 1)[None]
    long, short = max(x.shape[-2:]), min(x.shape[-2:])
    squares = []
    if long > 1.2 * short:
        axis = 2 if x.shape[-2] > x.shape[-1] else 3
        squares = [x.narrow(axis, begin, short) for begin in (0, (long - short) // 2, long - short)]
    return torch.cat([_fitted(x, SIDE), F.pad(_fitted(x, SIDE // FAR), (SIDE // FAR,) * 4, value=-1.0)]
                     + [_fitted(square, SIDE) for square in squares])  # fmt: skip


def _fitted(x: Tensor, side: int) -> Tensor:
    """uint8 (1, 3, H, W) -> (1, 3, side, side) in [-1, 1]: as large as fits, the rest black."""
    scale = side / max(x.shape[-2:])
    h, w = (max(1, round(length * scale)) for length in x.shape[-2:])
    small = resampled(x, (h, w)) / 127.5 - 1
    top, left = (side - h) // 2, (side - w) // 2
    return F.pad(small, (left, side - w - left, top, side - h - top), value=-1.0)
