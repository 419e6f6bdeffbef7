"""What is computed once and read many times: arrays on disk, a row for each item, memory-mapped, safe to interrupt."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import torch

from avseg_cli.base.errors import OutputError, named
from avseg_cli.base.sharing import Sharing
from avseg_cli.base.text import lasting

CHUNK = 4  # items computed together; fixed, so that a value never depends on where a run was interrupted
DONE = "done.u8"
SUFFIXES = {"float16": "f16", "uint8": "u8"}
Rows = Mapping[str, tuple[str, tuple[int, ...]]]  # name of an array -> its type, the shape of a row


class FillSetup(Protocol):
    sharing: Sharing
    device: torch.device
    dtype: torch.dtype

    def autocast(self) -> torch.autocast | nullcontext[None]: ...

    def track(self, items: Sequence[int], description: str) -> Iterable[int]: ...


def hashed(weights: Mapping[str, torch.Tensor]) -> hashlib._Hash:
    """A hash begun with names and bytes of weights: sums of them would depend on how many threads add them up."""
    begun = hashlib.sha256()
    for name, tensor in weights.items():
        begun.update(name.encode())
        begun.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return begun


@dataclass(frozen=True)
class Place:
    """Arrays of ``count`` rows in a folder, and what computes the rows of some items."""

    folder: Path
    count: int
    rows: Rows
    compute: Callable[[range], Mapping[str, np.ndarray]]
    chunk: int = CHUNK

    @property
    def chunks(self) -> int:
        return -(-self.count // self.chunk)

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each file."""
        sizes = {
            _file(name, kind): bytes_of(self.count, {name: (kind, row)}) for name, (kind, row) in self.rows.items()
        }
        return sizes | {DONE: self.chunks}

    @property
    def is_there(self) -> bool:
        files = {name: self.folder / name for name in self.sizes}
        return all(files[name].is_file() and files[name].stat().st_size == size for name, size in self.sizes.items())


class DiskRows:
    """The arrays (count, *row) of a place, by name."""

    def __init__(self, place: Place) -> None:
        self.folder, self._place = place.folder, place
        self.arrays = {
            name: np.memmap(place.folder / _file(name, kind), np.dtype(kind), "r+", shape=(place.count, *row))
            for name, (kind, row) in place.rows.items()
        }
        self._done = np.memmap(place.folder / DONE, np.uint8, "r+", shape=(place.chunks,))

    @classmethod
    def prepared(cls, places: Sequence[Place], setup: FillSetup, title: str) -> list[Self]:
        """The arrays of every place, with what they lack computed now, by all processes.

        The disk's room for all of them is taken before anything is computed. Raises ``OutputError`` when there is none.
        """
        if setup.sharing.rank == 0:
            _take_room(places, title)
        setup.sharing.wait()
        made = [cls(place) for place in places]
        for rows in made:
            rows._fill(setup, title)
        setup.sharing.wait()
        for rows in made:
            rows._refuse_gaps(title)
        return made

    def _fill(self, setup: FillSetup, title: str) -> None:
        sharing, place = setup.sharing, self._place
        own = range(sharing.rank, place.chunks, sharing.world)  # shared out before the others mark theirs
        missing = [chunk for chunk in own if not self._done[chunk]]
        began = time.monotonic()
        for number, chunk in enumerate(setup.track(missing, title)):
            if number == 1:  # the first also starts things up
                began = time.monotonic()
            items = range(chunk * place.chunk, min(place.count, (chunk + 1) * place.chunk))
            for name, values in place.compute(items).items():
                self.arrays[name][items.start : items.stop] = values
                self.arrays[name].flush()
            self._done[chunk] = 1  # only after its rows are on disk
            left = len(missing) - 2
            if number == 1 and left and sharing.rank == 0:
                print(
                    f"{title}: computing what is left takes about {lasting((time.monotonic() - began) * left)}",
                    file=sys.stderr,
                )
        self._done.flush()

    def _refuse_gaps(self, title: str) -> None:
        if not self._done.all():
            raise OutputError(
                f"{self.folder}: some {title} were not written; all processes must see the same folder, so give "
                f"one that they share with {named('cache')}"
            )


def bytes_of(count: int, rows: Rows) -> int:
    """What the arrays take on the disk."""
    return sum(count * int(np.prod(row)) * np.dtype(kind).itemsize for kind, row in rows.values())


def _file(name: str, kind: str) -> str:
    return f"{name}.{SUFFIXES[kind]}"


def _take_room(places: Sequence[Place], title: str) -> None:
    """Make all files at their full size, or none: a hole in a mapped file on a full disk ends the process."""
    root = places[0].folder.parent
    needed = sum(sum(place.sizes.values()) for place in places if not place.is_there) / 1e9
    made: list[Path] = []
    try:
        for place in places:
            place.folder.mkdir(parents=True, exist_ok=True)
            if not place.is_there:
                _forget_lost(place)
            for name, size in place.sizes.items():
                if not (place.folder / name).exists():
                    made.append(place.folder / name)
                _reserve(place.folder / name, size)
    except OSError as error:
        for path in made:
            path.unlink(missing_ok=True)
        free = shutil.disk_usage(root).free / 1e9
        raise OutputError(
            f"{root}: keeping {title} needs {needed:.2f} GB and the disk has {free:.2f} GB left "
            f"({error.strerror or error}); give another folder with {named('cache')}"
        ) from error
    if needed:
        print(f"{title}: {needed:.2f} GB in {root}", file=sys.stderr)


def _forget_lost(place: Place) -> None:
    """A file that is gone or of another length has lost its rows, whatever the marks say."""
    for name, size in place.sizes.items():
        path = place.folder / name
        if name != DONE and not (path.is_file() and path.stat().st_size == size):
            (place.folder / DONE).unlink(missing_ok=True)


def _reserve(path: Path, count: int) -> None:
    """Let ``path`` have ``count`` bytes on the disk, zeros where it has none yet; what it holds stays."""
    with open(path, "r+b" if path.exists() else "w+b") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, count)
        file.truncate(count)
