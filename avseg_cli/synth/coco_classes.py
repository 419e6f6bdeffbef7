"""What COCO's classes are here, whichever way its masks are stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from avseg_cli.synth.masked import Masked

LICENCE = "photo: Flickr user's Creative Commons licence; masks: CC BY 4.0"
KINDS = {  # COCO's class -> kind; others are background
    "person": "person", "car": "car", "motorcycle": "motorcycle", "airplane": "aeroplane", "bus": "bus", "truck": "bus",
    "train": "train", "boat": "boat", "bird": "bird", "cat": "cat", "dog": "dog", "horse": "horse", "zebra": "horse",
    "sheep": "sheep", "cow": "cow", "elephant": "elephant", "bear": "bear", "giraffe": "other", "tv": "tv",
    "keyboard": "typing", "cell phone": "phone", "clock": "clock",
}  # fmt: skip
UNSURE = ("laptop",)  # with keys that may be typed on, and more: neither that nor background


def of_coco(picture: Path, kinds: list[str], mask: Callable[[], np.ndarray], complete: bool) -> Masked:
    """A photograph of COCO's."""
    return Masked(picture, kinds, mask, complete, "coco", LICENCE, f"COCO 2017, {picture.name}")
