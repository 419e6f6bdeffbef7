"""Values on a grid, on a finer or a coarser one."""

from __future__ import annotations

import cv2
import numpy as np


def resized(values: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Bilinear values at (height, width, …), as torch's ``interpolate`` without aligned corners."""
    return cv2.resize(values, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
