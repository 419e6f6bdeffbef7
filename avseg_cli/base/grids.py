"""Values on a grid, on a finer or a coarser one."""

from __future__ import annotations

import cv2
import numpy as np

MOST = 32_000  # places that OpenCV looks up at once


def resized(values: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Bilinear values at (height, width, …), as torch's ``interpolate`` without aligned corners."""
    return cv2.resize(values, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def resized_at(values: np.ndarray, size: tuple[int, ...], rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """What ``resized`` gives at some rows and columns alone, to 1/32 of a cell: float32 (N,) of values (h, w)."""
    down, along = (
        (places.astype(np.float32) + np.float32(0.5)) * np.float32(side / full) - np.float32(0.5)
        for places, full, side in zip((rows, columns), size, values.shape, strict=True)
    )
    found = [np.empty(0, np.float32)]
    for own in (slice(first, first + MOST) for first in range(0, len(down), MOST)):
        part = cv2.remap(values, along[own], down[own], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        found.append(part.ravel())
    return np.concatenate(found)
