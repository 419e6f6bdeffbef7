"""The errors a user can cause or meet. Each message is one sentence: the file, the cause and the cure.

The exit code tells a script what kind of thing went wrong; 1 is everything else, 130 is Ctrl-C.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

_MARK = "\ue000"  # a character of no script, around the names of options in messages


def named(option: str) -> str:
    """An option inside a message: the field's name to callers of the library, its flag on the command line."""
    return f"{_MARK}{option}{_MARK}"


def debugging() -> bool:
    """Whether tracebacks were asked for (--debug, AVSEG_DEBUG)."""
    return os.environ.get("AVSEG_DEBUG", "0") not in ("", "0")


class AvsegError(Exception):
    """Base of all expected errors; the command line prints its message without a traceback."""

    exit_code = 1

    def __str__(self) -> str:
        return super().__str__().replace(_MARK, "")

    def with_flags(self, flag: Callable[[str], str]) -> str:
        """The message with ``flag`` of each option's name in its place."""
        return re.sub(f"{_MARK}(\\w+){_MARK}", lambda match: flag(match[1]), super().__str__())


class InputError(AvsegError):
    """An input is missing, is not a video, has no sound, or cannot be decoded."""

    exit_code = 2


class NoSoundError(InputError):
    """A video has no sound track."""


class CheckpointError(AvsegError):
    """A checkpoint is missing, damaged, or does not fit the model it claims to be."""

    exit_code = 3


class DeviceError(AvsegError):
    """The device or precision asked for is not there, or its memory ran out."""

    exit_code = 4


class OutputError(AvsegError):
    """An output cannot be written: it exists, equals the input, or the disk is full."""

    exit_code = 5


class DownloadError(AvsegError):
    """A download failed, was refused, or did not match its checksum."""

    exit_code = 6


class DataError(AvsegError):
    """A data set is missing, malformed, or not in the layout it was said to be in."""

    exit_code = 7
