"""What is wrong with a data root: missing files, malformed ones, and counts that differ from the published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from avseg_cli.base.errors import DataError
from avseg_cli.base.text import counted
from avseg_cli.data.clips import Clip, all_clips
from avseg_cli.data.files import CHECK, read_image, read_log_mel, read_waveform
from avseg_cli.data.layouts import Subset
from avseg_cli.data.subsets import MASK_SIZE, SPLITS

USUAL = frozenset(("frames", "masks", "log_mel"))  # parts of a sample, as ``ClipDataset`` names them
MADE = USUAL | {"object_maps", "wav"}  # what pretraining reads of data made by ``avseg synth``


@dataclass
class RootCheck:
    """What a check found. counts: clips of each split; missing and malformed: a sentence each."""

    counts: dict[str, int]
    missing: list[str] = field(default_factory=list)
    malformed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Nothing is missing or malformed."""
        return not self.missing and not self.malformed


def check_root(
    data_root: str | Path, subset: Subset, track: Callable[[list[Clip]], Iterable[Clip]] = iter
) -> RootCheck:
    """Open every file of a subset. ``track`` may wrap the clips in a progress bar.

    Raises ``DataError`` when the root itself is wrong.
    """
    clips = all_clips(data_root, subset)
    report = RootCheck(dict(Counter(clip.split for clip in clips)))
    _compare_counts(report, subset)
    for name, count in Counter((clip.split, clip.name) for clip in clips).items():
        if count > 1:
            report.malformed.append(f"{name[1]}: {count} times in split {name[0]} of the csv")
    for clip in track(clips):
        _check_clip(clip, subset.layout.square, report)
    return report


def _compare_counts(report: RootCheck, subset: Subset) -> None:
    published = dict(zip(SPLITS, subset.published, strict=True))
    for split, expected in published.items():
        found = report.counts.get(split, 0)
        if found != expected:
            report.notes.append(f"{split}: {counted(found, 'clip')}; AVSBench's {subset.name} has {expected}")


def missing_files(clip: Clip, wanted: Collection[str] = USUAL) -> list[str]:
    """What a clip lacks, a line for each kind of file, none of them opened.

    wanted: the parts of a sample that will be read, as ``ClipDataset`` names them; "wav": a wav whatever else there is.
    """
    kinds = {
        "frames": ("frame", clip.frames),
        "masks": ("mask", clip.masks),
        "object_maps": ("object map", clip.object_maps),
    }
    lacking = []
    for part, (kind, paths) in kinds.items():
        absent = [path for path in paths if not path.is_file()] if part in wanted else []
        if absent:
            more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
            lacking.append(f"{absent[0]}{more}: {kind} of {clip.name}")
    if "object_maps" in wanted and not clip.object_maps:
        lacking.append(f"object_maps/{clip.split}/{clip.name}: object maps of {clip.name}")
    if ("wav" in wanted or ("log_mel" in wanted and not _has_log_mel(clip))) and not clip.wav.is_file():
        lacking.append(f"{clip.wav}: sound of {clip.name}")
    return lacking


def refuse_gaps(clips: Iterable[Clip], wanted: Collection[str] = USUAL) -> None:
    """Raise ``DataError`` for the first file that these clips lack, before anything is computed on the others."""
    for clip in clips:
        for line in missing_files(clip, wanted):
            raise DataError(f"{line} is missing; {CHECK}")


def _has_log_mel(clip: Clip) -> bool:
    return clip.log_mel is not None and clip.log_mel.is_file()


def _check_clip(clip: Clip, square: bool, report: RootCheck) -> None:
    report.missing += missing_files(clip)
    for kind, paths in (("frame", clip.frames), ("mask", clip.masks)):
        for path in filter(Path.is_file, set(paths)):
            _check(lambda path=path, kind=kind: _check_picture(path, kind, square), report)
    if clip.wav.is_file() or _has_log_mel(clip):
        _check(lambda: _check_sound(clip), report)


def _check(test: Callable[[], None], report: RootCheck) -> None:
    try:
        test()
    except DataError as error:
        report.malformed.append(str(error))


def _check_picture(path: Path, kind: str, square: bool) -> None:
    """The object release has masks of one size; in the later one each has its video's."""
    image = read_image(path)
    if kind == "mask" and square and image.shape[:2] != (MASK_SIZE, MASK_SIZE):
        raise DataError(
            f"{path}: the mask is {image.shape[1]}x{image.shape[0]}, AVSBench's are {MASK_SIZE}x{MASK_SIZE}"
        )
    if min(image.shape[:2]) < 16:
        raise DataError(f"{path}: the {kind} is {image.shape[1]}x{image.shape[0]} pixels")


def _check_sound(clip: Clip) -> None:
    if not clip.wav.is_file():
        read_log_mel(clip)
        return
    waveform = read_waveform(clip.wav)
    if not len(waveform) or not np.isfinite(waveform).all():
        raise DataError(f"{clip.wav}: {'empty' if not len(waveform) else 'has samples that are not finite'}")
