"""From a subset's csv to clips: names and paths, nothing read yet."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from avseg_cli.base.errors import DataError
from avseg_cli.base.json_text import parse_json
from avseg_cli.data.layouts import Subset
from avseg_cli.data.subsets import SPLITS, subset_folder

LABEL_TABLE = "label2idx.json"  # of the later release, beside its metadata.csv
PATH_COLUMNS = ("name", "split", "category", "uid")  # what becomes part of a path


@dataclass(frozen=True)
class Clip:
    """Where one clip's files are. ``masks`` holds the annotated frames only, from the first on."""

    name: str
    split: str
    category: str  # "" where the subset has no single category (MS3)
    frames: tuple[Path, ...]
    masks: tuple[Path, ...]
    wav: Path
    log_mel: Path | None  # AVSBench's pickled log-mel, the second choice
    object_maps: tuple[Path, ...]  # of ``avseg synth``: the category of every pixel; empty elsewhere
    video: Path | None = None  # the whole video, of any suffix; None where none is published


def read_clips(data_root: str | Path, subset: Subset, split: str, limit: int | None = None) -> list[Clip]:
    """The clips of one split in the csv's order, at most ``limit``.

    Raises ``DataError`` for a wrong root, a malformed csv, or a split without clips.
    """
    folder = subset_folder(data_root, subset)
    rows = read_metadata(folder, subset)
    known = sorted({row["split"] for row in rows})
    rows = [row for row in rows if row["split"] == split and _belongs(row, subset)]
    if not rows:
        raise DataError(
            f"{folder / subset.metadata}: no clip of {subset.name} in split {split!r}; "
            f"it has the splits {', '.join(known) or 'none at all'}"
        )
    return [_clip(folder, subset, row) for row in rows[:limit]]


def read_metadata(folder: Path, subset: Subset) -> list[dict[str, str]]:
    """The rows of a subset's csv; "name" is its first column. Raises ``DataError`` when it is malformed."""
    path = folder / subset.metadata
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            header = reader.fieldnames or []
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a csv file ({error})") from error
    for column in subset.layout.needed:
        if column not in header:
            raise DataError(f"{path}: the csv has no column {column!r} (it has {', '.join(header) or 'no header'})")
    for number, row in enumerate(rows, start=2):
        row["name"] = row[header[0]]
        if not row["name"] or None in row.values():
            raise DataError(f"{path}: line {number} is incomplete; get the csv of the data set again")
        for column in PATH_COLUMNS:
            if _leads_elsewhere(row.get(column) or "-"):
                raise DataError(f"{path}: line {number}: {row[column]!r} is not the name of a clip or a folder")
    return rows


def read_categories(data_root: str | Path, subset: Subset) -> list[str]:
    """The categories in the order of their numbers, 1-based: those of ``avseg synth``'s object maps, or of AVSS.

    Raises ``DataError`` when neither is there.
    """
    folder = subset_folder(data_root, subset)
    path = folder_with("categories.json", folder) / "categories.json"
    if path.is_file():
        try:
            content = parse_json(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{path}: not JSON ({error}); make the clips again") from error
        names = content.get("categories") if isinstance(content, dict) else content
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(f"{path}: not a list of category names")
        return names
    table = folder / LABEL_TABLE
    if table.is_file():
        return read_label_table(table)
    raise DataError(f"{folder}: no categories.json; this needs data made by `avseg synth`, which writes it")


def folder_with(name: str, folder: Path) -> Path:
    """Where a file of ``avseg synth`` lies: the folder of a subset, or the one above where that alone has it."""
    return folder.parent if not (folder / name).is_file() and (folder.parent / name).is_file() else folder


def read_label_table(path: Path) -> list[str]:
    """AVSS's ``label2idx.json``, name -> number with the background as 0: the names in order, without it.

    Raises ``DataError`` where it is not such a table.
    """
    try:
        table = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); get it again") from error
    numbers = sorted(table.values()) if isinstance(table, dict) and all(type(n) is int for n in table.values()) else []
    if numbers != list(range(len(numbers))) or len(numbers) < 2:
        raise DataError(f"{path}: not a table of names and the numbers 0 (background), 1, 2 …; get it again")
    return sorted(table, key=table.__getitem__)[1:]


def _leads_elsewhere(name: str) -> bool:
    return "\0" in name or any(part in ("", "..") for part in name.replace("\\", "/").split("/"))


def _belongs(row: dict[str, str], subset: Subset) -> bool:
    """Whether a row of a csv that several subsets share is this one's."""
    return row.get("label", subset.name) == subset.name


def _clip(folder: Path, subset: Subset, row: dict[str, str]) -> Clip:
    places = subset.layout.places(folder / subset.files, row, subset.frames)
    return Clip(
        places.name, row["split"], places.category, places.frames, places.masks[: subset.annotated(row["split"])],
        places.wav, places.log_mel, _object_maps(folder, places.object_maps), places.video,
    )  # fmt: skip


def _object_maps(folder: Path, maps: tuple[Path, ...]) -> tuple[Path, ...]:
    """``avseg synth`` puts them beside the subset's folder; only looked for, never required."""
    roots = (root for root in (folder.parent, folder) if maps and (root / maps[0].parent).is_dir())
    return tuple(root / path for root in [next(roots, None)] if root is not None for path in maps)


def all_clips(data_root: str | Path, subset: Subset) -> list[Clip]:
    """Every clip of the three splits that the csv has."""
    rows = read_metadata(subset_folder(data_root, subset), subset)
    present = {row["split"] for row in rows if _belongs(row, subset)}
    return [clip for split in SPLITS if split in present for clip in read_clips(data_root, subset, split)]
