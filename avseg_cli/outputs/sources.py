"""The sources in a mask, at the video's resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from avseg_cli.outputs.logits import probability
from avseg_cli.tracks.pieces import territories
from avseg_cli.tracks.tracker import Tracked


@dataclass(frozen=True, eq=False)
class Source:
    """One of the things that sound at one instant of a video.

    id is its number, from 1 up, which it keeps while the video lasts; label the kind of thing, such as "dog", or ""
    where the model knows none; confidence the mean probability inside it, 0 to 1; size the (height, width) of the
    video. Of the pixels only ``piece`` is kept, bool (h, w), which lies at ``corner`` (row, column).
    """

    id: int
    label: str
    confidence: float
    size: tuple[int, int]
    corner: tuple[int, int]
    piece: np.ndarray

    def __repr__(self) -> str:
        return f"Source({self.id}, {self.label!r}, area={self.area}, bbox={self.bbox})"

    @property
    def mask(self) -> np.ndarray:
        """Its pixels at the video's resolution, bool (H, W); a new array."""
        (row, column), (height, width) = self.corner, self.piece.shape
        whole = np.zeros(self.size, bool)
        whole[row : row + height, column : column + width] = self.piece
        return whole

    @cached_property
    def area(self) -> int:
        """Pixels of the mask."""
        return int(np.count_nonzero(self.piece))

    @cached_property
    def bbox(self) -> tuple[int, int, int, int]:
        """(x, y, width, height) in pixels, as COCO has it."""
        (top, bottom), (left, right) = (np.flatnonzero(self.piece.any(axis))[[0, -1]].tolist() for axis in (1, 0))
        return self.corner[1] + left, self.corner[0] + top, right - left + 1, bottom - top + 1


class Sketch(NamedTuple):
    """What of a source can be told without its pixels; the area is that of the model's grid, in the video's pixels."""

    id: int
    label: str
    area: int


def sketches(tracked: Tracked, size: tuple[int, int]) -> tuple[Sketch, ...]:
    """The sources of a video of (height, width) at one instant, for next to no time."""
    cells = np.bincount(np.maximum(tracked.numbers, 0).ravel())
    pixels = size[0] * size[1] / tracked.numbers.size  # of a cell
    return tuple(Sketch(one.id, one.label, round(int(cells[one.id]) * pixels)) for one in tracked.sources)


def told_apart(mask: np.ndarray, logits: np.ndarray, tracked: Tracked, grown: float = 0.0) -> tuple[Source, ...]:
    """The sources in a mask, bool (H, W), made of logits (h, w); none of them holds the mask's crumbs.

    grown: pixels by which the mask was widened beyond what the logits say.
    """
    numbers = tracked.numbers
    finer = territories(numbers.repeat(2, 0).repeat(2, 1))  # half of a gap of one cell belongs to either side
    found = []
    for one in tracked.sources:
        cells = numbers == one.id
        part = _reach(cells, mask.shape, math.ceil(grown))
        piece = mask[part] & (_nearest(finer, mask.shape, part) == one.id)
        if piece.any():
            corner = int(part[0].start), int(part[1].start)
            found.append(Source(one.id, one.label, float(probability(logits[cells]).mean()), mask.shape, corner, piece))
    return tuple(found)


def _reach(cells: np.ndarray, size: tuple[int, int], grown: int) -> tuple[slice, slice]:
    """Rows and columns at (height, width) that hold all that upsampling makes of True cells (h, w), and more."""
    ends = [(places[0] - 1, places[-1] + 2) for places in (np.flatnonzero(cells.any(axis)) for axis in (1, 0))]
    first, last = (
        slice(max(0, least * full // low - grown), min(full, -(-most * full // low) + grown))
        for (least, most), full, low in zip(ends, size, cells.shape, strict=True)
    )
    return first, last


def _nearest(cells: np.ndarray, size: tuple[int, int], part: tuple[slice, slice]) -> np.ndarray:
    """Whole numbers (h, w) at another (height, width), without values between them: the rows and columns asked for."""
    rows, columns = (
        ((np.arange(full)[own] + 0.5) * low / full).astype(int)
        for own, full, low in zip(part, size, cells.shape, strict=True)
    )
    return cells[rows[:, None], columns]
