"""A video that is in memory already: its frames and its samples as arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from avseg_cli.base.errors import InputError, named
from avseg_cli.media.audio import SoundReader
from avseg_cli.media.container import Damage
from avseg_cli.model.log_mel import SAMPLE_RATE


@dataclass(frozen=True, eq=False)
class Recording:
    """frames: uint8 RGB (N, H, W, 3), ``rate`` of them a second. samples: mono sound (M,) float in [-1, 1],
    ``sample_rate`` of them a second, from the time of the first frame on.

    Raises ``InputError`` naming the field that is of another shape or type.
    """

    frames: np.ndarray
    rate: float | Fraction
    samples: np.ndarray
    sample_rate: int = SAMPLE_RATE
    path: Path = field(default=Path("arrays"), init=False)  # what messages call it
    warnings: tuple[str, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        frames, samples = self.frames, self.samples
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not frames.size:
            raise InputError(f"{named('frames')} is {frames.dtype} {frames.shape}; give uint8 RGB (N, H, W, 3)")
        if samples.ndim != 1 or samples.dtype.kind != "f" or not np.isfinite(samples).all():
            raise InputError(f"{named('samples')} is {samples.dtype} {samples.shape}; give finite floats (M,)")
        for name in ("rate", "sample_rate"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"{named(name)} is {getattr(self, name)}; give more than 0 a second")

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.frames.shape[1], self.frames.shape[2]

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.frames) / float(self.rate)


@dataclass(frozen=True, eq=False)
class StillPicture:
    """One frame of a recording at its time in seconds."""

    pixels: np.ndarray
    time: float
    video: Recording

    @property
    def held(self) -> float:
        """Seconds for which it is shown."""
        return 1 / float(self.video.rate)

    def rgb(self) -> np.ndarray:
        """uint8 RGB (H, W, 3)."""
        return np.ascontiguousarray(self.pixels)

    def grey(self, size: tuple[int, int]) -> np.ndarray:
        """In grey at another (height, width), uint8."""
        return np.asarray(Image.fromarray(self.pixels).convert("L").resize(size[::-1], Image.Resampling.BOX))


class RecordingReader:
    """Iterates over the pictures from ``start`` seconds on and before ``end``."""

    def __init__(self, video: Recording, start: float = 0.0, end: float | None = None) -> None:
        self.video, self.start, self.end = video, start, end
        self.damage = Damage()

    def __iter__(self) -> Iterator[StillPicture]:
        for number, pixels in enumerate(self.video.frames):
            time = number / float(self.video.rate)
            if self.end is not None and time >= self.end:
                return
            if time >= self.start:
                yield StillPicture(pixels, time, self.video)


class RecordingSound(SoundReader):
    """The 16 kHz sound of any second of a recording."""

    def _mono(self, sound: Recording, start: float) -> Iterator[tuple[float, int, np.ndarray]]:
        yield 0.0, sound.sample_rate, np.asarray(sound.samples, np.float32)
