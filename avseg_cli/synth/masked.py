"""A photograph and its mask by kind, whichever collection it is of."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from avseg_cli.base.errors import DataError
from avseg_cli.data.files import UNREADABLE, read_image

UNKNOWN = 255
T = TypeVar("T")


@dataclass(frozen=True)
class Masked:
    """mask: gives it, uint8 (H, W): 0 background, 1 the first of ``kinds`` and so on, 255 unknown.

    complete: whether everything of the known kinds is in it. origin: what the collection calls the photograph.
    """

    picture: Path
    kinds: list[str]
    mask: Callable[[], np.ndarray]
    complete: bool
    source: str
    licence: str
    origin: str


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height. Raises ``DataError`` for what is not a readable picture."""
    try:
        with Image.open(path) as picture:
            return picture.size
    except UNREADABLE as error:
        raise DataError(f"{path}: not a readable picture ({error}); get it again, or take it out") from error


def class_numbers(path: Path, picture: Path) -> np.ndarray:
    """A mask (H, W) that has a class number at each pixel. Raises ``DataError`` where it does not fit its picture."""
    numbers, size = read_image(path, cure="each picture needs its mask"), picture_size(picture)
    if numbers.ndim != 2 or numbers.dtype != np.uint8:
        raise DataError(f"{path}: not a mask with a class number of 8 bits at each pixel; convert it to one")
    if numbers.shape != size[::-1]:
        raise DataError(f"{path}: {numbers.shape[1]}x{numbers.shape[0]}, and its picture is {size[0]}x{size[1]}")
    return numbers


def by_kind(numbers: np.ndarray, kind_of: Mapping[int, str], unknown: Collection[int]) -> tuple[np.ndarray, list[str]]:
    """The mask of a picture (H, W) with a class number at each pixel, and the kinds in it."""
    present = np.unique(numbers).tolist()
    kinds = list(dict.fromkeys(kind_of[number] for number in present if number in kind_of))
    table = np.zeros(256, np.uint8)
    for number in present:
        known = number in kind_of
        table[number] = 1 + kinds.index(kind_of[number]) if known else UNKNOWN * (number in unknown)
    return table[numbers], kinds


def shuffled(items: Iterable[T]) -> list[T]:
    """In an order that is always the same, and not that of years or albums."""
    found = list(items)
    random.Random(0).shuffle(found)
    return found
