"""Pictures of a clip beside each other: its frames, the truth in them, the prediction in them."""

from __future__ import annotations

import numpy as np
from PIL import Image

from avseg_cli.pages.html import picture_uri

SIDE = 160  # pixels of a picture's height
TRUE, FOUND = (60, 200, 120), (255, 45, 120)  # RGB of what is true and what was predicted


def strips(frames: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> list[tuple[str, str]]:
    """Three rows as (name, data: address). frames: uint8 (A, H, W, 3), truth and prediction: bool (A, H, W)."""
    pictures = {
        "frame": frames,
        "truth": _marked(frames, truth, TRUE),
        "prediction": _marked(frames, prediction, FOUND),
    }
    return [(name, picture_uri(strip(row), quality=80)) for name, row in pictures.items()]


def _marked(frames: np.ndarray, masks: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Frames (A, H, W, 3) with what the masks hold in colour, and the rest darker."""
    inside = masks[..., None]
    return np.where(inside, 0.35 * frames + 0.65 * np.array(color), 0.4 * frames).astype(np.uint8)


def strip(frames: np.ndarray) -> Image.Image:
    """Pictures (A, H, W, 3) beside each other."""
    width = max(1, round(SIDE * frames.shape[2] / frames.shape[1]))
    whole = Image.new("RGB", (len(frames) * (width + 2) - 2, SIDE))
    for place, frame in enumerate(frames):
        whole.paste(Image.fromarray(frame).resize((width, SIDE), Image.Resampling.LANCZOS), (place * (width + 2), 0))
    return whole
