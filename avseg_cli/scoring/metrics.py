"""AVSBench's own metrics (Zhou et al., ECCV 2022), reproduced exactly: M_J (mIoU) and M_F (F-score).

Both are defined at 224x224 on sigmoid probabilities.
"""

from __future__ import annotations

import torch
from torch import Tensor

BETA2 = 0.3
THRESHOLDS = 255


def mask_iou(probability: Tensor, truth: Tensor) -> Tensor:
    """IoU of each frame: probability (N, H, W) in [0, 1], truth (N, H, W) bool -> (N,) float64.

    prediction = probability > 0.5; |P and G| / (|P or G| + 1e-7). A frame whose truth is empty scores the
    fraction of pixels left empty.
    """
    predicted = probability > 0.5
    truth = truth.bool()
    both = (predicted & truth).sum((1, 2)).double()
    either = (predicted | truth).sum((1, 2)).double()
    left_empty = (~predicted & ~truth).sum((1, 2)).double() / truth[0].numel()
    return torch.where(truth.any(-1).any(-1), both / (either + 1e-7), left_empty)


def f_curve(probability: Tensor, truth: Tensor) -> Tensor:
    """F at 255 thresholds for each frame with a non-empty truth: (N, H, W) twice -> (M, 255) float64, M <= N.

    Thresholds are linspace(0, 1 - 1e-10), a pixel is foreground when its probability reaches the threshold;
    precision = tp / (predicted + 1e-20), recall = tp / (true + 1e-20), beta^2 = 0.3, F = 0 where undefined.
    """
    truth = truth.bool()
    kept = truth.any(-1).any(-1)
    probability, truth = probability[kept].flatten(1), truth[kept].flatten(1)
    thresholds = torch.linspace(0, 1 - 1e-10, THRESHOLDS, device=probability.device, dtype=probability.dtype)
    # How many thresholds each pixel reaches; pixels are then counted per number, not compared 255 times.
    reached = torch.searchsorted(thresholds, probability.contiguous(), right=True)  # (M, pixels) in 0..255
    predicted = _at_least(reached, torch.ones_like(truth))
    true_positive = _at_least(reached, truth)
    precision = true_positive / (predicted + 1e-20)
    recall = true_positive / (truth.sum(1, keepdim=True) + 1e-20)
    score = (1 + BETA2) * precision * recall / (BETA2 * precision + recall)
    return torch.nan_to_num(score, nan=0.0)


def _at_least(reached: Tensor, weight: Tensor) -> Tensor:
    """For each row, how much ``weight`` reaches threshold 1, 2, ... 255: (M, pixels) -> (M, 255) float64."""
    counts = torch.zeros(len(reached), THRESHOLDS + 1, dtype=torch.float64, device=reached.device)
    counts.scatter_add_(1, reached, weight.double())
    return counts.flip(1).cumsum(1).flip(1)[:, 1:]


def f_score(probability: Tensor, truth: Tensor) -> float:
    """M_F of one batch of frames (N, H, W): the maximum over thresholds of the mean curve; 0 if all truths are empty.

    AVSBench averages this over batches, so its value depends on the batch; the authors use one clip.
    """
    curve = f_curve(probability, truth)
    return float(curve.mean(0).max()) if len(curve) else 0.0
