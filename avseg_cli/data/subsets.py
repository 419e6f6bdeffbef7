"""AVSBench's subsets by name, and where one is."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path

from avseg_cli.base.errors import DataError, named
from avseg_cli.data.layouts import LAYOUTS, Subset

SPLITS = ("train", "val", "test")
MASK_SIZE = 224  # pixels: AVSBench's frames and masks, and the size its metrics are defined at
_OF_ALL_LAYOUTS = [subset for layout in LAYOUTS for subset in LAYOUTS[layout]]
SUBSETS = {subset.name: subset for subset in sorted(_OF_ALL_LAYOUTS, key=attrgetter("name"))}


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
        f"{root}: not a data root for {subset.name}: expected {expected} there ({subset.layout.told}), "
        f"but found {', '.join(found) or 'an empty folder'}"
    )


def made_subsets() -> tuple[str, ...]:
    """The names of those that `avseg synth` makes data in the layout of."""
    return tuple(name for name, subset in SUBSETS.items() if subset.layout.columns)
