"""What one clip scores, and what a split scores: AVSBench's definitions, each figure by its name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from avseg_cli.scoring.metrics import f_curve, mask_iou

BOUNDS = (1e-9, 0.01, 0.1)  # shares of a frame that its truth covers, where a size ends and the next begins
SIZES = {
    "empty": "nothing to find", "small": "truth below 1 % of the frame", "medium": "truth 1 to 10 %",
    "large": "truth 10 % and more",
}  # fmt: skip


@dataclass(frozen=True)
class FrameSums:
    """Frames of one size, summed up: how many, their IoU, their F curve (255,)."""

    frames: int
    iou: float
    curve: Tensor


@dataclass(frozen=True)
class ClipScore:
    """One clip. iou: mean over its annotated frames; f: its curve's maximum (batch 1; 0 if every truth is empty).

    curve_sum and scored_frames add up to the dataset-level curve; foreground: share of pixels predicted; sizes: its
    frames by the size of their truth.
    """

    name: str
    category: str
    iou: float
    f: float
    foreground: float
    curve_sum: Tensor
    scored_frames: int
    frames: int
    sizes: dict[str, FrameSums] = field(default_factory=dict)


def score_clip(name: str, category: str, probability: Tensor, truth: Tensor) -> ClipScore:
    """Score a clip's annotated frames: probability (A, 224, 224) in [0, 1], truth bool (A, 224, 224)."""
    curve, iou = f_curve(probability, truth), mask_iou(probability, truth)
    return ClipScore(
        name, category,
        iou=float(iou.mean()),
        f=float(curve.mean(0).max()) if len(curve) else 0.0,
        foreground=float((probability > 0.5).double().mean()),
        curve_sum=curve.sum(0).cpu(),
        scored_frames=len(curve),
        frames=len(truth),
        sizes=_by_size(truth, iou, curve),
    )  # fmt: skip


def _by_size(truth: Tensor, iou: Tensor, curve: Tensor) -> dict[str, FrameSums]:
    """truth (A, H, W), IoU (A,), and the curves (M, 255) of the frames whose truth is not empty."""
    area = truth.double().mean((1, 2))
    whole = curve.new_zeros(len(truth), curve.shape[1])
    whole[area > 0] = curve
    kind = torch.bucketize(area, torch.tensor(BOUNDS, dtype=area.dtype), right=True)  # 0: empty
    sums = {}
    for number, size in enumerate(SIZES):
        inside = kind == number
        if inside.any():
            sums[size] = FrameSums(int(inside.sum()), float(iou[inside].sum()), whole[inside].sum(0).cpu())
    return sums


@dataclass(frozen=True)
class SplitScore:
    """A split, or a category of it. miou and f are the comparable figures; f_dataset is the maximum of the mean
    curve over all frames with a non-empty truth."""

    clips: int
    miou: float
    f: float
    f_dataset: float
    foreground: float


def summarise(scores: Sequence[ClipScore]) -> SplitScore:
    """Means over the clips. Raises ``ValueError`` for no clips."""
    if not scores:
        raise ValueError("no clips to summarise")
    count = len(scores)
    frames = sum(score.scored_frames for score in scores)
    curve = torch.stack([score.curve_sum for score in scores]).sum(0)
    return SplitScore(
        clips=count,
        miou=sum(score.iou for score in scores) / count,
        f=sum(score.f for score in scores) / count,
        f_dataset=float(curve.max() / frames) if frames else 0.0,
        foreground=sum(score.foreground for score in scores) / count,
    )


def by_category(scores: Sequence[ClipScore]) -> dict[str, SplitScore]:
    """The summary of each category, in alphabetical order; empty where clips have none (MS3)."""
    groups: dict[str, list[ClipScore]] = defaultdict(list)
    for score in scores:
        if score.category:
            groups[score.category].append(score)
    return {category: summarise(groups[category]) for category in sorted(groups)}


@dataclass(frozen=True)
class SizeScore:
    """All frames of one size of truth: mean IoU over them, and the maximum of their mean F curve (0 for empty ones)."""

    frames: int
    miou: float
    f_dataset: float


def by_size(scores: Sequence[ClipScore]) -> dict[str, SizeScore]:
    """The frames of each size that the split has, smallest first."""
    found = {}
    for size in SIZES:
        sums = [score.sizes[size] for score in scores if size in score.sizes]
        if sums:
            frames = sum(each.frames for each in sums)
            curve = torch.stack([each.curve for each in sums]).sum(0)
            found[size] = SizeScore(frames, sum(each.iou for each in sums) / frames, float(curve.max() / frames))
    return found
