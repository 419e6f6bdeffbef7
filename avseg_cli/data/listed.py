"""Folders with a manifest.tsv: a line for each file that says what is in it and where it came from.

The first line names the columns, separated by tabs; columns that nobody asks for are passed over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from avseg_cli.base.errors import DataError
from avseg_cli.base.text import counted

NAME = "manifest.tsv"
LIST = "its manifest lists it: make the folder again, or take the line out"
OTHER = ("other", "tv", "microphone", "loudspeaker")  # things that are there and never sound here


@dataclass(frozen=True)
class Photograph:
    """A picture and the mask of what is on it: 0 background, i + 1 the i-th of ``kinds``, 255 unknown.

    complete: whether everything of the known kinds is in the mask. source: which collection it is of.
    """

    picture: Path
    mask: Path
    kinds: tuple[str, ...]
    complete: bool
    source: str

    @property
    def files(self) -> tuple[Path, ...]:
        return self.picture, self.mask


@dataclass(frozen=True)
class ListedRecording:
    """A sound of one kind. source: recordings that share one were made together, and are never held out apart."""

    path: Path
    kind: str
    source: str

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.path,)


def read_photographs(folder: str | Path, kinds: Sequence[str]) -> list[Photograph]:
    """The photographs of a folder. Raises ``DataError`` for a manifest that is missing, malformed or names other
    kinds than ``kinds`` and those of things that never sound."""
    root, found = Path(folder), []
    for number, row in _rows(root, ("image", "mask", "kinds", "complete", "source")):
        named = tuple(kind for kind in row["kinds"].split(",") if kind)
        for kind in named:
            _known(root, number, kind, (*kinds, *OTHER))
        if row["complete"] not in ("0", "1"):
            raise DataError(f"{root / NAME}: line {number} has complete {row['complete']!r}; write 1 or 0")
        found.append(Photograph(root / row["image"], root / row["mask"], named, row["complete"] == "1", row["source"]))
    return found


def read_recordings(folder: str | Path, kinds: Sequence[str]) -> list[ListedRecording]:
    """The recordings of a folder. Raises ``DataError`` for a manifest that is missing, malformed or names others than
    ``kinds``."""
    root, found = Path(folder), []
    for number, row in _rows(root, ("path", "kind", "source")):
        _known(root, number, row["kind"], kinds)
        found.append(ListedRecording(root / row["path"], row["kind"], row["source"]))
    return found


def refuse_missing(listed: Sequence[Photograph | ListedRecording]) -> None:
    """Raise ``DataError`` for files that are not there, before anything is computed on the others."""
    missing = [path for line in listed for path in line.files if not path.is_file()]
    if missing:
        raise DataError(f"{missing[0]}: missing ({counted(len(missing), 'file')} in all); {LIST}")


def digest(folder: str | Path, listed: Sequence[Photograph | ListedRecording], more: str) -> str:
    """A short name for a manifest and files of its lines as they are now, and for what else a cache depends on.

    Raises ``DataError`` for files that are gone.
    """
    refuse_missing(listed)
    found = hashlib.sha256(_text(Path(folder) / NAME).encode())
    for path in (path for line in listed for path in line.files):
        status = path.stat()
        found.update(f"{path.name} {status.st_size} {status.st_mtime_ns}".encode())
    found.update(more.encode())
    return found.hexdigest()[:32]


def _rows(root: Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """The lines behind the first, numbered as an editor does, by column."""
    path = root / NAME
    lines = _text(path).splitlines()
    head = lines[0].split("\t") if lines else []
    for column in columns:
        if column not in head:
            raise DataError(f"{path}: has no column {column!r}; its first line must name {', '.join(columns)}")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        cells = line.split("\t")
        if len(cells) != len(head):
            raise DataError(f"{path}: line {number} has {len(cells)} columns, the first line {len(head)}; mend it")
        rows.append((number, dict(zip(head, cells, strict=True))))
    if not rows:
        raise DataError(f"{path}: lists nothing; fill the folder first")
    return rows


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        cause = "missing" if not path.exists() else f"not readable ({error})"
        raise DataError(f"{path}: {cause}; the folder needs this list of its files") from error


def _known(root: Path, line: int, kind: str, kinds: Sequence[str]) -> None:
    if kind not in kinds:
        raise DataError(
            f"{root / NAME}: line {line} names the kind {kind!r}, which this model does not know; it knows "
            f"{', '.join(kinds)}"
        )
