"""Specks: marks smaller than two of the model's tokens, too little of what it looks at to be trusted."""

from __future__ import annotations

import cv2
import numpy as np

LEAST = 2  # tokens of the image encoder


def without_specks(logits: np.ndarray, level: float, tokens: int) -> np.ndarray:
    """Logits (h, w) whose connected pieces above ``level`` are put below it where they are smaller than ``LEAST``.

    tokens: how many the picture has; two of 1,024 are 0.2 % of it.
    """
    specks = small_pieces(logits > level, LEAST * logits.size / tokens, connectivity=8)
    return np.where(specks, 2 * np.float32(level) - logits, logits)


def small_pieces(inside: np.ndarray, least: float, connectivity: int) -> np.ndarray:
    """The connected pieces of a mask, bool (h, w), that have fewer than ``least`` cells: bool (h, w)."""
    _, pieces, facts, _ = cv2.connectedComponentsWithStats(inside.view(np.uint8), connectivity=connectivity)
    small = facts[:, cv2.CC_STAT_AREA] < least
    small[0] = False  # what is not marked
    return small[pieces]
