"""A contact sheet: frames with their overlay and what is heard, and the waveform below.

Terminals that can (kitty, iTerm2, any with sixel graphics) show it at once.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np
from av.video.frame import VideoFrame

from avseg_cli.base.text import clock
from avseg_cli.media.video import Picture
from avseg_cli.outputs.formats import Format
from avseg_cli.outputs.heard import in_plain
from avseg_cli.outputs.palette import PALETTE, RGB
from avseg_cli.outputs.results import MaskResult
from avseg_cli.outputs.snapshots import Snapshot, Snapshots
from avseg_cli.outputs.sound_picture import SoundPicture, sound_picture
from avseg_cli.outputs.source_rows import source_css
from avseg_cli.outputs.sources import Source
from avseg_cli.outputs.writers import Job, Writer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIX = ".avseg.preview.png"
FLAG = True
FRAMES = 12  # at most, on a sheet
WIDTH = 2056  # pixels, at most
CELL = (400, 300)  # pixels a frame fits into
GAP, LINE, SOUND = 8, 18, 170
LETTER = 7  # pixels of a letter of the model's line, about
LETTERS = 10  # points
TIME = 120  # pixels of a frame's time and area
GROUND, TEXT, LOUD, AREA = "#14141c", "#d8d8e0", "#8080a0", "#ff5c94"
DPI = 100


class PreviewWriter(Writer):
    """A contact sheet as PNG: up to twelve frames, evenly spread, the waveform and the sounding area below."""

    draws = True

    def __init__(self, path: Path, job: Job) -> None:
        super().__init__(path, job)
        self._snapshots = Snapshots(job, *CELL)
        self._kept: list[Snapshot] = []
        self._stride = 1
        self._area: list[tuple[float, float, float]] = []  # (time, end, fraction) of every mask

    def take(self, result: MaskResult) -> None:
        self._area.append((result.time, result.end, result.area / result.mask.size))
        if result.index % self._stride == 0:
            self._snapshots.want(result)

    def draw(self, picture: Picture, logits: np.ndarray, numbers: np.ndarray) -> None:
        self._kept += [shot for shot in self._snapshots.look(picture) if shot.result.index % self._stride == 0]
        while len(self._kept) > 2 * FRAMES:  # the length may be unknown: thin out as it grows
            self._stride *= 2
            self._kept = [kept for kept in self._kept if kept.result.index % self._stride == 0]

    def write(self, frame: VideoFrame | None) -> None:
        """Nothing: the sheet is drawn at the end."""

    def finish(self, summary: dict[str, Any]) -> None:
        places = np.linspace(0, len(self._kept) - 1, min(FRAMES, len(self._kept))).round().astype(int)
        start = self.job.span[0]
        sound = sound_picture(self.job.video.sound, start, max(end for _, end, _ in self._area))
        told = f"model {self.job.about['model']['told']}"
        sheet = contact_sheet([self._kept[place] for place in places], sound, self._area, told, self.job.style.color)
        sheet.savefig(self.partial, format="png", dpi=DPI)


def contact_sheet(
    snapshots: list[Snapshot], sound: SoundPicture, area: list[tuple[float, float, float]], told: str,
    first: RGB = PALETTE[0],
) -> Figure:  # fmt: skip
    """The sheet as a figure of ``DPI`` dots an inch. area: (time, end of its second, fraction) of every mask.

    told: which model was used, below the frames. first: the colour of source 1.
    """
    from matplotlib.figure import Figure

    height, width = snapshots[0].pixels.shape[:2]
    across = max(1, min(len(snapshots), WIDTH // (width + GAP)))
    rows = -(-len(snapshots) // across)
    across = -(-len(snapshots) // rows)  # as many in the last row as can be
    caption = LINE * (1 + any(snapshot.result.heard for snapshot in snapshots)) + GAP
    frames = rows * (height + caption) + GAP
    told_in = wrap(told, max(1, (across * (width + GAP) - GAP) // LETTER))
    total = across * (width + GAP) + GAP, frames + LINE * len(told_in) + SOUND
    figure = Figure((total[0] / DPI, total[1] / DPI), DPI, facecolor=GROUND)
    for place, snapshot in enumerate(snapshots):
        row, column = divmod(place, across)
        left, top = GAP + column * (width + GAP), GAP + row * (height + caption)
        figure.figimage(snapshot.pixels, left, total[1] - top - height)
        _draw_beside(figure, total, (left, top + height + 4), width, snapshot.result, first)
        lines = f"{clock(snapshot.result.time)}   {100 * snapshot.fraction:.0f} %", snapshot.result.hears()
        for number, text in enumerate(lines):
            down = top + height + 4 + LINE * number
            figure.text(left / total[0], 1 - down / total[1], text, color=TEXT, size=LETTERS, va="top")
    for number, line in enumerate(told_in):
        figure.text(GAP / total[0], 1 - (frames + LINE * number) / total[1], line, color=LOUD, size=8, va="top")
    _draw_sound(figure, total, sound, area, [snapshot.result.time for snapshot in snapshots])
    return figure


def _draw_beside(
    figure: Figure, total: tuple[int, int], place: tuple[int, int], width: int, result: MaskResult, first: RGB
) -> None:
    """To the right of a frame's time what its colours are, or why it has none; where room ends, three dots."""
    told = [(_source_name(source), source_css(source.id, first)) for source in result.sources if result.tracked]
    at, end = place[0] + TIME, place[0] + width
    for name, colour in told or [(result.unmarked, LOUD)]:
        across = _letters(name) * DPI / 72
        fits = at + across <= end
        text, colour = (name, colour) if fits else ("\u2026", LOUD)
        figure.text(at / total[0], 1 - place[1] / total[1], text, color=colour, size=LETTERS, va="top")
        if not fits:
            return
        at += round(across) + 2 * GAP


