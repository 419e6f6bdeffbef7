"""One picture with what sounds highlighted, for callers of the library who have it as an array."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from avseg_cli.base.errors import InputError, named
from avseg_cli.media.video import BT709, Picture, Pictures
from avseg_cli.outputs.drawing import Highlighter, plane_array, upright
from avseg_cli.outputs.style import Style
from avseg_cli.tracks.tracker import Tracked


def highlighted(
    pixels: np.ndarray,
    logits: np.ndarray,
    numbers: np.ndarray,
    image_size: int,
    threshold: float,
    style: Style,
    tracked: Tracked | None = None,
) -> np.ndarray:
    """``pixels``, uint8 RGB (H, W, 3), with the overlay that the model's ``logits`` (h, w) give it; a new array.

    numbers: of the nearest source at each place, (h, w). image_size: of the model's input; tracked: the sources, for
    their names. Raises ``InputError`` for
    pixels of another type or shape.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise InputError(f"{named('frame')} is {pixels.dtype} {pixels.shape}; give uint8 RGB (H, W, 3)")
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")  # 4:2:0 needs even sides
    video = video_of(padded)
    frame = upright(Picture(VideoFrame.from_ndarray(padded, format="rgb24"), 0, 0.0, video))
    highlighter = Highlighter(video, logits.shape[0], image_size, threshold, style)
    highlighter.learn(tracked)
    highlighter.draw([plane_array(frame, index) for index in range(3)], logits, numbers)
    return Picture(frame, 0, 0.0, video).rgb()[:height, :width]


def video_of(pixels: np.ndarray) -> Pictures:
    """A video that consists of the picture."""
    height, width = pixels.shape[:2]
    return Pictures(
        Path("arrays"), width, height, rotation=0, rate=Fraction(1), time_base=Fraction(1), zero=Fraction(0),
        duration=None, codec="rawvideo", pixel_format="rgb24", container="arrays", aspect=Fraction(1), matrix=BT709,
        primaries=BT709, transfer=BT709, full_range=False,
    )  # fmt: skip
