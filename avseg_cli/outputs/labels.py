"""Names of the sources, written at the top of each: light letters with a dark rim, readable on any picture."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from avseg_cli.media.video import Pictures, even
from avseg_cli.outputs.heard import in_plain
from avseg_cli.outputs.logits import EDGE
from avseg_cli.outputs.palette import RGB, colour
from avseg_cli.outputs.yuv import lightened, to_yuv
from avseg_cli.tracks.tracker import Told

LETTERS = 1 / 22  # height of letters, of the picture's shorter side
LEAST = 12  # pixels
LIGHT = 0.75  # share of white in the letters' colour
SHADE = 0.85  # how much of the rim is black
TOP = 0.03  # of a source's largest piece lies above the line its name stands on, so that the line is steady


class Tile(NamedTuple):
    """How much of each pixel is rim, and how much letter: float32 0 to 1, (h, w) and (h / 2, w / 2), sides even."""

    rim: tuple[np.ndarray, np.ndarray]
    letters: tuple[np.ndarray, np.ndarray]


class Labels:
    """Writes the names of sources into the planes of one video's frames; those that ``learn`` was told."""

    def __init__(self, video: Pictures, colours: tuple[RGB, ...]) -> None:
        self.size = even(video.height), even(video.width)
        self._letters = max(LEAST, round(min(self.size) * LETTERS))
        self._rim = max(1, round(self._letters / 10))
        self._dark = 0 if video.full_range else 16, 128, 128
        self._light = [to_yuv(lightened(own, LIGHT), video) for own in colours]
        self._names: dict[int, str] = {}
        self._tiles: dict[str, Tile] = {}

    def learn(self, sources: Iterable[Told]) -> None:
        """Take the names of sources, which may have become others; one whose name is no longer sure keeps it."""
        for told in sources:
            if told.label or told.id not in self._names:
                self._names[told.id] = in_plain(told.label) or f"source {told.id}"

    def draw(self, planes: list[np.ndarray], margin: np.ndarray, numbers: np.ndarray) -> None:
        """Write at the top of each source where ``margin`` (h, w) is above 0.

        planes: uint8 Y (H, W), U and V (H/2, W/2); numbers: of the nearest source at each place, at any (h, w).
        """
        sounds = np.clip(margin * EDGE + 0.5, 0, 1)
        own = cv2.resize(numbers.astype(np.float32), margin.shape[::-1], interpolation=cv2.INTER_NEAREST)
        taken: list[tuple[int, int, int, int]] = []
        for number in np.unique(own[sounds > 0.5]).astype(int).tolist():
            if number in self._names:
                weight = _largest_piece(np.where(own == number, sounds, 0))
                tile = self._tile(self._names[number])
                place = self.place(weight, tile.rim[0].shape, taken)
                self._blend(planes, tile, place, colour(number, tuple(self._light)), float(weight.max()))

    def place(
        self, weight: np.ndarray, size: tuple[int, ...], taken: list[tuple[int, int, int, int]]
    ) -> tuple[int, int]:
        """The (row, column) of a name's upper left corner; size: its (height, width). Above its source, below names
        in its way, in the picture.

        weight: how much the source is at each place, (h, w). taken: (top, left, bottom, right) of the names so far; it
        is added.
        """
        rows, columns = weight.sum(1), weight.sum(0)
        top = np.interp(TOP, np.cumsum(rows) / rows.sum(), np.arange(1, len(rows) + 1)) / len(rows) * self.size[0]
        middle = columns @ (np.arange(len(columns)) + 0.5) / columns.sum() / len(columns) * self.size[1]
        wanted = top - size[0] - self._letters // 4, middle - size[1] / 2
        row, column = (
            max(0, min(round(at / 2) * 2, full - own)) for at, full, own in zip(wanted, self.size, size, strict=True)
        )
        for first, left, last, right in sorted(taken):
            if row < last and first < row + size[0] and column < right and left < column + size[1]:
                row = min(last, self.size[0] - size[0])
        taken.append((row, column, row + size[0], column + size[1]))
        return row, column

    def _blend(
        self, planes: list[np.ndarray], tile: Tile, place: tuple[int, int], light: tuple[int, int, int], shown: float
    ) -> None:
        for index, plane in enumerate(planes):
            step = 1 if index == 0 else 2
            rim, letters = tile.rim[step - 1], tile.letters[step - 1]
            row, column = place[0] // step, place[1] // step
            part = plane[row : row + rim.shape[0], column : column + rim.shape[1]]
            values = part.astype(np.float32)
            for share, own in ((SHADE * rim, self._dark[index]), (letters, light[index])):
                values += shown * share[: part.shape[0], : part.shape[1]] * (own - values)
            part[...] = np.rint(values)

    @cached_property
    def _font(self) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        return ImageFont.load_default(self._letters)

    def _tile(self, text: str) -> Tile:
        if text not in self._tiles:
            left, top, right, bottom = (round(side) for side in self._font.getbbox(text, stroke_width=self._rim))
            size = even(right - left), even(bottom - top)
            shares = []
            for rim in (self._rim, 0):
                picture = Image.new("L", size)
                ImageDraw.Draw(picture).text((-left, -top), text, 255, self._font, stroke_width=rim)
                whole = np.asarray(picture, np.float32) / 255
                shares.append((whole, cv2.resize(whole, (size[0] // 2, size[1] // 2), interpolation=cv2.INTER_AREA)))
            self._tiles[text] = Tile(*shares)
        return self._tiles[text]


def _largest_piece(sounds: np.ndarray) -> np.ndarray:
    """How much each cell sounds, (h, w), of the piece that is largest alone."""
    count, pieces = cv2.connectedComponents((sounds > 0).view(np.uint8), connectivity=8)
    sizes = np.bincount(pieces.ravel(), sounds.ravel(), count)
    return np.where(pieces == sizes.argmax(), sounds, 0)
