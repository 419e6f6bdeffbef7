"""The media library: cut-outs, sounds and backgrounds by category, split by file before anything is made."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from avseg_cli.base.errors import DataError
from avseg_cli.base.json_text import parse_json
from avseg_cli.data.files import UNREADABLE
from avseg_cli.data.sound_seconds import faded
from avseg_cli.synth.sound_files import SAMPLE_RATE, read_wav
from avseg_cli.synth.synth_options import SPLITS

CUTOUT_SIDE = 256  # pixels; larger cut-outs are shrunk once, on loading
BACKGROUND_SIDE = 512
DISTRACTOR = 255  # in an object map, which has 8 bits: something without a category
_PICTURES = (".png", ".webp", ".jpg", ".jpeg")
_SOUNDS = (".wav", ".ogg", ".flac", ".mp3")
Spans = tuple[tuple[float, float], ...]  # parts of a recording, as fractions of it
WHOLE: Spans = ((0.0, 1.0),)
# two places each: the start, the middle and the dying away of a call sound unlike
_TIME_SPLIT: dict[str, Spans] = {
    "train": ((0.0, 0.2), (0.3, 0.4), (0.5, 0.6), (0.7, 0.8), (0.9, 1.0)),
    "val": ((0.2, 0.3), (0.6, 0.7)),
    "test": ((0.4, 0.5), (0.8, 0.9)),
}
# unlike recordings of one animal do not stand in for each other: fewer than this and each is cut in time
_FEWEST_FILES_TO_SPLIT = 8
_PART = re.compile(r" \(patch\)$|( \d+%-\d+%)+$")  # behind the name of a file: what of it was used
_FRAME = SAMPLE_RATE // 50  # 20 ms, the grain in which silence is looked for


@dataclass(frozen=True)
class Cutout:
    """One object picture: its file, relative to the library, and its premultiplied RGBA pixels."""

    name: str
    category: str  # "" for a distractor
    pixels: Image.Image  # mode RGBA, tightly cropped


@dataclass(frozen=True)
class SoundStretch:
    """A stretch of one recording: float32 mono at 16 kHz, long silences taken out, RMS 0.1."""

    name: str
    category: str  # "" for ambience
    spans: Spans  # what this split may use of it, once silences are shortened
    waveform: np.ndarray


@dataclass
class Media:
    """What one split may use."""

    objects: dict[str, list[Cutout]] = field(default_factory=dict)
    sounds: dict[str, list[SoundStretch]] = field(default_factory=dict)
    distractors: list[Cutout] = field(default_factory=list)
    backgrounds: list[tuple[str, Image.Image]] = field(default_factory=list)
    ambience: list[SoundStretch] = field(default_factory=list)


@dataclass(frozen=True)
class Library:
    """All media of a data set, by split.

    categories: sorted names; an index map's value is a category's position here plus one.
    splits: split → Media. ``train``, ``val`` and ``test`` share the training cut-outs but no sound and no
    background; ``test_unseen`` has the cut-outs kept out of training, with the sounds and backgrounds of
    ``test``. A category needs three cut-outs to keep one out.
    licences: file name → what LICENCES.json says of it (empty without such a file).
    """

    categories: tuple[str, ...]
    splits: dict[str, Media]
    licences: dict[str, dict[str, str]]

    @classmethod
    def load(
        cls,
        objects: Path,
        sounds: Path,
        backgrounds: Path,
        distractors: Path | None = None,
        ambience: Path | None = None,
        seed: int = 0,
        splits: Sequence[str] = SPLITS,
    ) -> Library:
        """Read ``objects/{category}/*.png``, ``sounds/{category}/*.wav`` and a folder of backgrounds.

        seed: decides which file goes to which split. splits: which of them to read.
        Raises DataError when a folder is missing or empty, or when no category has both pictures and sounds, or
        more have than object maps can tell apart.
        """
        categories = tuple(sorted(_subfolders(objects) & _subfolders(sounds)))
        if not categories:
            raise DataError(f"{objects} and {sounds} share no category; give both a subfolder of its name")
        if len(categories) >= DISTRACTOR:
            raise DataError(
                f"{objects} and {sounds} share {len(categories)} categories, and object maps hold "
                f"{DISTRACTOR - 1}; put some aside"
            )
        licences = read_licences(objects, sounds, backgrounds, *filter(None, (distractors, ambience)))
        library = cls(categories, {split: Media() for split in splits}, licences)
        for category in categories:
            cutouts = split_cutouts(_files(objects / category, _PICTURES), seed)
            spans = split_sounds(_files(sounds / category, _SOUNDS), seed)
            for split, media in library.splits.items():
                names = cutouts["test_unseen" if split == "test_unseen" else "train"]
                if names:
                    media.objects[category] = [_cutout(path, category) for path in names]
                media.sounds[category] = [_sound(path, category, parts) for path, parts in spans[_heard(split)]]
        shared = {
            "backgrounds": split_files(_files(backgrounds, _PICTURES), seed),
            "distractors": split_files(_files(distractors, _PICTURES), seed) if distractors else None,
            "ambience": split_sounds(_files(ambience, _SOUNDS), seed) if ambience else None,
        }
        for split, media in library.splits.items():
            part = _heard(split)
            media.backgrounds = [(_name(path), _background(path)) for path in shared["backgrounds"][part]]
            if shared["distractors"]:
                media.distractors = [_cutout(path, "") for path in shared["distractors"][part]]
            if shared["ambience"]:
                media.ambience = [_sound(path, "", parts) for path, parts in shared["ambience"][part]]
        return library

    def record(self) -> dict[str, dict[str, list[str]]]:
        """Which file is in which split, for the data set's own record."""
        return {split: _media_record(media) for split, media in self.splits.items()}


def _media_record(media: Media) -> dict[str, list[str]]:
    sounds = [sound for group in media.sounds.values() for sound in group] + media.ambience
    return {
        "objects": [cutout.name for group in media.objects.values() for cutout in group],
        "sounds": [sound_record(sound) for sound in sounds],
        "distractors": [cutout.name for cutout in media.distractors],
        "backgrounds": [name for name, _ in media.backgrounds],
    }


def sound_record(sound: SoundStretch) -> str:
    """The file, and which parts of it when it is shared between splits."""
    if sound.spans == WHOLE:
        return sound.name
    return f"{sound.name} {' '.join(f'{start:.0%}-{stop:.0%}' for start, stop in sound.spans)}"


def file_of(record: str) -> str:
    """The file of what ``sound_record`` gives, or of a patch: its name ends with a suffix and may have spaces."""
    return _PART.sub("", record)


def split_cutouts(files: Sequence[Path], seed: int) -> dict[str, list[Path]]:
    """Keep one cut-out in three out of training; with fewer than three, none."""
    order = _shuffled(files, seed)
    held = len(order) // 3
    return {"test_unseen": sorted(order[:held]), "train": sorted(order[held:])}


def split_files(files: Sequence[Path], seed: int) -> dict[str, list[Path]]:
    """Split files 70/15/15; val and test get at least one file each when there are three."""
    order = _shuffled(files, seed)
    if len(order) < 3:
        return {"train": order, "val": order, "test": order}
    held = max(1, round(0.15 * len(order)))
    return {
        "val": sorted(order[:held]),
        "test": sorted(order[held : 2 * held]),
        "train": sorted(order[2 * held :]),
    }


def split_sounds(files: Sequence[Path], seed: int) -> dict[str, list[tuple[Path, Spans]]]:
    """Split recordings by file; a category with fewer than eight has each cut in time, 60/20/20, instead.

    Whichever way, no sample of a recording is in two splits.
    """
    if len(files) < _FEWEST_FILES_TO_SPLIT:
        return {split: [(path, spans) for path in files] for split, spans in _TIME_SPLIT.items()}
    # the longest recordings carry the most variety: they are for training
    longest = sorted(files, key=lambda path: (-path.stat().st_size, path.name))[:1]
    parts = split_files([path for path in files if path not in longest], seed)
    parts["train"] = sorted(parts["train"] + longest)
    return {split: [(path, WHOLE) for path in paths] for split, paths in parts.items()}


def _heard(split: str) -> str:
    return "test" if split == "test_unseen" else split


def _shuffled(files: Sequence[Path], seed: int) -> list[Path]:
    """An order that depends on names and seed only: a new file hardly moves the others."""
    return sorted(files, key=lambda path: hashlib.sha256(f"{seed}:{_name(path)}".encode()).digest())


def _subfolders(folder: Path) -> set[str]:
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; `avseg synth fetch --out DIR` makes one")
    return {path.name for path in folder.iterdir() if path.is_dir()}


def _files(folder: Path, endings: Sequence[str]) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; `avseg synth fetch --out DIR` makes one")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in endings)
    if not files:
        raise DataError(f"{folder} has no {' or '.join(endings)} file; add one or remove the folder")
    return files


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def read_licences(*folders: Path) -> dict[str, dict[str, str]]:
    """Licences by file name relative to the media root, from the LICENCES.json beside each of the folders.

    Where several name a file, the one beside its folder counts. Raises DataError when one is damaged.
    """
    merged: dict[str, dict[str, str]] = {}
    for folder in folders:
        found = _licences(folder.parent / "LICENCES.json")
        own = {name: record for name, record in found.items() if name.startswith(f"{folder.name}/")}
        merged = found | merged | own
    return merged


def _licences(path: Path) -> dict[str, dict[str, str]]:
    if not path.is_file():
        return {}
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); fetch the media again") from error
    if not isinstance(found, dict) or not all(isinstance(record, dict) for record in found.values()):
        raise DataError(f"{path} does not list a record for each file; fetch the media again")
    return found


def _open(path: Path, mode: str) -> Image.Image:
    try:
        with Image.open(path) as opened:
            return opened.convert(mode)
    except UNREADABLE as error:
        raise DataError(f"{path} is not a readable picture ({error}); remove or replace it") from error


def _cutout(path: Path, category: str) -> Cutout:
    picture = _open(path, "RGBA")
    box = picture.getchannel("A").point([0] * 26 + [255] * 230).getbbox()
    if box is None:
        raise DataError(f"{path} is wholly transparent; replace it with a cut-out")
    picture = picture.crop(box)
    picture.thumbnail((CUTOUT_SIDE, CUTOUT_SIDE), Image.Resampling.LANCZOS)
    name = f"objects/{category}/{path.name}" if category else f"distractors/{path.name}"
    return Cutout(name, category, picture)


def _background(path: Path) -> Image.Image:
    picture = _open(path, "RGB")
    picture.thumbnail((BACKGROUND_SIDE, BACKGROUND_SIDE), Image.Resampling.LANCZOS)
    return picture


def _sound(path: Path, category: str, spans: Spans) -> SoundStretch:
    waveform = without_silence(read_wav(path))
    count = len(waveform)
    part = np.concatenate([faded(waveform[int(start * count) : int(stop * count)]) for start, stop in spans])
    level = float(np.sqrt(np.mean(part**2))) if len(part) else 0.0
    if level < 1e-4:
        raise DataError(f"{path} is silent where it should be heard; replace it with a louder recording")
    name = f"sounds/{category}/{path.name}" if category else f"ambience/{path.name}"
    return SoundStretch(name, category, spans, (part * (0.1 / level)).astype(np.float32))


def without_silence(waveform: np.ndarray, longest: float = 0.16) -> np.ndarray:
    """Shorten every silence (30 dB under the loudest 20 ms) to ``longest`` seconds: silence has no label."""
    count = len(waveform) // _FRAME
    if count < 2:
        return waveform
    frames = waveform[: count * _FRAME].reshape(count, _FRAME)
    loud = np.sqrt((frames**2).mean(axis=1))
    active = loud > 0.03 * np.quantile(loud, 0.95)
    last = np.maximum.accumulate(np.where(active, np.arange(count), -count))
    keep = np.arange(count) - last <= longest * SAMPLE_RATE / _FRAME
    return frames[keep].ravel() if keep.any() else waveform
