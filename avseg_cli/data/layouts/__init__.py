"""How AVSBench lays out the files of its clips: each file here is one layout, and says in ``SUBSETS`` what comes in it.

Both who reads a data set and who makes one (`avseg synth`) take the places from here. To add one, add a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from avseg_cli.base.errors import DataError
from avseg_cli.base.registry import Registry


@dataclass(frozen=True)
class Places:
    """Where one clip's files are, below the folder of a subset's files."""

    name: str
    category: str  # "" where there is no single one
    frames: tuple[Path, ...]
    masks: tuple[Path, ...]  # of every frame, annotated or not
    wav: Path
    log_mel: Path | None = None  # AVSBench's pickled log-mel
    video: Path | None = None  # the whole video the clip was cut from; other suffixes will do
    object_maps: tuple[Path, ...] = ()  # of `avseg synth`; below the data root


@dataclass(frozen=True)
class Layout:
    """needed: columns of the csv. places: those of the clip in a row of it, given the folder of the files, and the
    number of frames. told: the places in words. columns: of the csv that `avseg synth` writes; none where it makes no
    data in this layout. square: whether masks have 224 pixels a side, rather than the video's shape.
    """

    needed: tuple[str, ...]
    places: Callable[[Path, Mapping[str, str], int], Places]
    told: str
    columns: tuple[str, ...] = ()
    square: bool = True


@dataclass(frozen=True, kw_only=True)
class Subset:
    """One subset of AVSBench: where its files lie and how they are used.

    folder: below the data root, "" for the data root itself; metadata: the csv in it; files: the folder of the files
    in it. frames: T, one a second. train_annotated: frames with a mask in the train split, from the first. single: one
    source sounds all along, rather than several that come and go. fusion_depth: ST-BAVA blocks of the paper.
    published: videos in train, val and test. figures: the subset whose published figures are of the same clips; none
    where that is itself.
    """

    name: str
    title: str
    layout: Layout
    folder: str
    metadata: str
    files: str
    frames: int = 5
    train_annotated: int = 5
    single: bool = False
    fusion_depth: int = 7
    published: tuple[int, int, int]
    figures: str = ""

    def annotated(self, split: str) -> int:
        """How many frames of a clip have a mask, from the first on."""
        return self.train_annotated if split == "train" else self.frames


LAYOUTS: Registry[tuple[Subset, ...]] = Registry(__name__, Path(__file__).parent, "SUBSETS", "layout", DataError)


def object_maps(split: str, name: str, frames: int) -> tuple[Path, ...]:
    """Where `avseg synth` puts the category of every pixel, below the data root."""
    return tuple(Path("object_maps", split, name, f"{name}_{k}.png") for k in range(1, frames + 1))
