"""The outlines of masks on a grid of square cells: how far each place is from them."""

from __future__ import annotations

import cv2
import numpy as np

LONGEST = 512  # cells of a grid's longer side
FAR = np.float32(1e4)  # cells; the distance from an outline that is not there


def square_grid(size: tuple[int, ...], longest: int = LONGEST) -> tuple[int, int]:
    """(rows, columns) of a grid of about square cells over a picture of ``size``, (height, width)."""
    scale = min(1.0, longest / max(size))
    return max(2, round(size[0] * scale)), max(2, round(size[1] * scale))


def signed_distance(margin: np.ndarray) -> np.ndarray:
    """How far each cell is inside the outline where ``margin`` (h, w) is 0, in cells; negative outside. float32.

    The outline runs between the cells, where ``margin`` interpolated is 0, so that it does not jump from cell to cell.
    """
    inside = margin > 0
    if inside.all() or not inside.any():
        return np.full_like(margin, FAR if inside.all() else -FAR)
    across, down = (cv2.Sobel(margin, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
    near = np.abs(margin) / (cv2.magnitude(across, down) + np.float32(1e-6))  # true beside the outline only
    far = _to_other_side(inside, near) + _to_other_side(~inside, near)
    distance = np.where((near < 1.25) & (far < 2), near, far)
    distance = np.where(inside, distance, -distance)
    smooth = cv2.GaussianBlur(distance, (5, 5), 0)  # evens out which cell happens to be the nearest
    return np.where(np.abs(distance) < 1, distance, smooth)


def _to_other_side(here: np.ndarray, near: np.ndarray) -> np.ndarray:
    """The distance of cells that are ``here`` to the outline, by the nearest cell that is not; 0 for the others."""
    far, nearest = cv2.distanceTransformWithLabels(here.view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    behind = np.minimum(near, 1)[~here]  # how far these lie behind the outline; their labels count them from 1
    far -= np.take(np.concatenate(([np.float32(0)], behind)), nearest, mode="clip")
    return np.maximum(far, 0, out=far)
