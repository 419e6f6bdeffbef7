"""Losses on logits at the masks' own size."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]
KnownLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
FEWEST_PIXELS = 8  # that are an object


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


def bce_iou_sama(logits: Tensor, truth: Tensor) -> Tensor:
    """bce plus 1 - soft IoU as SAMA-AVS's code has it, per frame: (N,).

    Nothing is added to the areas: on a frame whose truth is empty the term is 1, whatever is marked.
    """
    probability = logits.sigmoid()
    both = (probability * truth).sum((1, 2))
    either = (probability + truth).sum((1, 2)) - both
    return bce(logits, truth) + 1 - both / either.clamp_min(torch.finfo(either.dtype).tiny)


LOSSES: dict[str, Loss] = {"bce": bce, "bce+iou": bce_iou, "bce+iou-sama": bce_iou_sama}


def known_bce(logits: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """``bce`` over the pixels where ``known`` is 1, per frame: (N,)."""
    loss = F.binary_cross_entropy_with_logits(logits, truth, reduction="none") * known
    return loss.sum((1, 2)) / known.sum((1, 2)).clamp_min(1)


def known_bce_iou(logits: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Twice ``known_bce`` plus, where something is to be marked, 1 - soft IoU, per frame: (N,).

    Many frames are to stay empty: there cross-entropy alone tells how far they are.
    """
    probability = logits.sigmoid() * known
    both = (probability * truth).sum((1, 2))
    either = (probability + truth * known).sum((1, 2)) - both
    marked = (truth.sum((1, 2)) > FEWEST_PIXELS).float()
    return 2 * known_bce(logits, truth, known) + (1 - (both + 1) / (either + 1)) * marked


KNOWN_LOSSES: dict[str, KnownLoss] = {"bce": known_bce, "bce+iou": known_bce_iou}
