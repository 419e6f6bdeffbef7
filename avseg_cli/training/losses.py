"""Losses on logits at the masks' own size."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]


def bce(logits: Tensor, truth: Tensor) -> Tensor:
    """Binary cross-entropy of (N, H, W) logits and truth in {0, 1}, per frame: (N,). The paper's loss."""
    return F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean((1, 2))


def bce_iou(logits: Tensor, truth: Tensor) -> Tensor:
    """bce plus 1 - soft IoU, per frame: (N,). SAMA-AVS's loss.

    One pixel is added to both areas: on a frame whose truth is empty the term then falls as foreground vanishes.
    """
    probability = logits.sigmoid()
    both = (probability * truth).sum((1, 2))
    either = (probability + truth).sum((1, 2)) - both
    return bce(logits, truth) + 1 - (both + 1) / (either + 1)


LOSSES: dict[str, Loss] = {"bce": bce, "bce+iou": bce_iou}
