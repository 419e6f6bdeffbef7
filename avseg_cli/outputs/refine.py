"""Outlines fitted to the edges of the picture: He, Sun and Tang's guided filter, with the colours as its guide."""

from __future__ import annotations

import cv2
import numpy as np

from avseg_cli.base.grids import resized
from avseg_cli.outputs.shapes import square_grid

REACH = 8  # cells, of a grid of half as many, over which an outline may move to an edge
SMOOTH = 1e-3  # variance of a colour, of 0 to 1, below which there is no edge
MOST = 0.99  # of a logit's hyperbolic tangent, in which only what is near the threshold counts
LONGEST = 256  # cells of the longer side of the grid on which a model's coarse masks are fitted
REACH_COARSE = 6  # as REACH, there: such outlines are further off
PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))  # of channels


def fine(picture: np.ndarray, longest: int = LONGEST) -> np.ndarray:
    """What outlines are fitted to, of a picture uint8 RGB (H, W, 3): a small one (h, w, 3) of square cells."""
    size = square_grid(picture.shape[:2], longest)
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)


def fitted(logits: np.ndarray, guide: np.ndarray, level: float) -> np.ndarray:
    """A model's coarse logits (g, g) with outlines along the edges of its picture, as ``fine`` gives it.

    Float32 (h, w); what sounds is above ``level`` as before.
    """
    return refined(resized(logits - np.float32(level), guide.shape[:2]), guide, REACH_COARSE) + np.float32(level)


def refined(margin: np.ndarray, guide: np.ndarray, reach: int = REACH) -> np.ndarray:
    """``margin``, logits (h, w) from the threshold, with outlines along the edges of ``guide``, uint8 RGB (h, w, 3).

    In each window the mask is fitted by a linear function of the colours, on half the grid; it is applied on the whole.
    """
    large = guide.astype(np.float32) / 255
    half = max(2, len(margin) // 2), max(2, margin.shape[1] // 2)
    small = cv2.resize(large, half[::-1], interpolation=cv2.INTER_AREA)
    slopes, ground = _fit(np.tanh(resized(margin, half)), small, reach)
    value = resized(ground, margin.shape) + (resized(slopes, margin.shape) * large).sum(-1)
    return np.arctanh(np.clip(value, -MOST, MOST, out=value), out=value)


def _fit(values: np.ndarray, colours: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Slopes (h, w, 3) and ground (h, w) of the linear functions, each the mean of those of all windows around."""
    mean, middle = _mean(values, reach), _mean(colours, reach)
    shared = _mean(colours * values[..., None], reach) - middle * mean[..., None]
    products = _mean(np.stack([colours[..., i] * colours[..., j] for i, j in PAIRS], -1), reach)
    a, b, c, d, e, f = (
        products[..., place] - middle[..., i] * middle[..., j] + (SMOOTH if i == j else 0)
        for place, (i, j) in enumerate(PAIRS)
    )
    # the inverse of the symmetric covariance ((a, b, c), (b, d, e), (c, e, f)) by its cofactors
    first, second, third = d * f - e * e, c * e - b * f, b * e - c * d
    inverse = ((first, second, third), (second, a * f - c * c, b * c - a * e), (third, b * c - a * e, a * d - b * b))
    determinant = a * first + b * second + c * third
    slopes = np.stack([sum(x * shared[..., k] for k, x in enumerate(row)) / determinant for row in inverse], -1)
    ground = mean - (slopes * middle).sum(-1)
    return _mean(slopes.astype(np.float32), reach), _mean(ground.astype(np.float32), reach)


def _mean(values: np.ndarray, reach: int) -> np.ndarray:
    """Over the window around each cell."""
    side = 2 * reach + 1
    if values.ndim == 3 and values.shape[2] > 4:  # of channels, as many as OpenCV takes
        return np.concatenate([_mean(values[..., :3], reach), _mean(values[..., 3:], reach)], -1)
    return cv2.boxFilter(np.ascontiguousarray(values), -1, (side, side))
