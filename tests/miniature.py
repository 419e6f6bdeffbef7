"""A miniature AVSBench, made on the fly in each of its layouts: two kinds of squares, two tones.

A red square sounds at 300 Hz, a blue one at 2 kHz; both are visible, the mask is the one that sounds.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

SIZE = 224
RATE = 16_000
CATEGORIES = ("low", "high")
COLOURS = ((220, 40, 40), (40, 60, 220))
TONES = (300.0, 2000.0)  # Hz
SPLITS = {"train": 8, "val": 3, "test": 3}


def make(root: Path, layout: str = "ms3", splits: dict[str, int] | None = None, seed: int = 0) -> Path:
    """Write a data set and return its root. layout: s4, ms3, v1s, v1m or v2."""
    random = np.random.default_rng(seed)
    writer = {"s4": _write_s4, "ms3": _write_ms3}.get(layout, _write_avss)
    rows = []
    manifest = []
    for split, count in (splits or SPLITS).items():
        for number in range(count):
            name = f"{split}{number}"
            clip = Drawn(random, 10 if layout == "v2" else 5, single=layout in ("s4", "v1s"))
            rows.append(writer(root, layout, split, name, clip))
            manifest.append({
                "name": name, "split": split, "sounding": [[CATEGORIES[k]] if k >= 0 else [] for k in clip.sounding],
                "off_screen": [[] for _ in clip.sounding],
            })  # fmt: skip
            for k, labels in enumerate(clip.maps, start=1):
                _save(root / "object_maps" / split / name / f"{name}_{k}.png", Image.fromarray(labels))
    folder = {"s4": root / "Single-source", "ms3": root / "Multi-sources"}.get(layout, root)
    table = {"s4": "s4_meta_data.csv", "ms3": "ms3_meta_data.csv"}.get(layout, "metadata.csv")
    with open(folder / table, "w", newline="") as file:
        writer_csv = csv.DictWriter(file, list(rows[0]))
        writer_csv.writeheader()
        writer_csv.writerows(rows)
    (root / "categories.json").write_text(json.dumps(CATEGORIES))
    (root / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in manifest))
    return root


class Drawn:
    """The content of one clip. sounding: per second the category heard, -1 for silence."""

    def __init__(self, random: np.random.Generator, seconds: int, single: bool) -> None:
        first = int(random.integers(2))
        self.sounding = [first] * seconds if single else [first, first, 1 - first, 1 - first, -1] * (seconds // 5)
        self.frames, self.maps, self.masks = [], [], []
        corners = [random.integers(8, 40, 2), random.integers(120, 150, 2)]
        for second, heard in enumerate(self.sounding):
            coarse = random.integers(90, 130, (SIZE // 8, SIZE // 8, 3)).astype(np.uint8)
            frame = coarse.repeat(8, 0).repeat(8, 1)
            labels = np.zeros((SIZE, SIZE), np.uint8)
            for category, corner in enumerate(corners):
                y, x = corner + second
                frame[y : y + 64, x : x + 64] = COLOURS[category]
                labels[y : y + 64, x : x + 64] = category + 1
            self.frames.append(frame)
            self.maps.append(labels)
            self.masks.append(labels == heard + 1 if heard >= 0 else np.zeros_like(labels, bool))
        time = np.arange(RATE) / RATE
        tones = [0.3 * np.sin(2 * np.pi * TONES[k] * time) if k >= 0 else 0 * time for k in self.sounding]
        self.waveform = np.concatenate(tones).astype(np.float32)


def mask_image(mask: np.ndarray, mode: int) -> Image.Image:
    """The mask in one of the three modes that AVSBench stores: gray 0/255, one bit, palette."""
    gray = Image.fromarray(mask.astype(np.uint8) * 255)
    if mode % 3 == 0:
        return gray
    if mode % 3 == 1:
        return gray.convert("1")
    palette = Image.fromarray(mask.astype(np.uint8), "P")
    palette.putpalette([0, 0, 0, 128, 0, 0])
    return palette


def _save(path: Path, image: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **({"compress_level": 1} if path.suffix == ".png" else {}))


def _sound(path: Path, clip: Drawn) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, clip.waveform, RATE)


def _write_s4(root: Path, layout: str, split: str, name: str, clip: Drawn) -> dict[str, str]:
    files, category = root / "Single-source" / "s4_data", CATEGORIES[clip.sounding[0]]
    inside = Path(split) / category
    for k, (frame, mask) in enumerate(zip(clip.frames, clip.masks, strict=True), start=1):
        _save(files / "visual_frames" / inside / name / f"{name}_{k}.png", Image.fromarray(frame))
        if split != "train" or k == 1:
            _save(files / "gt_masks" / inside / name / f"{name}_{k}.png", mask_image(mask, k))
    _sound(files / "audio_wav" / inside / f"{name}.wav", clip)
    return {"name": name, "start": "0", "category": category, "split": split}


def _write_ms3(root: Path, layout: str, split: str, name: str, clip: Drawn) -> dict[str, str]:
    files = root / "Multi-sources" / "ms3_data"
    for k, (frame, mask) in enumerate(zip(clip.frames, clip.masks, strict=True), start=1):
        _save(files / "visual_frames" / name / f"{name}.mp4_{k}.png", Image.fromarray(frame))
        _save(files / "gt_masks" / split / name / f"{name}_{k}.png", mask_image(mask, k))
    _sound(files / "audio_wav" / split / f"{name}.wav", clip)
    return {"name": name, "split": split}


def _write_avss(root: Path, layout: str, split: str, name: str, clip: Drawn) -> dict[str, str]:
    folder = root / layout / name
    for k, (frame, mask) in enumerate(zip(clip.frames, clip.masks, strict=True)):
        _save(folder / "frames" / f"{k}.jpg", Image.fromarray(frame))
        if layout != "v1s" or split != "train" or k == 0:
            colour = np.zeros((SIZE, SIZE, 3), np.uint8)
            colour[mask] = (0, 0, 64)  # any channel above 0 counts
            _save(folder / "labels_rgb" / f"{k}.png", Image.fromarray(colour))
    _sound(folder / "audio.wav", clip)
    return {
        "vid": name, "uid": name, "s_min": "0", "s_sec": "0", "a_obj": CATEGORIES[clip.sounding[0]],
        "split": split, "label": layout,
    }  # fmt: skip
