"""A folder of one's own clips with drawn masks: clips/NAME.mp4 and masks/NAME/0.png, 1.png, … for each second."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avseg_cli.base.errors import DataError
from avseg_cli.data.files import read_image
from avseg_cli.segment.inputs import VIDEO_SUFFIXES

LAYOUT = (
    "expected clips/NAME.mp4, and masks/NAME/0.png, 1.png, … of what sounds in the last frame of each second "
    "(white on black; all black where nothing visible sounds)"
)


@dataclass(frozen=True)
class RealClip:
    """A clip, and the mask drawn for each of its seconds from the first on."""

    path: Path
    masks: tuple[Path, ...]

    @property
    def name(self) -> str:
        """What its folder of masks is called."""
        return self.path.stem


def read_footage(root: Path, limit: int | None = None) -> list[RealClip]:
    """The clips of a folder by name, at most ``limit``; raises ``DataError`` for what it lacks."""
    folder = root.expanduser() / "clips"
    if not folder.is_dir():
        raise DataError(f"{root}: no folder of clips with drawn masks; {LAYOUT}")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    if not paths:
        raise DataError(f"{folder}: holds no video; {LAYOUT}")
    names = Counter(path.stem for path in paths)
    twice = next((name for name, count in names.items() if count > 1), None)
    if twice:
        raise DataError(f"{folder}: two clips are called {twice}; rename one, since masks/{twice} is of one clip")
    return [RealClip(path, _masks(folder.parent / "masks" / path.stem, path)) for path in paths[:limit]]


def _masks(folder: Path, clip: Path) -> tuple[Path, ...]:
    found = {int(path.stem): path for path in folder.glob("*.png") if path.stem.isdecimal()}
    if not found:
        raise DataError(f"{folder}: no masks of {clip.name} there; {LAYOUT}")
    missing = next((second for second in range(max(found)) if second not in found), None)
    if missing is not None:
        raise DataError(
            f"{folder / f'{missing}.png'}: missing, though {max(found)}.png is there; every second up to the last "
            "needs its mask, all black where nothing visible sounds"
        )
    return tuple(found[second] for second in range(len(found)))


def read_drawn(path: Path, size: tuple[int, int]) -> np.ndarray:
    """A mask as bool (H, W): true where it is brighter than half. Raises ``DataError`` unless it has that size."""
    picture = read_image(path, "L")
    if picture.shape != size:
        (height, width), (down, across) = size, picture.shape
        raise DataError(f"{path}: is {across} x {down} pixels, its clip {width} x {height}; make it of the clip's size")
    if 0 < picture.max() < 128:
        raise DataError(
            f"{path}: nothing in it is brighter than {picture.max()} of 255, so all would count as empty; "
            "write what sounds as 255"
        )
    return picture > 127
