"""The five subsets of AVSBench as values of one dataclass: where their files lie and how they are used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from avseg_cli.base.errors import DataError, named
from avseg_cli.data.layouts import LAYOUTS

SPLITS = ("train", "val", "test")
MASK_SIZE = 224  # pixels: AVSBench's frames and masks, and the size its metrics are defined at


@dataclass(frozen=True)
class Subset:
    """One subset of AVSBench; S4 and MS3 differ in nothing but these values."""

    name: str
    title: str
    layout: str  # the file in ``layouts``
    folder: str  # root folder below the data root; "" is the data root itself
    metadata: str  # csv file in that folder
    files: str  # folder of the files, below ``folder``
    frames: int  # T, one a second
    train_annotated: int  # frames with a mask in the train split, from the first
    fusion_depth: int  # ST-BAVA blocks of the paper
    published: tuple[int, int, int]  # videos in train, val, test

    def annotated(self, split: str) -> int:
        """How many frames of a clip have a mask, from the first on."""
        return self.train_annotated if split == "train" else self.frames


SUBSETS = {
    subset.name: subset
    for subset in (
        Subset("s4", "single source", "s4", "Single-source", "s4_meta_data.csv", "s4_data", 5, 1, 5, (3452, 740, 740)),
        Subset(
            "ms3", "multiple sources", "ms3", "Multi-sources", "ms3_meta_data.csv", "ms3_data", 5, 5, 7, (296, 64, 64)
        ),
        Subset("v1s", "single source, later release", "avss", "", "metadata.csv", "v1s", 5, 1, 5, (3452, 740, 740)),
        Subset("v1m", "multiple sources, later release", "avss", "", "metadata.csv", "v1m", 5, 5, 7, (296, 64, 64)),
        Subset("v2", "ten seconds, later release", "avss", "", "metadata.csv", "v2", 10, 10, 7, (4750, 500, 750)),
    )
}


def find_subset(name: str) -> Subset:
    """The subset of that name; raises ``DataError`` for another name."""
    if name not in SUBSETS:
        raise DataError(f"no subset named {name!r}; choose one of {', '.join(SUBSETS)}")
    return SUBSETS[name]


def subset_folder(data_root: str | Path, subset: Subset) -> Path:
    """The folder that holds the subset's csv, given the data root or that folder itself.

    Raises ``DataError`` that tells the expected layout and what is there instead.
    """
    root = Path(data_root).expanduser()
    for folder in (root / subset.folder, root):
        if (folder / subset.metadata).is_file():
            return folder
    expected = "/".join(part for part in (subset.folder, subset.metadata) if part)
    if not root.is_dir():
        raise DataError(
            f"{root}: no such data folder; {named('data')} (or AVSEG_DATA) is the folder that holds {expected}"
        )
    found = sorted(path.name for path in root.iterdir())[:8]
    raise DataError(
        f"{root}: not a data root for {subset.name}: expected {expected} there ({LAYOUTS[subset.layout].told}), "
        f"but found {', '.join(found) or 'an empty folder'}"
    )


def made_subsets() -> tuple[str, ...]:
    """The names of those that `avseg synth` makes data in the layout of."""
    return tuple(name for name, subset in SUBSETS.items() if LAYOUTS[subset.layout].columns)
