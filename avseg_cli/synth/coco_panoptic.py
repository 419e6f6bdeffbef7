"""COCO photographs with panoptic masks: images/NAME.jpg, masks/NAME.png (a class number at each pixel, 0 unlabelled),
and classes.yaml (``NUMBER: class``, a line each)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from avseg_cli.base.errors import DataError
from avseg_cli.synth.coco_classes import KINDS, UNSURE, of_coco
from avseg_cli.synth.masked import Masked, by_kind, class_numbers

CLASSES = "classes.yaml"
UNLABELLED = 0


def read_panoptic(coco: Path) -> Iterator[Masked]:
    """The photographs of such a folder. Raises ``DataError`` for one that is not as it should be."""
    pictures, classes = sorted((coco / "images").glob("*.jpg")), _classes(coco / CLASSES)
    if not pictures:
        raise DataError(f"{coco}: has no images/*.jpg; name a folder with images, masks and {CLASSES}")
    kind_of = {number: KINDS[name] for number, name in classes.items() if name in KINDS}
    unknown = {UNLABELLED, *(number for number, name in classes.items() if name in UNSURE)}
    for picture in pictures:
        path = coco / "masks" / f"{picture.stem}.png"
        numbers = class_numbers(path, picture)
        if unnamed := set(np.unique(numbers).tolist()) - classes.keys() - {UNLABELLED}:
            raise DataError(f"{path}: has the class number {min(unnamed)}, which {CLASSES} does not name; add it there")
        mask, kinds = by_kind(numbers, kind_of, unknown)
        yield of_coco(picture, kinds, lambda mask=mask: mask, complete=True)  # each pixel is of a class


def _classes(path: Path) -> dict[int, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {error}; it must name each class number of the masks") from error
    pairs = [line.partition("#")[0].partition(":") for line in lines]
    found = {
        int(number): name.strip().strip("'\"") for number, _, name in pairs if number.strip().isdigit() and name.strip()
    }
    if not found:
        raise DataError(f"{path}: has no line NUMBER: class; it must name each class number of the masks")
    return found
