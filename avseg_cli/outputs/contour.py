"""The line around what sounds: light with a dark rim on both sides, so that it shows on pictures of any colour."""

from __future__ import annotations

import cv2
import numpy as np

from avseg_cli.base.grids import resized
from avseg_cli.media.video import Pictures, even
from avseg_cli.outputs.palette import RGB, spread
from avseg_cli.outputs.shapes import FAR, signed_distance, square_grid
from avseg_cli.outputs.yuv import lightened, to_yuv

LIGHT = 0.6  # share of white in the line's colour
SHADE = 0.7  # how much of the rim is black


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
        rows, columns = (_scaled(side, full, of) for side, full, of in zip(part, self.size, self._grid, strict=True))
        self._plane(planes[0], resized(distance, self.size), 0, (rows, columns), 1, places)
        half = resized(distance, (self.size[0] // 2, self.size[1] // 2))
        halves = tuple(slice(side.start // 2, -(-side.stop // 2)) for side in (rows, columns))
        for index in (1, 2):
            self._plane(planes[index], half, index, halves, 2, places)

    def _plane(
        self, plane: np.ndarray, distance: np.ndarray, index: int, region: tuple[slice, slice], step: int,
        places: np.ndarray,
    ) -> None:  # fmt: skip
        """Mix the rim, then the line on it, into one plane; step: pixels of the picture to one of the plane."""
        part, away = plane[region], distance[region]
        wide = self.line / 2 + self.rim + step  # from the middle of the line
        band = cv2.inRange(away, -self.line / 2 - wide, -self.line / 2 + wide)
        if (points := cv2.findNonZero(band)) is None:
            return
        pixels = tuple(points.reshape(-1, 2).T[::-1])  # rows and columns
        away, values = np.abs(away[pixels] + np.float32(self.line / 2)), part[pixels].astype(np.float32)
        own = spread(places, plane.shape, region)
        light = self._light[own[pixels] if own.ndim else own, index]
        for width, colour, most in (
            (self.line + 2 * self.rim, self._dark[index], SHADE), (self.line, light, 1.0),
        ):  # fmt: skip
            share = most * np.clip((width / 2 - away) / step + 0.5, 0, 1)
            values += share * (colour - values)
        part[pixels] = np.rint(values).astype(np.uint8)


def _within(wanted: np.ndarray, margin: int) -> slice:
    """The cells that hold all True ones, and ``margin`` more on both sides."""
    places = np.flatnonzero(wanted)
    return slice(max(0, int(places[0]) - margin), int(places[-1]) + 1 + margin)


def _scaled(cells: slice, pixels: int, of: int) -> slice:
    """The pixels, from an even one on, of some of the ``of`` cells."""
    return slice(cells.start * pixels // of // 2 * 2, min(pixels, -(-cells.stop * pixels // of)))
