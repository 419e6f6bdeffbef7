"""Kinds of output: how their files are named, and what belongs to one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MOVIES = (".mp4", ".m4v", ".mov", ".mkv")  # suffixes of videos that are written


def _alone(path: Path) -> tuple[Path, ...]:
    return ()


def _always(path: Path) -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class Kind:
    """suffix: what the output adds to the name of its video. files: suffixes that ``-o FILE`` may have; none for a
    folder. several: more than one file, which no object store takes whole. beside: the other files of the output at a
    path. is_whole: whether what is there, is there with all its files.
    """

    suffix: str
    files: tuple[str, ...] = ()
    several: bool = False
    beside: Callable[[Path], tuple[Path, ...]] = _alone
    is_whole: Callable[[Path], bool] = _always
