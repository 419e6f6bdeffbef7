"""manifest.jsonl of a folder that ``avseg synth`` made: a line for each clip, with what is seen and heard in it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from avseg_cli.base.errors import DataError
from avseg_cli.base.json_text import parse_json
from avseg_cli.data.clips import Clip, folder_with
from avseg_cli.data.layouts import Subset
from avseg_cli.data.subsets import subset_folder

NAME = "manifest.jsonl"
AGAIN = "make the clips again"
SOUNDING = ("sounding", "off_screen")  # of a line: who sounds when


def is_composed(data_root: str | Path, subset: Subset) -> bool:
    """Whether ``avseg synth`` made a data root."""
    return (folder_with(NAME, subset_folder(data_root, subset)) / NAME).is_file()


def composed_lines(folder: Path, needed: Collection[str]) -> list[dict[str, Any]]:
    """A dictionary for each clip, with ``needed`` in it, its name and its split.

    Raises ``DataError`` for another folder, and for malformed lines.
    """
    path = folder / NAME
    try:
        lines = [parse_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{folder}: not a folder that `avseg synth` made; it has no {NAME}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable ({error}); {AGAIN}") from error
    for number, line in enumerate(lines, start=1):
        if not isinstance(line, dict):
            raise DataError(f"{path}: line {number} does not tell of a clip; {AGAIN}")
        lacks = [name for name in needed if name not in line]
        lacks += [name for name in ("name", "split") if not isinstance(line.get(name), str)]
        if lacks:
            raise DataError(f"{path}: line {number} does not say {', '.join(lacks)}; {AGAIN}")
    return lines


def read_labels(data_root: str | Path, subset: Subset, clips: Sequence[Clip], categories: list[str]) -> Tensor:
    """Which category sounds in which second, seen or not: float (clips, T, categories), from ``manifest.jsonl``.

    Raises ``DataError`` when the manifest is missing or does not have a clip.
    """
    folder = subset_folder(data_root, subset)
    root = folder_with(NAME, folder)
    rows = {(line["split"], line["name"]): line for line in composed_lines(root, SOUNDING)}
    number = {name: i for i, name in enumerate(categories)}
    labels = torch.zeros(len(clips), len(clips[0].frames), len(categories))
    for i, clip in enumerate(clips):
        row = rows.get((clip.split, clip.name))
        if row is None:
            raise DataError(f"{root / NAME}: has no clip {clip.name} of split {clip.split}; {AGAIN}")
        try:
            for k in range(labels.shape[1]):
                for category in (*row["sounding"][k], *row["off_screen"][k]):
                    labels[i, k, number[category]] = 1.0
        except (LookupError, TypeError) as error:
            raise DataError(f"{root / NAME}: what sounds in {clip.name} is malformed; {AGAIN}") from error
    return labels
