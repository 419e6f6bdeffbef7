"""What the system or FFmpeg refuses while an output is written, said in a sentence."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from av.error import FFmpegError

from avseg_cli.base.errors import OutputError, named

DISK_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


@contextmanager
def writing(path: Path, option: str = "output") -> Iterator[None]:
    """Say what the system refused while ``path``, which ``option`` names, was written; raises ``OutputError``."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise OutputError(
                f"{path}: the disk is full, so nothing was kept; free some, or use {named(option)}"
            ) from error
        why = error.strerror or error
        raise OutputError(f"{path}: cannot be written ({why}); use {named(option)} to write elsewhere") from error
    except FFmpegError as error:
        why = error.strerror or error
        raise OutputError(
            f"{path}: FFmpeg cannot write it ({why}): the input's times or sound do not go into this kind of file; "
            f"try {named('output')} with .mkv"
        ) from error


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