def _source_name(source: Source) -> str:
    """A square and a name, or a number where none is known."""
    return "\u25a0 " + (in_plain(source.label) or f"source {source.id}")


def _letters(text: str) -> float:
    """How wide a line of ``LETTERS`` is, in points."""
    from matplotlib.textpath import TextPath

    return float(TextPath((0, 0), text, size=LETTERS).get_extents().x1) if text else 0.0


def _draw_sound(
    figure: Figure, total: tuple[int, int], sound: SoundPicture, area: list[tuple[float, float, float]],
    shown: list[float],
) -> None:  # fmt: skip
    """The waveform, with a mark at each frame that is shown, and under it the area that sounds, second by second."""
    from matplotlib.ticker import FuncFormatter

    left, across = 2 * GAP / total[0], 1 - 4 * GAP / total[0]
    wave = figure.add_axes((left, 76 / total[1], across, (SOUND - 92) / total[1]), ylim=(-1.02, 1.02))
    wave.fill_between(
        np.linspace(sound.start, sound.end, len(sound.peaks)), -sound.loudness, sound.loudness, color=LOUD, lw=0
    )
    wave.vlines(shown, -1, 1, color=TEXT, lw=1, ls=":")
    wave.set_title("sound", loc="left", color=TEXT, size=8, pad=2)
    wave.set_xticks([])
    heard = figure.add_axes((left, 24 / total[1], across, 36 / total[1]))
    fractions = [fraction for *_, fraction in area]
    heard.stairs(fractions, [sound.start, *(end for _, end, _ in area)], color=AREA, fill=True)
    heard.set_ylim(0, max(*fractions, 0.01))
    heard.set_title(f"area that sounds, up to {100 * max(fractions):.0f} %", loc="left", color=AREA, size=8, pad=2)
    heard.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock(seconds)))
    for axis in (wave, heard):
        axis.set(facecolor=GROUND, xlim=(sound.start, sound.end), yticks=[])
        axis.tick_params(colors=TEXT, labelsize=8)
        axis.spines[:].set_visible(False)


FORMAT = Format(writer=PreviewWriter, suffix=SUFFIX, files=(".png",), shown=True)
