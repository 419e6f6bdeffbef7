"""EfficientNet-Lite (Tan and Le, 2019; the Lite variants without squeeze-excite) as a frozen trunk, batch norms folded.

A block widens, filters each channel by itself, and narrows again. Padding is TensorFlow's "same": where one
side gets more, it is the far one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avseg_cli.base.errors import CheckpointError

# (kernel, stride, expansion) of the seven stages; the same for every Lite
STAGES = ((3, 1, 1), (3, 2, 6), (5, 2, 6), (3, 2, 6), (5, 1, 6), (5, 2, 6), (3, 1, 6))
# variant -> blocks of each stage, channels of each stage
VARIANTS = {
    "lite0": ((1, 2, 2, 3, 3, 4, 1), (16, 24, 40, 80, 112, 192, 320)),
    "lite2": ((1, 3, 3, 4, 4, 5, 1), (16, 24, 48, 88, 120, 208, 352)),
}
STEM, HEAD, CLASSES = 32, 1280, 1000


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow pads, its batch norm folded into weight and bias."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if kernel == 1:
            return super().forward(x)
        more = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:]]
        if all(m == kernel - 1 for m in more) and kernel % 2:
            return F.conv2d(x, self.weight, self.bias, self.stride, kernel // 2, 1, self.groups)
        (h, w) = more
        return super().forward(F.pad(x, (w // 2, w - w // 2, h // 2, h - h // 2)))


class LiteBlock(nn.Module):
    """Expand, filter, project; with a shortcut where nothing changes shape."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = SameConv(inputs, inner, 1) if expansion > 1 else None
        self.filter = SameConv(inner, inner, kernel, stride, groups=inner)
        self.project = SameConv(inner, outputs, 1)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        y = self.project(F.relu6(self.filter(y), inplace=True))
        return y.add_(x) if self.shortcut else y


class LiteTrunk(nn.Module):
    """Pictures to features at strides 4, 8, 16 and 32. Raises ``CheckpointError`` for an unknown variant."""

    def __init__(self, variant: str) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise CheckpointError(f"stem is {variant!r}, not one of {', '.join(VARIANTS)}")
        repeats, channels = VARIANTS[variant]
        self.stem = SameConv(3, STEM, 3, 2)
        self.stages = nn.ModuleList()
        inputs = STEM
        for (kernel, stride, expansion), count, outputs in zip(STAGES, repeats, channels, strict=True):
            blocks = [
                LiteBlock(inputs if i == 0 else outputs, outputs, kernel, stride if i == 0 else 1, expansion)
                for i in range(count)
            ]
            self.stages.append(nn.Sequential(*blocks))
            inputs = outputs
        self.widths = (channels[1], channels[2], channels[4], channels[6])  # at strides 4, 8, 16, 32

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, S, S), RGB as (value - 127) / 128 -> (B, c, S/4, S/4), then S/8, S/16, S/32."""
        x = F.relu6(self.stem(pictures.contiguous(memory_format=torch.channels_last)), inplace=True)
        out = []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in (1, 2, 4, 6):
                out.append(x)
        return tuple(out)
