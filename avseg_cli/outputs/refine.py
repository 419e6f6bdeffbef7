"""Outlines fitted to the edges of the picture: He, Sun and Tang's guided filter, with the colours as its guide."""

from __future__ import annotations

import cv2
import numpy as np

from avseg_cli.base.grids import resized

REACH = 8  # cells, of a grid of half as many, over which an outline may move to an edge
SMOOTH = 1e-3  # variance of a colour, of 0 to 1, below which there is no edge
MOST = 0.99  # of a logit's hyperbolic tangent, in which only what is near the threshold counts
PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))  # of channels


def refined(margin: np.ndarray, guide: np.ndarray) -> np.ndarray:
    """``margin``, logits (h, w) from the threshold, with outlines along the edges of ``guide``, uint8 RGB (h, w, 3).

    In each window the mask is fitted by a linear function of the colours, on half the grid; it is applied on the whole.
    """
    large = guide.astype(np.float32) / 255
    half = max(2, len(margin) // 2), max(2, margin.shape[1] // 2)
    small = cv2.resize(large, half[::-1], interpolation=cv2.INTER_AREA)
    slopes, ground = _fit(np.tanh(resized(margin, half)), small)
    value = resized(ground, margin.shape) + (resized(slopes, margin.shape) * large).sum(-1)
    return np.arctanh(np.clip(value, -MOST, MOST, out=value), out=value)


def _fit(values: np.ndarray, colours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slopes (h, w, 3) and ground (h, w) of the linear functions, each the mean of those of all windows around."""
    mean, middle = _mean(values), _mean(colours)
    shared = _mean(colours * values[..., None]) - middle * mean[..., None]
    products = _mean(np.stack([colours[..., i] * colours[..., j] for i, j in PAIRS], -1))
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
    return _mean(slopes.astype(np.float32)), _mean(ground.astype(np.float32))


def _mean(values: np.ndarray) -> np.ndarray:
    """Over the window around each cell."""
    side = 2 * REACH + 1
    if values.ndim == 3 and values.shape[2] > 4:  # of channels, as many as OpenCV takes
        return np.concatenate([_mean(values[..., :3]), _mean(values[..., 3:])], -1)
    return cv2.boxFilter(np.ascontiguousarray(values), -1, (side, side))
