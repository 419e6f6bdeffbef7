"""The colours of sources: apart for every kind of colour vision, as far as so many can be; the first the farthest."""

from __future__ import annotations

import cv2
import numpy as np

RGB = tuple[int, int, int]

PALETTE: tuple[RGB, ...] = (
    (255, 45, 120),  # pink
    (45, 125, 255),  # blue
    (255, 216, 58),  # yellow
    (169, 255, 140),  # mint
    (190, 95, 0),  # brown
    (77, 255, 255),  # cyan
    (120, 90, 200),  # violet
)
CLOSE = 90  # distance in RGB up to which two colours are too much alike


def palette(first: RGB = PALETTE[0]) -> tuple[RGB, ...]:
    """The colours with another one first; what is like it gives way to the usual first."""
    return (first, *(PALETTE[0] if _apart(own, first) < CLOSE else own for own in PALETTE[1:]))


def colour(source: int, colours: tuple[RGB, ...] = PALETTE) -> RGB:
    """The colour of the source of this number, from 1 up; after the last they repeat."""
    return colours[(source - 1) % len(colours)]


def places_in_palette(numbers: np.ndarray) -> np.ndarray:
    """Numbers of sources (h, w), 0 for none -> the places of their colours, uint8 (h, w)."""
    return (np.maximum(numbers - 1, 0) % len(PALETTE)).astype(np.uint8)


def spread(places: np.ndarray, size: tuple[int, int], region: tuple[slice, slice]) -> np.ndarray:
    """Places (h, w) at (height, width), the rows and columns asked for; a single one where all are the same."""
    if places.min() == places.max():
        return places[0, 0]
    return cv2.resize(places, size[::-1], interpolation=cv2.INTER_NEAREST)[region]


def spread_at(places: np.ndarray, size: tuple[int, ...], rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """As ``spread``, at some rows and columns of (height, width) alone: (N,), or a single one."""
    if places.min() == places.max():
        return places[0, 0]
    return places[rows * places.shape[0] // size[0], columns * places.shape[1] // size[1]]


def _apart(one: RGB, other: RGB) -> float:
    return float(np.linalg.norm(np.subtract(one, other)))
