"""Colours as videos have them: RGB in a matrix and a range. Which colour a source has is in ``palette``."""

from __future__ import annotations

from avseg_cli.media.video import Pictures

LUMA = {1: (0.2126, 0.0722), 9: (0.2627, 0.0593)}  # weights of red and blue by matrix; the others are BT.601's
BT601_LUMA = (0.299, 0.114)


def to_yuv(color: tuple[int, int, int], video: Pictures) -> tuple[int, int, int]:
    """An RGB colour in the video's own matrix and range."""
    red, blue = LUMA.get(video.guessed_matrix, BT601_LUMA)
    r, g, b = (value / 255 for value in color)
    y = red * r + (1 - red - blue) * g + blue * b
    u, v = (b - y) / (2 - 2 * blue), (r - y) / (2 - 2 * red)
    if video.full_range:
        return round(255 * y), round(128 + 255 * u), round(128 + 255 * v)
    return round(16 + 219 * y), round(128 + 224 * u), round(128 + 224 * v)


def lightened(color: tuple[int, int, int], share: float) -> tuple[int, int, int]:
    """An RGB colour with ``share`` (0 to 1) of white in it."""
    red, green, blue = (round(value + share * (255 - value)) for value in color)
    return red, green, blue
