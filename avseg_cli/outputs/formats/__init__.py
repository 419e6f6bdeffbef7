"""The output formats of `avseg segment`: each file here declares one, under the file's own name, in ``FORMAT``.

To add one, add a file: a writer, ``SUFFIX``, and ``FORMAT``; with ``FLAG = True`` it gets a flag of its own, --NAME.
Help, completion, names of outputs and what may lie where follow from these; the file's description is the help's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from avseg_cli.base.errors import InputError
from avseg_cli.base.registry import Registry
from avseg_cli.outputs.output_kind import MOVIES, Kind

if TYPE_CHECKING:
    from avseg_cli.outputs.writers import Job, Writer

__all__ = ["FORMATS", "MOVIES", "Format", "open_writer"]


@dataclass(frozen=True)
class Format(Kind):
    """A kind of output with what writes it; a writer whose class ``draws`` needs every picture of the video.

    sounds: the video's sound is in it. indexed: a page leads to all of them where there are several. shown: a picture
    that the command line shows in terminals that can.
    """

    writer: Callable[[Path, Job], Writer]
    sounds: bool = False
    indexed: bool = False
    shown: bool = False


FORMATS: Registry[Format] = Registry(__name__, Path(__file__).parent, "FORMAT", "format", InputError, hyphens=True)


def open_writer(name: str, path: Path, job: Job) -> Writer:
    """Start writing ``path`` in format ``name``, making its folder; raises ``OutputError`` when refused."""
    from avseg_cli.base.whole_files import discard, discard_abandoned, partial_name
    from avseg_cli.base.writing import writing

    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        discard_abandoned(path.parent)
        discard(partial_name(path))
        try:
            return FORMATS[name].writer(path, job)
        except BaseException:
            discard(partial_name(path))
            raise
