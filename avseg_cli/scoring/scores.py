"""What one clip scores, and what a split scores: AVSBench's definitions, each figure by its name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from avseg_cli.scoring.metrics import f_curve, mask_iou


@dataclass(frozen=True)
class ClipScore:
    """One clip. iou: mean over its annotated frames; f: its curve's maximum (batch 1; 0 if every truth is empty).

    curve_sum and scored_frames add up to the dataset-level curve; foreground: share of pixels predicted.
    """

    name: str
    category: str
    iou: float
    f: float
    foreground: float
    curve_sum: Tensor
    scored_frames: int
    frames: int


def score_clip(name: str, category: str, probability: Tensor, truth: Tensor) -> ClipScore:
    """Score a clip's annotated frames: probability (A, 224, 224) in [0, 1], truth bool (A, 224, 224)."""
    curve = f_curve(probability, truth)
    return ClipScore(
        name, category,
        iou=float(mask_iou(probability, truth).mean()),
        f=float(curve.mean(0).max()) if len(curve) else 0.0,
        foreground=float((probability > 0.5).double().mean()),
        curve_sum=curve.sum(0).cpu(),
        scored_frames=len(curve),
        frames=len(truth),
    )  # fmt: skip


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
