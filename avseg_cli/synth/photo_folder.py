"""``avseg synth photos``: COCO photographs with panoptic masks, and frames of composed clips.

``avseg train --photos`` reads them.

A COCO folder here has images/NAME.jpg, masks/NAME.png (a class number at each pixel, 0 unlabelled), and classes.yaml
(``NUMBER: class``, a line each).
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from avseg_cli.base.errors import DataError
from avseg_cli.base.whole_files import new_folder
from avseg_cli.data.files import UNREADABLE
from avseg_cli.synth.clip_material import photographs_of, read_composed

COLUMNS = ("image", "mask", "kinds", "complete", "source", "licence", "origin")
LICENCE = "photo: Flickr user's Creative Commons licence; masks: CC BY 4.0"
UNKNOWN = 255
KINDS = {  # COCO's class -> kind; others are background
    "person": "person", "car": "car", "motorcycle": "motorcycle", "airplane": "aeroplane", "bus": "bus", "truck": "bus",
    "train": "train", "boat": "boat", "bird": "bird", "cat": "cat", "dog": "dog", "horse": "horse", "zebra": "horse",
    "sheep": "sheep", "cow": "cow", "elephant": "elephant", "bear": "bear", "giraffe": "other", "tv": "tv",
    "keyboard": "typing", "cell phone": "phone", "clock": "clock",
}  # fmt: skip
OTHER_KINDS = {"other", "tv"}  # things that never sound
UNSURE = ("laptop",)  # with keys that may be typed on, and more: neither that nor background


def gather_photographs(out: Path, coco: Path | None = None, clips: Path | None = None) -> int:
    """Fill ``out`` with photographs, their masks by kind, and manifest.tsv; returns how many there are.

    coco: a COCO folder. clips: one that ``avseg synth`` made. The folder appears whole or not at all. Raises
    ``OutputError`` when it exists, ``DataError`` for a folder that is not as it should be.
    """
    with new_folder(out) as folder:
        rows: list[tuple[str, ...]] = [COLUMNS]
        if clips:
            rows += photographs_of(read_composed(clips), folder)
        if coco:
            rows += _converted(coco, folder)
        (folder / "manifest.tsv").write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return len(rows) - 1


def photographs(coco: Path) -> list[Path]:
    """The pictures of a COCO folder. Raises ``DataError`` where there are none."""
    pictures = sorted((coco / "images").glob("*.jpg"))
    if not pictures:
        raise DataError(f"{coco}: has no images/*.jpg; name a folder with images, masks and classes.yaml")
    return pictures


def _classes(path: Path) -> dict[int, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; it must name each class number of the masks") from error
    pairs = [line.strip().partition(": ") for line in lines]
    return {int(number): name.strip("'\"") for number, colon, name in pairs if colon and number.isdigit()}


def _converted(coco: Path, folder: Path) -> list[tuple[str, ...]]:
    pictures, classes = photographs(coco), _classes(coco / "classes.yaml")
    (folder / "coco").mkdir()
    return [_convert(picture, coco, classes, folder) for picture in pictures]


def _convert(picture: Path, coco: Path, classes: dict[int, str], folder: Path) -> tuple[str, ...]:
    """Write a photograph and its mask; its line."""
    name = picture.stem
    try:
        with Image.open(coco / "masks" / f"{name}.png") as mask, Image.open(picture) as opened:
            numbers, size = np.asarray(mask), opened.size
    except FileNotFoundError as error:
        raise DataError(f"{coco / 'masks' / name}.png: {error}; each picture needs its mask") from error
    except UNREADABLE as error:
        raise DataError(f"{picture}, or its mask: not a readable picture ({error})") from error
    if numbers.shape != size[::-1]:
        raise DataError(f"{coco / 'masks' / name}.png: {numbers.shape[::-1]}, and its picture is {size}")
    found = {KINDS[classes[n]] for n in np.unique(numbers).tolist() if classes.get(n) in KINDS}
    kinds = [kind for kind in dict.fromkeys(KINDS.values()) if kind in found]
    table = np.zeros(int(numbers.max()) + 1, np.uint8)
    for number in np.unique(numbers).tolist():
        named = classes.get(number, "")
        table[number] = 1 + kinds.index(KINDS[named]) if named in KINDS else UNKNOWN * (number == 0 or named in UNSURE)
    shutil.copyfile(picture, folder / "coco" / picture.name)
    Image.fromarray(table[numbers]).save(folder / "coco" / f"{name}.png", optimize=True)
    files = (f"coco/{picture.name}", f"coco/{name}.png")
    return (*files, ",".join(kinds), "1", "coco", LICENCE, f"COCO 2017, {picture.name}")
