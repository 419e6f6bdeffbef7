"""The attention of one clip as a picture: a column for each second, a row for each stage of ST-BAVA."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from avseg_cli.attention.board import (
    FAINT,
    PALE,
    Board,
    Scale,
    enlarged,
    grey,
    length,
    outlined,
    resized,
    scales,
    sound_strip,
)
from avseg_cli.attention.instants import ClipLook, MapRow

CELL = (200, 160)  # pixels at most, of one map
GAP, BETWEEN = 6, 60  # pixels between cells, and between groups of columns
MARGIN, LABELS = 40, 250
TITLE, WORDS, SMALL = 40, 24, 19
SOUND, BAR = 170, 24  # heights

KEY = 380  # pixels of a colour bar
HEADINGS = {
    "space": ("Where the sound looks", "each second's sound over the pixels of its own frame"),
    "time": ("When the sound looks", "at each pixel: the sound on its own frame, among the {} frames"),
    "listening": ("Which sound the pixels hear", "each pixel on its own second's sound, among the {} sounds"),
}
BESIDE = "when, which sound: less | more than an even share"
NOTES = (
    "All maps in multiples of an even share: 1 means no preference. The outline is the predicted mask.",
    "Before and after: the last block's attention, given what enters ST-BAVA and what leaves it.",
    "Squares: the mean over all pixels, for every sound (row) and frame (column) of the clip.",
    "Not shown, because it is 1 by construction: a pixel's attention to its own frame's sound alone, a single key.",
)


def draw_sheet(clip: ClipLook, title: str) -> Image.Image:
    """The picture of one clip; ``title`` goes on top."""
    return _Sheet(clip).draw(title)


def save_sheet(sheet: Image.Image, path: Path) -> None:
    """Write a PNG, whatever the suffix of ``path``."""
    sheet.save(path, format="PNG", compress_level=6)


class _Sheet:
    """Places, and what is drawn at them."""

    def __init__(self, clip: ClipLook) -> None:
        self.clip = clip
        height, width = clip.instants[0].picture.shape[:2]
        factor = min(CELL[0] / width, CELL[1] / height)
        self.cell = max(24, round(width * factor)), max(24, round(height * factor))
        self.columns = len(clip.instants)
        self.step = self.cell[0] + GAP
        self.group = self.columns * self.step
        self.square = self.cell[1]
        self.space, self.time = scales(clip.rows)
        self.groups = [group for group in ("space", "time", "listening") if getattr(clip.rows[0], group) is not None]
        self.greys = [grey(resized(instant.picture, self.cell)) for instant in clip.instants]
        self.top = MARGIN + 2 * TITLE + 2 * WORDS + 3 * SMALL

    def draw(self, title: str) -> Image.Image:
        first_row = self.top + self.cell[1] + GAP
        below = first_row + len(self.clip.rows) * (self.cell[1] + GAP) + GAP
        width = self._left(len(self.groups)) - BETWEEN + MARGIN
        height = below + SOUND + max(3 * SMALL, len(NOTES) * 2 * SMALL - SOUND + 5 * SMALL) + MARGIN
        key = self._left(1) + 3 * KEY + 24 + length(BESIDE, SMALL + 2) + MARGIN if len(self.groups) > 1 else 0
        self.board = Board((max(width, key, self._left(0) + 1200), height))
        self.board.write(title, (MARGIN, MARGIN), TITLE)
        for number, name in enumerate(self.groups):
            self._heading(number, name)
            self._frames(number)
        for number, row in enumerate(self.clip.rows):
            self._row(row, first_row + number * (self.cell[1] + GAP))
        self._sound(below)
        self._key(below)
        return self.board.image

    def _left(self, group: int) -> int:
        """Where a group of columns begins, after those before it."""
        return MARGIN + LABELS + sum(self._wide(name) + BETWEEN for name in self.groups[:group])

    def _wide(self, name: str) -> int:
        """The columns of a group, or its heading if that is wider; those over time have a square behind them."""
        heading, said = HEADINGS[name]
        columns = self.group + (0 if name == "space" else self.square + GAP)
        return max(columns, length(heading, WORDS + 6), length(said.format(self._among), SMALL))

    @property
    def _among(self) -> int:
        return self.clip.rows[0].space.shape[0]

    def _heading(self, number: int, name: str) -> None:
        heading, said = HEADINGS[name]
        left, top = self._left(number), MARGIN + 2 * TITLE
        self.board.write(heading, (left, top), WORDS + 6)
        self.board.write(said.format(self._among), (left, top + WORDS + 16), SMALL, FAINT)

    def _frames(self, number: int) -> None:
        left = self._left(number)
        for column, instant in enumerate(self.clip.instants):
            place = left + column * self.step, self.top
            self.board.paste(outlined(resized(instant.picture, self.cell), instant.logits), place)
            self.board.write(f"{instant.time:.1f} s", (place[0] + self.cell[0] // 2, self.top - 8), SMALL, PALE, "md")

    def _row(self, row: MapRow, top: int) -> None:
        middle = top + self.cell[1] // 2
        self.board.write(row.label, (MARGIN, middle - WORDS), WORDS)
        said = inside_words(self.clip, row)
        if said:
            self.board.write(said, (MARGIN, middle + 8), SMALL, FAINT)
        for number, name in enumerate(self.groups):
            left, scale = self._left(number), self.space if name == "space" else self.time
            maps = enlarged(getattr(row, name), self.cell)
            for column, picture in enumerate(self.greys):
                self.board.paste(scale.paint(picture, maps[column]), (left + column * self.step, top))
            if name != "space":
                self._pairs(getattr(row, f"{name}_pairs"), scale, (left + self.group + GAP, top))

    def _pairs(self, pairs: np.ndarray, scale: Scale, place: tuple[int, int]) -> None:
        side = self.square // len(pairs)
        self.board.paste(np.kron(scale.flat(pairs), np.ones((side, side, 1), np.uint8)), place)

    def _sound(self, top: int) -> None:
        left = self._left(0)
        self.board.write("what it hears", (MARGIN, top + SOUND // 5), WORDS, PALE, "lm")
        self.board.write("waveform, log-mel", (MARGIN, top + SOUND // 5 + WORDS), SMALL, FAINT, "lm")
        self.board.paste(sound_strip(self.clip.instants, (self.group - GAP, SOUND)), (left, top))
        for column, instant in enumerate(self.clip.instants):
            place = left + column * self.step, top + SOUND + 8
            self.board.write(f"{instant.end - 1:.1f}", place, SMALL, FAINT)

    def _key(self, top: int) -> None:
        """Colour bars and notes: beside the sound, or below it where there is only one group."""
        left = self._left(1) if len(self.groups) > 1 else self._left(0)
        top = top if len(self.groups) > 1 else top + SOUND + 3 * SMALL
        self.board.bar(self.space, (left, top), (KEY, BAR), SMALL)
        self.board.write("where: times an even share", (left + KEY + 24, top), SMALL + 2, PALE)
        if len(self.groups) > 1:
            right = left + 2 * KEY
            self.board.bar(self.time, (right, top), (KEY, BAR), SMALL)
            self.board.write(BESIDE, (right + KEY + 24, top), SMALL + 2, PALE)
        for number, note in enumerate(NOTES if len(self.groups) > 1 else NOTES[:2]):
            self.board.write(note, (left, top + BAR + 3 * SMALL + number * (SMALL + 10)), SMALL, FAINT)


def inside_words(clip: ClipLook, row: MapRow) -> str:
    """How much of where the sound looks lies in the mask, over the seconds that have one; "" if none has."""
    shares = [instant.inside(space) for instant, space in zip(clip.instants, row.space, strict=False)]
    shares = [(inside, area) for inside, area in shares if area > 0]
    if not shares:
        return ""
    inside, area = (100 * sum(values) / len(shares) for values in zip(*shares, strict=True))
    return f"{inside:.0f} % in the mask,\n{area:.0f} % of the picture"
