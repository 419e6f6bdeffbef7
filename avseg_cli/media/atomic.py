"""Outputs appear whole or not at all: written beside their place under another name, moved there when done."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avseg_cli.errors import OutputError

DISK_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


def partial_name(path: Path, process: int | None = None) -> Path:
    """The name under which ``path`` is written: hidden, in the same folder, of one process (this one) alone."""
    return path.with_name(f".{path.name}.{os.getpid() if process is None else process}.part")


def commit(partial: Path, path: Path) -> None:
    """Move a finished file or folder to its place, replacing what was there."""
    if partial.is_dir():
        old = partial.with_suffix(".old")
        if path.exists():
            os.replace(path, old)
        os.replace(partial, path)
        discard(old)
        return
    with open(partial, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)


def discard(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say what the system refused while ``path`` was written; raises ``OutputError``."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise OutputError(f"{path}: the disk is full, so nothing was kept; free some, or use -o") from error
        why = error.strerror or error
        raise OutputError(f"{path}: cannot be written ({why}); use -o to write elsewhere") from error
