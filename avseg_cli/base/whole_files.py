"""Outputs appear whole or not at all: written beside their place under another name, moved there when done."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from avseg_cli.base.errors import OutputError, named

ATTEMPTS = 10  # at putting a folder in place
HALF_WRITTEN = (".part", ".old", ".pictures")  # how the names end of what is on its way to its place, or from it
LONGEST = 255  # bytes of a name, on nearly every disk
ADDED = 40  # bytes, at most, by which the name of what is half-written would be longer


def partial_name(path: Path, process: int | None = None) -> Path:
    """The name under which ``path`` is written: hidden, in the same folder, of one process (this one) alone."""
    name = _shortened(path.name)
    return path.with_name(f".{name}.{_machine()}-{os.getpid() if process is None else process}.part")


def _shortened(name: str) -> str:
    """The name, or, where it fits on a disk but would not with what is added, its beginning and a digest of it.

    One that does not fit by itself stays, to be refused before anything is made.
    """
    encoded = os.fsencode(name)
    if not LONGEST - ADDED < len(encoded) <= LONGEST:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:12]
    return f"{encoded[: LONGEST - ADDED - len(digest) - 1].decode(errors='ignore')}-{digest}"


def _machine() -> str:
    """Folders are shared between machines, and their processes have the same numbers.

    Of all of the host's name: those of a cluster differ in their last characters.
    """
    return hashlib.sha256(os.fsencode(platform.node())).hexdigest()[:12]


@lru_cache(maxsize=4096)  # once in a run: a folder may hold a million outputs
def discard_abandoned(folder: Path) -> None:
    """Delete what processes of this machine that were killed left half-written in ``folder``."""
    for entry, process in _partials(folder):
        if not _runs(process):
            discard(entry)


def discard_of(folder: Path, process: int) -> None:
    """Delete what one process of this machine, which has ended, left half-written in ``folder``."""
    for entry, owner in _partials(folder):
        if owner == process:
            discard(entry)


def _partials(folder: Path) -> Iterator[tuple[Path, int]]:
    """What is half-written in a folder, and the number of the process that is at it."""
    name = re.compile(rf"\..+\.{_machine()}-(\d+)({'|'.join(map(re.escape, HALF_WRITTEN))})")
    try:
        entries = os.listdir(folder)
    except OSError:  # may be written to, but not read
        return
    for entry in entries:
        if match := name.fullmatch(entry):
            yield folder / entry, int(match[1])


def _runs(process: int) -> bool:
    if os.name != "posix":
        return True  # asking would end it there
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def commit(partial: Path, path: Path) -> None:
    """Move a finished file or folder to its place, replacing what was there."""
    if partial.is_dir():
        _commit_folder(partial, path)
        return
    with open(partial, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)


def _commit_folder(partial: Path, path: Path) -> None:
    """A folder cannot replace another in one step; one that comes between is moved away like the first."""
    old = partial.with_suffix(".old")
    for _ in range(ATTEMPTS):
        if path.exists():
            os.replace(path, old)
        try:
            os.replace(partial, path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            discard(old)
            continue
        discard(old)
        return
    raise OSError(errno.EBUSY, "other processes keep writing it", str(path))


def discard(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill the file it is given, then put it in place of ``path``: whole or not at all.

    What killed processes left half-written in its folder goes first.
    """
    discard_abandoned(path.parent)
    partial = partial_name(path)
    try:
        write(partial)
        commit(partial, path)
    finally:
        discard(partial)


def write_json(path: Path, content: Any) -> None:
    """Indented JSON, whole or not at all."""
    write_whole(path, lambda partial: partial.write_text(json.dumps(content, indent=1) + "\n"))


def check_file(path: Path, option: str, endings: Sequence[str]) -> None:
    """Refuse before a long run a place that ``option`` names and no file of it can take; raises ``OutputError``."""
    if path.suffix.lower() not in endings:
        raise OutputError(f"{path}: {named(option)} takes a name that ends with {endings[0]}")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; give {named(option)} a file, as {path / f'scores{endings[0]}'}")
    check_folder(path.parent, option)


def check_folder(folder: Path, option: str) -> None:
    """The same of a folder, which need not be there yet."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        raise OutputError(f"{there}: not a folder; give {named(option)} another place")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(f"{there}: cannot be written to; give {named(option)} another place")


def refuse_existing(folder: Path) -> None:
    """Raise ``OutputError`` for a folder that is to be made and is there, or that cannot be made."""
    if folder.exists():
        raise OutputError(f"{folder} already exists; name a new folder or remove it")
    check_folder(folder.parent, "out")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which becomes ``folder`` at the end of the block: whole or not at all.

    Raises ``OutputError`` when ``folder`` is there already.
    """
    refuse_existing(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    discard_abandoned(folder.parent)
    partial = partial_name(folder)
    partial.mkdir()
    try:
        yield partial
        os.replace(partial, folder)
    finally:
        discard(partial)
