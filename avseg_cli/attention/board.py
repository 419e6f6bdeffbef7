"""What the attention sheet and the attention video are drawn with: heat over pictures, scales, sound, words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch.nn import functional as F

from avseg_cli.attention.instants import FrameLook, MapRow
from avseg_cli.model.log_mel import EXAMPLE_SAMPLES, SAMPLE_RATE, log_mel_examples

GROUND, PALE, FAINT, ACCENT = (20, 20, 28), (236, 236, 244), (150, 150, 166), (255, 45, 120)
# Heat: how far from the lower end (or, to both sides, from an even share), and the colour there.
FIRE = (
    (0.0, (40, 10, 70)),
    (0.25, (130, 30, 110)),
    (0.5, (215, 65, 75)),
    (0.75, (250, 150, 35)),
    (1.0, (255, 245, 160)),
)
LESS = ((0.0, (70, 110, 160)), (0.5, (45, 130, 215)), (1.0, (120, 225, 255)))
MORE = ((0.0, (160, 110, 70)), (0.5, (240, 130, 30)), (1.0, (255, 240, 150)))
STEPS = 255  # odd: the middle is exactly an even share
PICTURE = 0.5  # brightness of the grey picture under the heat
COVER = 0.9  # opacity of the strongest heat
FLOOR = -4.6  # log-mel of silence: the logarithm of 0.01


@dataclass(frozen=True)
class Scale:
    """Turns multiples of an even share into colours over a grey picture.

    low and high are the ends. With ``two_sided`` the colours part at 1: blue is less than an even share, orange
    more; without, dark is little and bright is much.
    """

    low: float
    high: float
    two_sided: bool

    @classmethod
    def of_space(cls, maps: list[np.ndarray]) -> Scale:
        """From nothing to what only 1 in 500 tokens exceeds."""
        return cls(0.0, max(2.0, float(np.quantile(np.stack(maps), 0.998))), two_sided=False)

    @classmethod
    def of_time(cls, maps: list[np.ndarray]) -> Scale:
        """As far to both sides of 1 as all but 1 in 200 tokens go."""
        reach = float(np.quantile(np.abs(np.stack(maps) - 1), 0.995)) if maps else 0.0
        reach = min(1.0, max(0.1, reach))
        return cls(1 - reach, 1 + reach, two_sided=True)

    @cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray]:
        """Colour (STEPS, 3) and opacity (STEPS, 1) from the low end to the high one."""
        place = np.linspace(0, 1, STEPS)
        if not self.two_sided:
            return _gradient(FIRE, place), COVER * np.minimum(1, 1.4 * place[:, None])
        middle = place[:, None] * 2 - 1
        colour = np.where(middle < 0, _gradient(LESS, -middle[:, 0]), _gradient(MORE, middle[:, 0]))
        return colour, COVER * np.abs(middle) ** 0.7

    def paint(self, grey: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Heat over a darkened picture: grey uint8 (H, W), values (H, W) -> uint8 RGB (H, W, 3)."""
        colour, opacity = self._table
        place = (values - self.low) * np.float32((STEPS - 1) / (self.high - self.low))
        index = np.clip(place, 0, STEPS - 1).astype(np.uint8)
        return (grey[..., None] * (PICTURE * (1 - opacity[index])) + colour[index] * opacity[index]).astype(np.uint8)

    def flat(self, values: np.ndarray) -> np.ndarray:
        """The colours alone, on dark ground: (H, W) -> uint8 RGB (H, W, 3)."""
        return self.paint(np.full(values.shape, 80, np.uint8), values)

    def ticks(self) -> list[float]:
        """Values worth naming on a colour bar."""
        return [self.low, 1.0, self.high] if self.low < 1 < self.high else [self.low, self.high]


def _gradient(stops: tuple[tuple[float, tuple[int, int, int]], ...], place: np.ndarray) -> np.ndarray:
    at = [stop for stop, _ in stops]
    return np.stack([np.interp(place, at, [colour[c] for _, colour in stops]) for c in range(3)], -1)


def scales(rows: list[MapRow]) -> tuple[Scale, Scale]:
    """One scale for all maps over space, and one for all over time: rows can be compared by eye."""
    over_time = [maps for row in rows for maps in (row.time, row.listening) if maps is not None]
    return Scale.of_space([row.space for row in rows]), Scale.of_time(over_time)


