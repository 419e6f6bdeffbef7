"""A picture of what was made: a row of five frames per clip, outlined masks, and what sounds under each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from avseg_cli.synth.compose import SynthClip

_CELL = 168
_CAPTION = 24


def contact_sheet(clips: Sequence[SynthClip], names: Sequence[str]) -> Image.Image:
    """Draw one row per clip; a loudness strip runs under the frames, from the waveform itself."""
    sheet = Image.new("RGB", (5 * _CELL, len(clips) * (_CELL + _CAPTION)), (20, 20, 20))
    pen = ImageDraw.Draw(sheet)
    for row, (clip, name) in enumerate(zip(clips, names, strict=True)):
        top = row * (_CELL + _CAPTION)
        for second in range(len(clip.frames)):
            cell = Image.fromarray(_outlined(clip.frames[second], clip.masks[second]))
            sheet.paste(cell.resize((_CELL - 2, _CELL - 2), Image.Resampling.LANCZOS), (second * _CELL, top))
            off = [f"({category})" for category in clip.off_screen[second]]
            caption = " + ".join(clip.sounding[second] + off) or "-"
            pen.text((second * _CELL + 2, top + _CELL), caption, fill=(255, 230, 120))
        pen.text((2, top + 2), name, fill=(255, 255, 255))
        _draw_loudness(pen, clip.waveform, top + _CELL + _CAPTION - 2)
    return sheet


def _outlined(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The frame with the mask's border in green, 2 pixels wide."""
    inner = mask.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            inner &= np.roll(mask, step, axis)
    edge = mask & ~inner
    edge |= np.roll(edge, 1, 0) & mask
    out = frame.copy()
    out[edge] = (60, 255, 60)
    return out


def _draw_loudness(pen: ImageDraw.ImageDraw, waveform: np.ndarray, base: int) -> None:
    columns = np.array_split(np.abs(waveform), 5 * _CELL)
    heights = [min(9.0, 12 * float(np.sqrt((column**2).mean() * 4))) for column in columns]
    for x, height in enumerate(heights):
        pen.line((x, base - height, x, base), fill=(110, 170, 255))
