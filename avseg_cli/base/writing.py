"""What the system or FFmpeg refuses while an output is written, said in a sentence."""

from __future__ import annotations

import errno
from collections.abc import Iterator
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
