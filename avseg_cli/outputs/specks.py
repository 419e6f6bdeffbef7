"""Specks: marks smaller than two of the model's tokens, too little of what it looks at to be trusted."""

from __future__ import annotations

import cv2
import numpy as np

LEAST = 2  # tokens of the image encoder


def without_specks(logits: np.ndarray, level: float, tokens: int) -> np.ndarray:
    """Logits (h, w) whose connected pieces above ``level`` are put below it where they are smaller than ``LEAST``.

    tokens: how many the picture has; two of 1,024 are 0.2 % of it.
    """
    _, pieces, facts, _ = cv2.connectedComponentsWithStats((logits > level).view(np.uint8), connectivity=8)
    small = facts[:, cv2.CC_STAT_AREA] < LEAST * logits.size / tokens
    small[0] = False  # what is not marked
    return np.where(small[pieces], 2 * np.float32(level) - logits, logits)