def enlarged(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(n, g, g) -> (n, H, W), bilinear; size is (width, height) in pixels."""
    values = torch.from_numpy(np.ascontiguousarray(maps, np.float32))[None]
    return F.interpolate(values, size[::-1], mode="bilinear", align_corners=False)[0].numpy()


def resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An RGB picture at (width, height) pixels."""
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR, reducing_gap=2))


def grey(picture: np.ndarray) -> np.ndarray:
    """Brightness of an RGB picture, uint8 (H, W)."""
    return (picture @ np.array([0.299, 0.587, 0.114], np.float32)).astype(np.uint8)


def outlined(picture: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """The RGB picture with a line around what the model finds sounding."""
    mask = enlarged(logits[None], picture.shape[1::-1])[0] > 0
    out = picture.copy()
    side = 2 * max(2, picture.shape[1] // 160) + 1
    out[(cv2.dilate(mask.view(np.uint8), np.ones((side, side), np.uint8)) > 0) & ~mask] = ACCENT
    return out


def sound_strip(instants: list[FrameLook], size: tuple[int, int]) -> np.ndarray:
    """What the model hears, a second beside the other: waveform above log-mel, RGB at (width, height) pixels."""
    width, height = size
    tall = height * 2 // 5
    strip = Image.new("RGB", size, GROUND)
    draw = ImageDraw.Draw(strip)
    loudest = max(0.02, *(float(np.abs(instant.wave).max()) for instant in instants))
    edges = np.linspace(0, width, len(instants) + 1).round().astype(int)
    for instant, left, right in zip(instants, edges, edges[1:], strict=False):
        heard = round((right - left) * EXAMPLE_SAMPLES / SAMPLE_RATE)  # an example is 0.975 s long
        for x, column in enumerate(np.array_split(instant.wave, heard), start=left):
            half = float(np.abs(column).max()) / loudest * (tall / 2 - 2)
            draw.line([(x, tall / 2 - half), (x, tall / 2 + half)], fill=ACCENT)
        log_mel = log_mel_examples(instant.wave)[0, 0].numpy().T[::-1]  # (64, 96), high bands on top
        bands = np.clip((log_mel - FLOOR) / 8, 0, 1)
        picture = Image.fromarray(_gradient(FIRE, bands).astype(np.uint8) * (bands[..., None] > 0.02).astype(np.uint8))
        strip.paste(picture.resize((heard, height - tall - 4), Image.Resampling.BILINEAR), (left, tall + 4))
        draw.line([(left, 0), (left, height)], fill=(60, 60, 74))
    return np.asarray(strip)


def length(words: str, size: int) -> int:
    """How wide a line is that ``Board.write`` writes, in pixels."""
    return round(ImageFont.load_default(size).getlength(words))


class Board:
    """A dark ground to paste pictures on and to write words on; all places are (left, top) in pixels."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.image = Image.new("RGB", size, GROUND)
        self._draw = ImageDraw.Draw(self.image)

    def paste(self, picture: np.ndarray, place: tuple[int, int]) -> None:
        self.image.paste(Image.fromarray(picture), place)

    def write(
        self, words: str, place: tuple[int, int], size: int, colour: tuple[int, int, int] = PALE, anchor: str = "la"
    ) -> None:
        """``anchor`` as in Pillow: where in the words ``place`` is."""
        self._draw.text(place, words, fill=colour, font=ImageFont.load_default(size), anchor=anchor, spacing=size // 3)

    def bar(self, scale: Scale, place: tuple[int, int], size: tuple[int, int], words: int) -> None:
        """A colour bar with its values below it, in letters of size ``words``."""
        (left, top), (width, height) = place, size
        values = np.broadcast_to(np.linspace(scale.low, scale.high, width, dtype=np.float32), (height, width))
        self.paste(scale.flat(values), place)
        last = float("-inf")
        for value in scale.ticks():
            x = left + round((value - scale.low) / (scale.high - scale.low) * (width - 1))
            self._draw.line([(x, top), (x, top + height + words // 3)], fill=PALE)
            if x - last < 2 * words:  # 1 lies on 0 where the heat goes far: the words beside the bar tell of it
                continue
            last = x
            named = f"{value:.0f}" if value == round(value) else f"{value:.1f}" if value > 2 else f"{value:.2f}"
            self.write(named, (x, top + height + words // 2), words, PALE, "ma")

    def array(self) -> np.ndarray:
        """RGB (H, W, 3)."""
        return np.array(self.image)
