"""Values on a grid, on a finer or a coarser one."""

from __future__ import annotations

import cv2
import numpy as np


def resized(values: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Bilinear values at (height, width, …), as torch's ``interpolate`` without aligned corners."""
    return cv2.resize(values, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def resized_at(values: np.ndarray, size: tuple[int, ...], rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """What ``resized`` gives at some rows and columns alone: float32 (N,) of values (h, w)."""
    (top, below, down), (left, right, along) = (
        _neighbours(places, full, side) for places, full, side in zip((rows, columns), size, values.shape, strict=True)
    )
    upper = values[top, left] * (1 - along) + values[top, right] * along
    lower = values[below, left] * (1 - along) + values[below, right] * along
    return upper * (1 - down) + lower * down


def _neighbours(places: np.ndarray, full: int, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two of ``side`` cells around some of ``full`` places, and how far each is on the way to the second."""
    exact = np.clip((np.arange(full, dtype=np.float32) + 0.5) * np.float32(side / full) - 0.5, 0, side - 1)
    first = exact.astype(np.intp)
    return first[places], np.minimum(first + 1, side - 1)[places], (exact - first)[places]
