"""A small media library made on the fly: coloured shapes that hum at their own pitch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from avseg_cli.synth.library import SPLITS, Library
from avseg_cli.synth.sound_files import SAMPLE_RATE, wav_bytes

CATEGORIES = {"bell": 1200.0, "horn": 300.0, "whistle": 2600.0}
COLOURS = {"bell": (220, 60, 40), "horn": (40, 200, 70), "whistle": (60, 80, 230)}


def make_media(root: Path, cutouts: int = 3, recordings: int = 2) -> Path:
    """Fill ``root`` as ``avseg synth fetch`` would; every category has its own colour, shape and pitch."""
    rng = np.random.default_rng(5)
    for category, pitch in CATEGORIES.items():
        for number in range(cutouts):
            _save(_shape(COLOURS[category], number), root / "objects" / category / f"{category}{number}.png")
        for number in range(recordings):
            time = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
            tone = 0.5 * np.sin(2 * np.pi * pitch * (1 + 0.02 * number) * time)
            path = root / "sounds" / category / f"{category}{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(wav_bytes(tone.astype(np.float32)))
    for number in range(6):
        noise = rng.integers(90, 160, (60, 80, 3), dtype=np.uint8)
        photo = Image.fromarray(noise).resize((320, 240), Image.Resampling.BICUBIC)
        _save(photo, root / "backgrounds" / f"place{number}.jpg")
    for number in range(3):
        _save(_shape((200, 200, 60), number), root / "distractors" / f"thing{number}.png")
    hiss = 0.1 * rng.standard_normal(3 * SAMPLE_RATE)
    for number in range(2):
        path = root / "ambience" / f"hiss{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wav_bytes(hiss.astype(np.float32)))
    return root


def load_root(root: Path, seed: int = 0, splits: Sequence[str] = SPLITS) -> Library:
    """The library in a folder that ``avseg synth fetch`` or ``make_media`` filled."""
    optional = {name: root / name if (root / name).is_dir() else None for name in ("distractors", "ambience")}
    return Library.load(root / "objects", root / "sounds", root / "backgrounds", **optional, seed=seed, splits=splits)


def _shape(colour: tuple[int, int, int], number: int) -> Image.Image:
    picture = Image.new("RGBA", (120, 100), (0, 0, 0, 0))
    pen = ImageDraw.Draw(picture)
    draw = (pen.ellipse, pen.rectangle, pen.rounded_rectangle)[number % 3]
    draw((10, 10, 110, 90), fill=(*colour, 255))
    return picture


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
