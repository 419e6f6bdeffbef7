"""The pieces of one mask, at the model's own resolution."""

from __future__ import annotations

import cv2
import numpy as np

CRUMB = -1  # the number of what is too small to be a source
LEAST = 0.002  # share of the picture below which a piece is a crumb
LEAST_OF_LARGEST = 0.02  # or below this share of the largest piece, which itself is none
NEAR = 0.016  # share of the picture's side up to which a gap parts nothing: bars, strings, the model's own holes


def pieces(mask: np.ndarray) -> np.ndarray:
    """A bool mask (h, w) -> int32 (h, w): 0 outside, from 1 on the number of the piece, ``CRUMB`` for the rest of it.

    Pieces are what hangs together across gaps up to ``NEAR``.
    """
    reach = 2 * round(NEAR * max(mask.shape) / 2) + 1
    joined = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((reach, reach), np.uint8))
    count, numbers = cv2.connectedComponents(joined, connectivity=8)
    numbers[~mask] = 0
    areas = np.bincount(numbers.ravel(), minlength=count)[1:]
    if not areas.any():
        return numbers
    kept = areas >= min(areas.max(), max(LEAST * mask.size, LEAST_OF_LARGEST * areas.max()))
    return np.concatenate([[0], np.where(kept, np.cumsum(kept), CRUMB)]).astype(np.int32)[numbers]


def territories(numbers: np.ndarray) -> np.ndarray:
    """Numbers (h, w), 0 nowhere -> the nearest one everywhere, int32 (h, w); all 0 where there is none."""
    there = numbers != 0
    present = np.unique(numbers[there])
    if present.size < 2:
        return np.full(numbers.shape, present[0] if present.size else 0, np.int32)
    _, nearest = cv2.distanceTransformWithLabels(
        (~there).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    numbered = np.zeros(int(nearest.max()) + 1, np.int32)
    numbered[nearest[there]] = numbers[there]
    return numbered[nearest]
