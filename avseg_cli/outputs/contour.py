"""The line around what sounds: light with a dark rim on both sides, so that it shows on pictures of any colour."""

from __future__ import annotations

import cv2
import numpy as np

from avseg_cli.base.grids import resized, resized_at
from avseg_cli.media.video import Pictures, even
from avseg_cli.outputs.palette import RGB, spread_at
from avseg_cli.outputs.shapes import FAR, signed_distance, square_grid
from avseg_cli.outputs.yuv import lightened, to_yuv

LIGHT = 0.6  # share of white in the line's colour
SHADE = 0.7  # how much of the rim is black
DOWN, ALONG = np.array([[[0], [0], [1], [1]], [[0], [1], [0], [1]]])  # of the four pixels to one of the colour planes


class Contour:
    """Draws outlines into the planes of one video's frames, anti-aliased and outside what sounds."""

    def __init__(self, video: Pictures, colours: tuple[RGB, ...]) -> None:
        self.size, self._grid = (even(video.height), even(video.width)), square_grid(video.size)
        self._pixels = self.size[1] / self._grid[1]  # of a cell of the grid
        self.line = max(2, round(min(video.size) / 300))  # pixels
        self.rim = max(1.5, self.line / 3)
        self.reach = round(self.line + self.rim) + 1  # pixels from the outline to where nothing changes
        self._dark = 0 if video.full_range else 16, 128, 128
        self._light = np.array([to_yuv(lightened(own, LIGHT), video) for own in colours], np.float32)

    def draw(self, planes: list[np.ndarray], margin: np.ndarray, places: np.ndarray) -> None:
        """Draw around where ``margin`` (h, w) is above 0, in the colours at these ``places`` of the palette, (h, w).

        planes: uint8 Y (H, W), U and V (H/2, W/2).
        """
        cells = resized(margin, self._grid)
        if not (inside := cells > 0).any():
            return
        reach = -int(-self.reach // self._pixels) + 2  # cells
        part = tuple(_within(inside.any(1 - axis), reach) for axis in (0, 1))
        distance = np.full_like(cells, -FAR)
        distance[part] = signed_distance(cells[part])
        distance *= np.float32(self._pixels)
        half = resized(distance, (self.size[0] // 2, self.size[1] // 2))
        rows, columns = self._beside(half, part)
        self._mix(planes, (1, 2), rows, columns, half[rows, columns], places)
        rows, columns = ((2 * side + corner).ravel() for side, corner in ((rows, DOWN), (columns, ALONG)))
        self._mix(planes, (0,), rows, columns, resized_at(distance, self.size, rows, columns), places)

    def _beside(self, half: np.ndarray, part: tuple[slice, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the pixels of the colour planes near the line; half: the distances (H/2, W/2) there, in
        pixels of the picture; part: the cells that hold all."""
        rows, columns = (_scaled(side, full, of) for side, full, of in zip(part, half.shape, self._grid, strict=True))
        wide = self.line / 2 + self.rim + 2  # from the middle of the line
        band = cv2.inRange(half[rows, columns], -self.line / 2 - wide, -self.line / 2 + wide)
        points = cv2.findNonZero(band)
        if points is None:
            return np.empty(0, np.intp), np.empty(0, np.intp)
        across, down = points.reshape(-1, 2).T
        return down + rows.start, across + columns.start

    def _mix(
        self, planes: list[np.ndarray], indices: tuple[int, ...], rows: np.ndarray, columns: np.ndarray,
        distance: np.ndarray, places: np.ndarray,
    ) -> None:  # fmt: skip
        """Mix the rim, then the line on it, into some pixels of planes of one size."""
        size = planes[indices[0]].shape
        step = self.size[0] // size[0]  # pixels of the picture to one of the plane
        away = np.abs(distance + np.float32(self.line / 2))
        rim, line = (np.clip((width - away) / step + 0.5, 0, 1) for width in (self.line / 2 + self.rim, self.line / 2))
        rim *= SHADE
        light = self._light[spread_at(places, size, rows, columns)]
        for index in indices:
            values = planes[index][rows, columns].astype(np.float32)
            for share, colour in ((rim, self._dark[index]), (line, light[..., index])):
                values += share * (colour - values)
            planes[index][rows, columns] = np.rint(values)


def _within(wanted: np.ndarray, margin: int) -> slice:
    """The cells that hold all True ones, and ``margin`` more on both sides."""
    places = np.flatnonzero(wanted)
    return slice(max(0, int(places[0]) - margin), int(places[-1]) + 1 + margin)


def _scaled(cells: slice, pixels: int, of: int) -> slice:
    """The pixels of some of the ``of`` cells."""
    return slice(cells.start * pixels // of, min(pixels, -(-cells.stop * pixels // of)))
